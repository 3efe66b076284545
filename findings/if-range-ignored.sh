#!/usr/bin/env bash
# Tools:    http-server 14.1.1 and serve 14.2.4 (npm), rangehttpserver 1.4.0, bottle 0.13.4, CherryPy 18.10.0 and Twisted
#           24.11.0 (PyPI), each serving one folder.
# Guess:    a range asked for with `If-Range: "some other ETag"` is answered with 200 and the whole file, as RFC 9110 (13.1.5) wants,
#           so that parts of two versions of a file are never put together.
# Seen:     all six answer 206 with the range of the file that they have now.
# For us:   If-Range protects nobody from mixed versions on small servers: what comes is compared with the ETag that was seen before,
#           and with digests, and a file that changes in place gets another name.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund http-server@14.1.1 serve@14.2.4
python3 -m venv python
python/bin/pip --quiet install rangehttpserver==1.4.0 bottle==0.13.4 CherryPy==18.10.0 Twisted==24.11.0
mkdir site
head -c 1000 /dev/urandom > site/part.bin

cat > bottle_server.py <<'END'
import sys, bottle
bottle.route("/<name>")(lambda name: bottle.static_file(name, root="site"))
bottle.run(host="127.0.0.1", port=int(sys.argv[1]), quiet=True)
END
cat > cherrypy_server.py <<'END'
import os, sys, cherrypy
cherrypy.quickstart(None, "/", {
    "global": {"server.socket_host": "127.0.0.1", "server.socket_port": int(sys.argv[1])},
    "/": {"tools.staticdir.on": True, "tools.staticdir.dir": os.path.abspath("site")}})
END

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
serve() {
    case $1 in
        http-server) exec node_modules/.bin/http-server site -a 127.0.0.1 -p "$2" ;;
        serve) exec node_modules/.bin/serve -l "tcp://127.0.0.1:$2" site ;;
        rangehttpserver) cd site && exec ../python/bin/python -m RangeHTTPServer --bind 127.0.0.1 "$2" ;;
        bottle) exec python/bin/python bottle_server.py "$2" ;;
        cherrypy) exec python/bin/python cherrypy_server.py "$2" ;;
        twisted) exec python/bin/twist web --listen "tcp:$2:interface=127.0.0.1" --path site ;;
    esac
}

changed=0
for server in http-server serve rangehttpserver bottle cherrypy twisted; do
    port=$(free_port)
    (serve "$server" "$port") >/dev/null 2>&1 &
    url=http://127.0.0.1:$port/part.bin
    curl --silent --output /dev/null --retry 30 --retry-delay 1 --retry-connrefused "$url"
    answer=$(curl --silent --output got.bin --write-out '%{http_code} %header{content-range}' \
        --header 'Range: bytes=10-19' --header 'If-Range: "an ETag of another version"' "$url")
    echo "$server: $answer, $(stat -c %s got.bin) bytes"
    [[ $answer == "206 bytes 10-19/1000" ]] && cmp --silent got.bin <(tail -c +11 site/part.bin | head -c 10) || changed=1
    kill $! 2>/dev/null || true
done
exit $changed
