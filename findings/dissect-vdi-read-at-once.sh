#!/usr/bin/env bash
# Tool:     dissect.hypervisor 3.21 (PyPI), a reader of virtual disks.
# Guess:    the content of a VDI does not depend on how many bytes are asked for at once.
# Seen:     a dynamic VDI that qemu-img makes of 4 MiB whose second MiB is zeros: read MiB by MiB, it is right. Read at once, it
#           is wrong without an error: the block map is looked up for the first block of a read only, and what lies behind that
#           block in the file is taken for the rest of the disk. Here the third MiB stands in the place of the second, and the
#           stream ends a MiB early. A read of two MiB that begins in the hole brings zeros alone. A VDI without holes, whose blocks
#           lie in order, is read well at any size.
# For us:   what a reader gives is compared with a second reader's at more than one size of read before its digest is published; an
#           image is read in pieces of its own block size.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip --quiet install dissect.hypervisor==3.21 dissect.util==3.24 dissect.cstruct==4.7
cat > read.py <<'END_OF_PYTHON'
import os, subprocess
from pathlib import Path
from dissect.hypervisor.disk.vdi import VDI

MIB = 1 << 20
first, third, fourth = os.urandom(MIB), os.urandom(MIB), os.urandom(MIB)
disk = first + bytes(MIB) + third + fourth
Path("disk.raw").write_bytes(disk)
subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vdi", "disk.raw", "disk.vdi"], check=True)
subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "vdi", "disk.raw", "disk.vdi"], check=True)


def pieces(size):
    stream = VDI(Path("disk.vdi")).open()
    return b"".join(iter(lambda: stream.read(size), b""))


print("MiB by MiB:", pieces(MIB) == disk)
at_once = pieces(4 * MIB)
print("at once:", len(at_once), at_once == disk, at_once == first + third + fourth)
stream = VDI(Path("disk.vdi")).open()
stream.seek(MIB)
print("two from the hole on:", stream.read(2 * MIB) == bytes(2 * MIB))
END_OF_PYTHON
python/bin/python read.py | tee seen
diff seen - <<'END_OF_SEEN'
MiB by MiB: True
at once: 3145728 False True
two from the hole on: True
END_OF_SEEN
