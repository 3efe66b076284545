#!/usr/bin/env bash
# Tool:     nbdkit 1.32.5 (Debian 12's package nbdkit 1.32.5-1), whose filters gzip and xz serve a compressed disk as a disk.
# Guess:    a .gz of several members is one file (RFC 1952, 2.2), as gzip itself, bgzip and tools that pack in pieces make and read it.
# Seen:     the filter gzip serves the first member alone: a disk of 3 MiB for one of 5 MiB, without an error or a word. An .xz of
#           two streams is served whole by the filter xz of the same nbdkit.
# For us:   what is unpacked on the way to a client or a server is compared with the disk's own size and digest; where we pack, a
#           .gz has one member.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
download() { apt-get download -qq nbdkit=1.32.5-1 2>/dev/null; }
download || { apt-get update -qq && download; }
dpkg -x nbdkit_*.deb debian
nbdkit=$(find debian -path '*bin/nbdkit' -type f)
lib=$(echo "$PWD"/debian/usr/lib/*/nbdkit)

head -c 5M /dev/urandom > disk.raw
for tool in gzip xz; do
    { head -c 3M disk.raw | $tool; tail -c +3145729 disk.raw | $tool; } > disk.raw.$tool
    $tool --decompress --stdout < disk.raw.$tool | cmp - disk.raw
    "$nbdkit" --unix - --readonly --filter="$lib/filters/nbdkit-$tool-filter.so" "$lib/plugins/nbdkit-file-plugin.so" disk.raw.$tool \
        --run "qemu-img convert -f raw -O raw \"\$uri\" got.raw"
    echo "$tool: $(stat -c %s got.raw) bytes, as far as they go the same: $(cmp -s -n "$(stat -c %s got.raw)" got.raw disk.raw && echo yes || echo no)"
done | tee seen
diff seen - <<'END_OF_SEEN'
gzip: 3145728 bytes, as far as they go the same: yes
xz: 5242880 bytes, as far as they go the same: yes
END_OF_SEEN
