#!/usr/bin/env bash
# Tool:     dissect.hypervisor 3.21 (PyPI), a reader of virtual disks.
# Guess:    a VMDK of any whole number of sectors can be read to its end; VMware and qemu-img make such.
# Seen:     a flat VMDK of 2,041 sectors: reading all of it raises IndexError ("list index out of range"), and so does a read of its
#           last sector, since the reader fetches aligned blocks and looks for a disk behind the last one. The sectors before the
#           last, incomplete 8 KiB can be read. With 2,048 sectors all is well. Sparse VMDKs behave alike.
# For us:   sizes that are odd in a format's own unit belong into the tests of each reader.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip --quiet install dissect.hypervisor==3.21 dissect.util==3.24 dissect.cstruct==4.7
cat > read.py <<'END'
import os
from pathlib import Path
from dissect.hypervisor.disk.vmdk import VMDK


def disk(sectors):
    content = os.urandom(sectors * 512)
    Path("disk-flat.vmdk").write_bytes(content)
    Path("disk.vmdk").write_text(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n"
        f"RW {sectors} FLAT \"disk-flat.vmdk\" 0\n\nddb.adapterType = \"ide\"\n")
    return content, VMDK(Path("disk.vmdk"))


def outcome(read):
    try:
        return read()
    except IndexError as error:
        return f"IndexError: {error}"


content, even = disk(2048)
print("2048 sectors:", outcome(lambda: even.read() == content))
content, odd = disk(2041)
print("2041 sectors:", outcome(lambda: odd.read() == content))
odd.seek(0)
print("its first 2032:", outcome(lambda: odd.read(2032 * 512) == content[: 2032 * 512]))
END
python/bin/python read.py | tee seen
diff seen - <<'END'
2048 sectors: True
2041 sectors: IndexError: list index out of range
its first 2032: True
END
