#!/usr/bin/env bash
#
# quick-kernel.sh VMLINUZ OUT
#
# Repacks Debian's kernel, which comes packed with xz, with LZ4: the kernel is
# the same, but an emulated processor unpacks it in less than a second instead
# of four. A kernel packed otherwise is copied as it is.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kernel=$1 out=$2
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT

number() { od -An -v -tu"$2" -j"$1" -N"$2" "$kernel" | tr -d ' '; } # OFFSET BYTES
bytes() { # OFFSET COUNT
    dd if="$kernel" bs=64K iflag=skip_bytes,count_bytes skip="$1" count="$2" status=none
}
put() { # OFFSET BYTES VALUE, in little-endian
    local i value=$3
    for ((i = 0; i < $2; i++, value >>= 8)); do
        # shellcheck disable=SC2059
        printf "\\x$(printf %x $((value & 255)))"
    done | dd of="$out" bs=1 seek=$(($1)) conv=notrunc status=none
}

# Offsets of the kernel's boot protocol.
setup=$((($(number 0x1f1 1) + 1) * 512))
payload=$((setup + $(number 0x248 4)))
if [[ $(bytes "$payload" 6 | od -An -tx1 | tr -d ' \n') != fd377a585a00 ]]; then
    cp "$kernel" "$out"
    exit
fi
bytes "$payload" "$(number 0x24c 4)" | xz -dc --single-stream >"$work/vmlinux"
objcopy -O binary "$work/vmlinux" "$work/image"
lz4 -q -9 -B7 --no-frame-crc -c <"$work/image" >"$work/image.lz4"
as --32 -o "$work/entry.o" "$here/quick-kernel.s"
ld -m elf_i386 -Ttext=0x100000 --oformat binary -o "$work/entry" "$work/entry.o"

size=$(cat "$work/entry" "$work/image.lz4" | wc -c)
if ((size > 0xff8000 - 0x100000)); then
    echo "quick-kernel: the packed kernel has $size bytes, which is too large" >&2
    exit 1
fi
{ bytes 0 "$setup"; cat "$work/entry" "$work/image.lz4"; head -c $((15 - (size + 15) % 16)) /dev/zero; } >"$out"
put 0x1f4 4 $(((size + 15) / 16))
put 0x234 1 0                                          # not relocatable,
put 0x236 2 0                                          # no other entry points,
put 0x258 8 0x100000                                   # at 1 MiB, and needs all
put 0x260 4 $((0x1000000 - 0x100000 + $(number 0x260 4)))  # memory up to its end
