#!/usr/bin/env bash
# Tool:     mke2fs 1.47.0 (Debian 12's package e2fsprogs 1.47.0-2+b2), filling an ext4 from a folder with -d.
# Guess:    a file keeps its size in the new file system; the option inline_data only says where small files are stored.
# Seen:     with inline_data a file that ends in a hole ends where its last block with data ends: a disk of 5 MiB with data in its
#           first MiB becomes a file of 1 MiB. Without inline_data it has 5 MiB. No error and no word, and e2fsck finds nothing.
# For us:   a raw disk image nearly always ends in a hole. An image that was packed into a file system, or came out of one, is
#           compared by size and digest with the one that went in; zeros at its end are never taken for granted.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
download() { apt-get download -qq e2fsprogs=1.47.0-2+b2 libext2fs2=1.47.0-2+b2 2>/dev/null; }
download || { apt-get update -qq && download; }
for package in *.deb; do dpkg -x "$package" debian; done
run() { LD_LIBRARY_PATH=$(echo debian/lib/*-linux-gnu*:debian/usr/lib/*-linux-gnu* | tr ' ' :) "debian/sbin/$@" 2>/dev/null; }
mkdir tree
head -c 1M /dev/urandom > tree/disk.raw
truncate -s 5M tree/disk.raw
for features in ^inline_data inline_data; do
    truncate -s 16M disk.ext4
    run mkfs.ext4 -q -F -I 256 -O "$features" -d tree disk.ext4
    run e2fsck -fn disk.ext4 >/dev/null && checked=clean || checked="not clean"
    run debugfs -R "dump disk.raw got.raw" disk.ext4
    echo "$features: $(stat -c %s got.raw) bytes, the first MiB $(cmp --silent -n 1048576 got.raw tree/disk.raw && echo same), $checked"
    rm disk.ext4 got.raw
done | tee seen
diff seen - <<'END_OF_SEEN'
^inline_data: 5242880 bytes, the first MiB same, clean
inline_data: 1048576 bytes, the first MiB same, clean
END_OF_SEEN
