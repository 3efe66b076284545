#!/usr/bin/env bash
# Tool:     qcow 1.2.0 (crates.io), a reader of qcow2 that knows backing files.
# Guess:    what an overlay does not have comes from its backing file, cluster by cluster, and the disk ends at its stated size.
# Seen:     an overlay in which nothing was written yet reads as its backing file does. As soon as one cluster was written, all
#           others under the same second-level table (512 MiB) read as zeros, without an error. And no disk of the three here ends:
#           beyond the stated size the reader goes on for as long as somebody reads.
# For us:   an overlay is flattened by the tools of the format's makers before it is published; and a reader is never read "to the
#           end", but for as many bytes as the header states.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# A dependency, zlib-ng, is built with cmake.
python3 -m venv python
python/bin/pip --quiet install cmake==3.31.6
PATH=$PWD/python/bin:$PATH

head -c 2M /dev/urandom > base.raw
qemu-img convert -q -f raw -O qcow2 base.raw base.qcow2
for overlay in untouched touched; do
    qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 $overlay.qcow2
done
qemu-io -f qcow2 -c 'write -q -P 7 1M 64k' touched.qcow2
cp base.raw touched.want
head -c 64K /dev/zero | tr '\0' '\7' | dd of=touched.want bs=64K seek=16 conv=notrunc status=none
qemu-img compare -q -f raw -F qcow2 touched.want touched.qcow2

mkdir src
cat > Cargo.toml <<'END_OF_MANIFEST'
[package]
name = "reader"
version = "0.0.0"
edition = "2021"
[profile.dev]
debug = false
[dependencies]
qcow = "=1.2.0"
END_OF_MANIFEST
cat > src/main.rs <<'END_OF_PROGRAM'
use std::io::Read;

fn main() {
    let base = std::fs::read("base.raw").unwrap();
    let cluster = 1 << 16;
    for name in ["base", "untouched", "touched"] {
        let path = format!("{name}.qcow2");
        let disk = qcow::open(&path).unwrap().unwrap_qcow2();
        let mut file = std::fs::File::open(&path).unwrap();
        let mut reader = disk.reader(&mut file);
        let mut content = vec![0; disk.header.size as usize];
        reader.read_exact(&mut content).unwrap();
        let (mut right, mut zeros) = (0, 0);
        for (at, part) in content.chunks(cluster).enumerate() {
            right += (part == &base[at * cluster..][..cluster]) as u32;
            zeros += part.iter().all(|byte| *byte == 0) as u32;
        }
        let mut behind = [0; 4096];
        let went_on = (0..4096).all(|_| matches!(reader.read(&mut behind), Ok(read) if read > 0));
        println!("{name}: {right} clusters as in the base, {zeros} of zeros, 4096 reads behind the end bring content: {went_on}");
    }
}
END_OF_PROGRAM
cargo run --quiet | grep -v '^Success' | tee seen
diff seen - <<'END_OF_SEEN'
base: 32 clusters as in the base, 0 of zeros, 4096 reads behind the end bring content: true
untouched: 32 clusters as in the base, 0 of zeros, 4096 reads behind the end bring content: true
touched: 0 clusters as in the base, 31 of zeros, 4096 reads behind the end bring content: true
END_OF_SEEN
