#!/usr/bin/env bash
# Tools:    baize 0.23.1 (its Files, on uvicorn 0.34.0, PyPI), statikk 2.2.1 (npm) and webfs 1.21 (Debian 12's 1.21+ds1-12+b1).
# Guess:    `Range: bytes=-2000` of a file of 1,000 bytes brings all of it (RFC 9110, 14.1.2: a longer suffix means the whole).
# Seen:     baize answers 416 with `Content-Range: */1000`, which names no unit; statikk answers 416, too. webfs answers 206 with
#           `Content-Range: bytes -1000-999/1000`, `Content-Length: 2000` and not one byte. `bytes=-10` is served well by all three.
# For us:   who looks for a footer or a backup table at the end of a file asks for its size first, and then by first and last byte;
#           416 does not say that a range begins behind the end.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund statikk@2.2.1
python3 -m venv python
python/bin/pip --quiet install baize==0.23.1 uvicorn==0.34.0
download() { apt-get download -qq webfs=1.21+ds1-12+b1 2>/dev/null; }
download || { apt-get update -qq && download; }
dpkg -x webfs_*.deb debian
mkdir site
head -c 1000 /dev/urandom > site/part.bin
printf 'from baize.asgi import Files\napp = Files("site")\n' > baize_server.py
cat > ask.py <<'END_OF_CLIENT'
import re, socket, sys

name, port = sys.argv[1], int(sys.argv[2])
for suffix in (10, 2000):
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        line.sendall(b"GET /part.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nRange: bytes=-%d\r\n\r\n" % suffix)
        answer = b"".join(iter(lambda: line.recv(1 << 16), b""))
    headers, _, content = answer.partition(b"\r\n\r\n")
    status = int(headers.split()[1])
    said = re.search(rb"(?im)^content-range: *(.*?)\r?$", headers)
    print(f"{name} -{suffix}: {status}, {said and said[1].decode()}" + (f", {len(content)} bytes" if status == 206 else ""))
END_OF_CLIENT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
serve() {
    case $1 in
        baize) exec python/bin/uvicorn --host 127.0.0.1 --port "$2" baize_server:app ;;
        statikk) exec node_modules/.bin/statikk site --port "$2" ;;
        webfs) exec debian/usr/bin/webfsd -F -i 127.0.0.1 -p "$2" -r "$PWD/site" ;;
    esac
}

for server in baize statikk webfs; do
    port=$(free_port)
    (serve "$server" "$port") >/dev/null 2>&1 &
    curl --silent --output /dev/null --retry 30 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$port/part.bin"
    python3 ask.py "$server" "$port"
    kill $! 2>/dev/null || true
done | tee seen
diff seen - <<'END_OF_SEEN'
baize -10: 206, bytes 990-999/1000, 10 bytes
baize -2000: 416, */1000
statikk -10: 206, bytes 990-999/1000, 10 bytes
statikk -2000: 416, bytes */1000
webfs -10: 206, bytes 990-999/1000, 10 bytes
webfs -2000: 206, bytes -1000-999/1000, 0 bytes
END_OF_SEEN
