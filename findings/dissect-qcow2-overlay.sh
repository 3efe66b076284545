#!/usr/bin/env bash
# Tool:     dissect.hypervisor 3.21 (PyPI), a reader of virtual disks.
# Guess:    a qcow2 overlay that is larger than its backing file reads zeros behind the end of that file, as the format wants it
#           and qemu-img reads it: 4 MiB here.
# Seen:     the stream says that its size is 4 MiB and ends after 1 MiB, the size of the backing file, without an error.
# For us:   a stream that is shorter than the disk's stated size is an error, whoever reads it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip --quiet install dissect.hypervisor==3.21 dissect.util==3.24 dissect.cstruct==4.7
cat > read.py <<'END'
import os, struct
from pathlib import Path
from dissect.hypervisor.disk.qcow2 import QCow2

MIB, CLUSTER = 1 << 20, 1 << 16
base = os.urandom(MIB)
Path("base.raw").write_bytes(base)
# An overlay in which nothing was written yet: header, refcount table, one refcount block, an empty L1 table.
name, format_name = b"base.raw", b"raw"
extension = struct.pack(">II", 0xE2792ACA, len(format_name)) + format_name.ljust(8, b"\0") + struct.pack(">II", 0, 0)
header = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 104 + len(extension), len(name), 16, 4 * MIB, 0, 1,
    3 * CLUSTER, CLUSTER, 1, 0, 0, 0, 0, 0, 4, 104)
clusters = [header + extension + name, struct.pack(">Q", 2 * CLUSTER), struct.pack(">HHHH", 1, 1, 1, 1), b""]
Path("overlay.qcow2").write_bytes(b"".join(cluster.ljust(CLUSTER, b"\0") for cluster in clusters))
stream = QCow2(Path("overlay.qcow2")).open()
content = stream.read()
print(f"stated {stream.size} read {len(content)} base {content[:MIB] == base}")
END
seen=$(python/bin/python read.py)
echo "$seen"
[[ $seen == "stated 4194304 read 1048576 base True" ]]
