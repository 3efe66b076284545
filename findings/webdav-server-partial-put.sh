#!/usr/bin/env bash
# Tools:    webdav-server 2.6.2 (npm) and WsgiDAV 4.4.0 (PyPI).
# Guess:    a PUT with Content-Range, which some upload tools use to resume, is refused with 400 or changes that part of the file (RFC
#           9110, 14.5).
# Seen:     webdav-server answers 200, and the file is then the two bytes of the part alone. WsgiDAV answers 400 and leaves it.
# For us:   uploads never resume inside a file: a file is sent whole under another name, and renamed.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund webdav-server@2.6.2
python3 -m venv python
python/bin/pip --quiet install WsgiDAV==4.4.0 cheroot==11.1.2
mkdir npm-files pip-files
cat > server.js <<'END'
const { v2 } = require("webdav-server");
const server = new v2.WebDAVServer({ hostname: "127.0.0.1", port: Number(process.argv[2]) });
server.setFileSystem("/", new v2.PhysicalFileSystem("npm-files"), () => server.start(() => {}));
END
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
put() { curl --silent --output /dev/null --write-out '%{http_code}' --upload-file - "${@:2}" "$1/file"; }
try() {
    curl --silent --output /dev/null --retry 30 --retry-delay 1 --retry-connrefused "$1/"
    printf aaaaaaaaaa | put "$1" >/dev/null
    printf BB | put "$1" --header 'Content-Range: bytes 4-5/10'
}
port=$(free_port)
node server.js "$port" >/dev/null 2>&1 &
one="$(try "http://127.0.0.1:$port") $(cat npm-files/file)"
port=$(free_port)
python/bin/wsgidav --host 127.0.0.1 --port "$port" --root pip-files --auth anonymous >/dev/null 2>&1 &
other="$(try "http://127.0.0.1:$port") $(cat pip-files/file)"
printf 'webdav-server: %s\nWsgiDAV: %s\n' "$one" "$other"
[[ $one == "200 BB" && $other == "400 aaaaaaaaaa" ]]
