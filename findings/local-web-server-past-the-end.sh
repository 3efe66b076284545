#!/usr/bin/env bash
# Tool:     local-web-server 5.4.0 (npm; its ranges are koa-range's), serving one folder.
# Guess:    a range that reaches past the end of a file is cut there (RFC 9110, 14.1.2): `bytes=990-1099` of 1,000 bytes brings ten
#           with `Content-Range: bytes 990-999/1000`; one that begins behind the end is answered with 416.
# Seen:     206 with `Content-Range: bytes 990-1099/1000` and `Content-Length: 110`, then ten bytes and the end of the connection,
#           which looks like a line that broke. One that begins behind the end: 206, too, with no byte at all.
# For us:   never ask past the end; a short answer there is not the network's fault, and asking again brings the same.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund local-web-server@5.4.0
mkdir site
head -c 1000 /dev/urandom > site/part.bin
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/ws --hostname 127.0.0.1 --port "$port" --directory site >/dev/null 2>&1 &
url=http://127.0.0.1:$port/part.bin
curl --silent --output /dev/null --retry 30 --retry-delay 1 --retry-connrefused "$url"
ask() {
    rm -f got.bin
    curl --silent --output got.bin --max-time 10 --header "Range: bytes=$1" \
        --write-out '%{http_code} | %header{content-range} | %header{content-length} | curl %{exitcode}' "$url" || true
    echo " | $(stat -c %s got.bin 2>/dev/null || echo 0) bytes"
}
over=$(ask 990-1099)
behind=$(ask 1000-1099)
printf '990-1099: %s\n1000-1099: %s\n' "$over" "$behind"
[[ $over == "206 | bytes 990-1099/1000 | 110 | curl 18 | 10 bytes" ]]
[[ $behind == "206 | bytes 1000-1099/1000 | 100 | curl 18 | 0 bytes" ]]
