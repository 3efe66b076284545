#!/usr/bin/env bash
# Tools:    httpd of BusyBox 1.35.0 (Debian 12's package busybox 1:1.35.0-4+deb12u1+b1) and sirv-cli 3.0.1 (npm), serving one folder.
# Guess:    `Range: bytes=0-0` brings one byte and, behind the slash of Content-Range, the size of the file: the usual way to ask a
#           server for a size and for ranges at once. HEAD brings no content (RFC 9110, 9.3.2).
# Seen:     from both, 0-0, and only 0-0, brings 206 with `Content-Range: bytes 0-999/1000` and all 1,000 bytes; 0-1 and 1-1 bring
#           what was asked for. BusyBox answers HEAD with the whole file behind the headers.
# For us:   the smallest question can be answered with a whole disk: who asks for a size reads the headers and hangs up, and a
#           connection on which HEAD was asked is used again only where the server is known.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
download() { apt-get download -qq busybox=1:1.35.0-4+deb12u1+b1 2>/dev/null; }
download || { apt-get update -qq && download; }
dpkg -x busybox_*.deb debian
npm install --silent --no-audit --no-fund sirv-cli@3.0.1
mkdir site
head -c 1000 /dev/urandom > site/part.bin
cat > head.py <<'END_OF_CLIENT'
import socket, sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as line:
    line.sendall(b"HEAD /part.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = b"".join(iter(lambda: line.recv(1 << 16), b""))
headers, _, content = answer.partition(b"\r\n\r\n")
print("HEAD:", headers.split()[1].decode(), f"and {len(content)} bytes")
END_OF_CLIENT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
serve() {
    case $1 in
        busybox) exec debian/bin/busybox httpd -f -p "127.0.0.1:$2" -h site ;;
        sirv) exec node_modules/.bin/sirv site --host 127.0.0.1 --port "$2" --quiet ;;
    esac
}

for server in busybox sirv; do
    echo "$server"
    port=$(free_port)
    (serve "$server" "$port") >/dev/null 2>&1 &
    url=http://127.0.0.1:$port/part.bin
    curl --silent --output /dev/null --retry 30 --retry-delay 1 --retry-connrefused "$url"
    for range in 0-0 0-1 1-1; do
        answer=$(curl --silent --output got.bin --write-out '%{http_code} %header{content-range}' --range "$range" "$url")
        echo "$range: $answer, $(stat -c %s got.bin) bytes"
    done
    python3 head.py "$port"
    kill $! 2>/dev/null || true
done | tee seen
diff seen - <<'END_OF_SEEN'
busybox
0-0: 206 bytes 0-999/1000, 1000 bytes
0-1: 206 bytes 0-1/1000, 2 bytes
1-1: 206 bytes 1-1/1000, 1 bytes
HEAD: 200 and 1000 bytes
sirv
0-0: 206 bytes 0-999/1000, 1000 bytes
0-1: 206 bytes 0-1/1000, 2 bytes
1-1: 206 bytes 1-1/1000, 1 bytes
HEAD: 200 and 0 bytes
END_OF_SEEN
