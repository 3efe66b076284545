#!/usr/bin/env bash
# Tool:     ext4-view 1.0.0 (crates.io), a reader of ext2, ext3 and ext4.
# Guess:    space that was reserved for a file with fallocate and not written yet reads as zeros, whatever lies there on the disk;
#           and so does a hole of a file in a file system without extents, as those of ext2 and ext3 are.
# Seen:     a reserved file of 200,000 bytes on an ext4 that lies on a disk which was not empty reads as what was there before (0xAA
#           here), without an error. On a file system without extents, a file with a hole cannot be read at all: "invalid read
#           of length 1024 from block 0". debugfs reads zeros in both cases, and e2fsck has nothing to say.
# For us:   an image that is taken out of a file system with such a reader can bring old content of the disk below it, and differs
#           from what the machine itself reads: an image is published from what the system that runs reads.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
PATH=$PATH:/usr/sbin:/sbin

head -c 16M /dev/zero | tr '\0' '\252' > reserved.ext4
mkfs.ext4 -q -F -E nodiscard reserved.ext4
: > empty
debugfs -w reserved.ext4 -f - >/dev/null 2>&1 <<'END_OF_COMMANDS'
write empty file
fallocate file 0 48
set_inode_field file size 200000
END_OF_COMMANDS
mkdir tree
truncate -s 1M tree/file
printf end | dd of=tree/file bs=1 seek=500000 conv=notrunc status=none
truncate -s 16M block-mapped.ext4
mkfs.ext4 -q -F -O ^extents,^64bit -d tree block-mapped.ext4
e2fsck -fn reserved.ext4 >/dev/null 2>&1
e2fsck -fn block-mapped.ext4 >/dev/null 2>&1
debugfs -R "dump file reserved" reserved.ext4 2>/dev/null
debugfs -R "dump file holes" block-mapped.ext4 2>/dev/null
cmp reserved <(head -c 200000 /dev/zero)
cmp holes tree/file

mkdir src
cat > Cargo.toml <<'END_OF_MANIFEST'
[package]
name = "reader"
version = "0.0.0"
edition = "2021"
[dependencies]
ext4-view = { version = "=1.0.0", features = ["std"] }
END_OF_MANIFEST
cat > src/main.rs <<'END_OF_PROGRAM'
fn main() {
    for image in ["reserved.ext4", "block-mapped.ext4"] {
        let fs = ext4_view::Ext4::load_from_path(image).unwrap();
        match fs.read("/file") {
            Ok(content) => println!("{image}: {} bytes, all 0xAA: {}", content.len(), content.iter().all(|byte| *byte == 0xAA)),
            Err(error) => println!("{image}: {error}"),
        }
    }
}
END_OF_PROGRAM
cargo run --quiet | tee seen
diff seen - <<'END_OF_SEEN'
reserved.ext4: 200000 bytes, all 0xAA: true
block-mapped.ext4: corrupt filesystem: invalid read of length 1024 from block 0 (originally 0) at offset 0
END_OF_SEEN
