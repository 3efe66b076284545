#!/usr/bin/env bash
# Tool:     static-server 2.2.1 (npm), serving one folder.
# Guess:    `Range: bytes=100-199` brings 100 bytes, or the whole file with 200.
# Seen:     206 with 99 bytes, `Content-Length: 99`, and `Content-Range: bytes=100-199`: with "=" for a space, without the
#           file's size, and naming the byte that is not there. Nothing in the answer says that one is missing.
# For us:   neither the status nor Content-Range tells how much came. What is short is asked for again from where it ends, and a
#           header that cannot be read is no reason to give up a server, as long as digests decide.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund static-server@2.2.1
mkdir site
head -c 1000 /dev/urandom > site/part.bin
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/static-server site --port "$port" >/dev/null 2>&1 &
url=http://127.0.0.1:$port/part.bin
curl --silent --output /dev/null --retry 30 --retry-delay 1 --retry-connrefused "$url"
answer=$(curl --silent --output got.bin --header 'Range: bytes=100-199' \
    --write-out '%{http_code} | %header{content-range} | %header{content-length}' "$url")
echo "$answer | $(stat -c %s got.bin) bytes"
[[ $answer == "206 | bytes=100-199 | 99" ]]
cmp got.bin <(tail -c +101 site/part.bin | head -c 99)
