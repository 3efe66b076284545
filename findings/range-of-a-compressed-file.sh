#!/usr/bin/env bash
# Tools:    http-server 14.1.1 with --gzip and local-web-server 5.4.0 (npm), CherryPy 18.10.0 with its gzip tool (PyPI).
# Guess:    who asks for `Range: bytes=100-119` and allows gzip gets bytes 100 to 119 of one thing that all servers agree on.
# Seen:     http-server: bytes 100-119 of the stored .gz file, `Content-Range: bytes 100-119/SIZE OF THE .gz`, which is what RFC
#           9110 means. CherryPy: bytes 100-119 of the file itself, compressed by themselves, so that they can be unpacked, and
#           `Content-Range: bytes 100-119/SIZE OF THE FILE`. local-web-server: as http-server, but with the range in Content-Range as
#           it was asked for, even past the .gz file's end. All three say `206` and `Content-Encoding: gzip`.
# For us:   the same headers mean a part of what was compressed, or a compressed part. Ranges are asked for with
#           `Accept-Encoding: identity`; where gzip comes all the same, the file is fetched whole.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund http-server@14.1.1 local-web-server@5.4.0
python3 -m venv python
python/bin/pip --quiet install CherryPy==18.10.0
mkdir site
seq 1 5000 | head -c 20000 > site/text.txt
gzip --keep --no-name -9 site/text.txt
size=$(stat -c %s site/text.txt.gz)
cat > cherrypy_server.py <<'END'
import os, sys, cherrypy
cherrypy.quickstart(None, "/", {
    "global": {"server.socket_host": "127.0.0.1", "server.socket_port": int(sys.argv[1])},
    "/": {"tools.staticdir.on": True, "tools.staticdir.dir": os.path.abspath("site"),
          "tools.gzip.on": True, "tools.gzip.mime_types": ["text/*"]}})
END
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
ask() {
    url=http://127.0.0.1:$1/text.txt
    curl --silent --output /dev/null --retry 30 --retry-delay 1 --retry-connrefused "$url"
    curl --silent --output got.bin --max-time 10 --header 'Accept-Encoding: gzip' --header "Range: bytes=$2" \
        --write-out '%{http_code} | %header{content-encoding} | %header{content-range}' "$url" || true
}
port=$(free_port)
node_modules/.bin/http-server site --gzip -a 127.0.0.1 -p "$port" >/dev/null 2>&1 &
answer=$(ask "$port" 100-119)
echo "http-server: $answer"
[[ $answer == "206 | gzip | bytes 100-119/$size" ]]
cmp got.bin <(tail -c +101 site/text.txt.gz | head -c 20)

port=$(free_port)
python/bin/python cherrypy_server.py "$port" >/dev/null 2>&1 &
answer=$(ask "$port" 100-119)
echo "CherryPy: $answer"
[[ $answer == "206 | gzip | bytes 100-119/20000" ]]
cmp <(gunzip < got.bin) <(tail -c +101 site/text.txt | head -c 20)

port=$(free_port)
node_modules/.bin/ws --hostname 127.0.0.1 --port "$port" --directory site >/dev/null 2>&1 &
answer=$(ask "$port" 100-19999)
echo "local-web-server: $answer"
[[ $answer == "206 | gzip | bytes 100-19999/$size" ]]
