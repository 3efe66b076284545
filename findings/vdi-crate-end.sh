#!/usr/bin/env bash
# Tool:     vdi 0.2.0 (crates.io), a reader of VirtualBox's disks.
# Guess:    a disk is read up to its stated size, and a block that is marked as zeros (0xFFFFFFFE in the block map, which VirtualBox
#           writes) reads as zeros, as qemu-img reads it.
# Seen:     a disk of 2.5 MiB, for which qemu-img takes three blocks, reads as 3 MiB: half a MiB of zeros more than stated. A disk of 3
#           MiB whose second block is marked as zeros reads as 1 MiB: the mark is taken for a place far behind the end of the file,
#           and that for the end of the disk. Neither is an error.
# For us:   the stated size decides what a disk is, not the end of what a reader gives; more is cut, less is an error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
head -c 2560K /dev/urandom > odd.raw
qemu-img convert -f raw -O vdi odd.raw odd.vdi
head -c 3M /dev/urandom > marked.raw
qemu-img convert -f raw -O vdi marked.raw marked.vdi
python3 - <<'END_OF_SCRIPT'
import struct

with open("marked.vdi", "r+b") as file:
    file.seek(0x154)
    (block_map,) = struct.unpack("<I", file.read(4))
    file.seek(block_map + 4)
    file.write(struct.pack("<I", 0xFFFFFFFE))
    file.seek(0x184)
    file.write(struct.pack("<I", 2))  # blocks that have a place in the file
END_OF_SCRIPT
dd if=/dev/zero of=marked.raw bs=1M seek=1 count=1 conv=notrunc status=none
for name in odd marked; do qemu-img compare -q -f raw -F vdi $name.raw $name.vdi; done

mkdir src
cat > Cargo.toml <<'END_OF_MANIFEST'
[package]
name = "reader"
version = "0.0.0"
edition = "2021"
[dependencies]
vdi = "=0.2.0"
END_OF_MANIFEST
cat > src/main.rs <<'END_OF_PROGRAM'
use std::io::Read;

fn main() {
    for name in ["odd", "marked"] {
        let want = std::fs::read(format!("{name}.raw")).unwrap();
        let file = std::fs::File::open(format!("{name}.vdi")).unwrap();
        let mut disk = vdi::VdiDisk::open(Box::new(file)).unwrap();
        let mut got = Vec::new();
        disk.read_to_end(&mut got).unwrap();
        let common = want.len().min(got.len());
        println!(
            "{name}: stated {}, read {}, as far as both go the same: {}, the rest zeros: {}",
            disk.header.disk_size,
            got.len(),
            want[..common] == got[..common],
            got[common..].iter().all(|byte| *byte == 0)
        );
    }
}
END_OF_PROGRAM
cargo run --quiet | tee seen
diff seen - <<'END_OF_SEEN'
odd: stated 2621440, read 3145728, as far as both go the same: true, the rest zeros: true
marked: stated 3145728, read 1048576, as far as both go the same: true, the rest zeros: true
END_OF_SEEN
