#!/usr/bin/env bash
# Tool:     gpt 3.0.0 (npm), which reads and writes GUID partition tables.
# Guess:    a table that is read and written back is the same table: partitions keep their numbers, also where numbers are left out,
#           as in the cloud images of Debian and Ubuntu (1, 14, 15).
# Seen:     verify() says false of a table that sfdisk made with the partitions 1, 14 and 15, since unused entries are forgotten and
#           the checksum is taken over a table without the gap. Written back into the image, the partitions become 2 and 3, and the
#           old 14 and 15 stay as well: five partitions, two pairs of which overlap, with checksums that are right.
# For us:   a partition table is bytes of a disk like others: never parsed and written again on the way; and a "not valid" from one
#           reader of such tables says nothing about an image.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
PATH=$PATH:/usr/sbin:/sbin
npm install --silent --no-audit --no-fund gpt@3.0.0
truncate -s 64M disk.raw
sfdisk --quiet disk.raw <<'END_OF_TABLE'
label: gpt
1: start=8192, size=16384
14: start=2048, size=2048
15: start=4096, size=4096
END_OF_TABLE
cat > rewrite.js <<'END_OF_SCRIPT'
const fs = require("fs"), GPT = require("gpt")
const disk = fs.readFileSync("disk.raw")
const table = GPT.parse(disk, 512)
console.log("verifies:", table.verifyHeader(), table.verifyTable())
table.write(disk, 512)
console.log("written back and read again:", GPT.parse(disk, 512).verify())
fs.writeFileSync("disk.raw", disk)
END_OF_SCRIPT
numbers() { sfdisk --dump disk.raw 2>/dev/null | sed -n 's/^disk.raw\([0-9]*\) : start= *\([0-9]*\),.*/\1@\2/p' | tr '\n' ' '; }
{
    echo "before: $(numbers)"
    node rewrite.js
    echo "after: $(numbers)"
} | tee seen
diff seen - <<'END_OF_SEEN'
before: 1@8192 14@2048 15@4096 
verifies: true false
written back and read again: false
after: 1@8192 2@2048 3@4096 14@2048 15@4096 
END_OF_SEEN
