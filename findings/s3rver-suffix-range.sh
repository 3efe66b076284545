#!/usr/bin/env bash
# Tool:     s3rver 3.7.1 (npm), a server that tests of S3 clients use.
# Guess:    `Range: bytes=-10` brings the last ten bytes of an object (RFC 9110, 14.1.2); S3 does so.
# Seen:     206 with `Content-Range: bytes 0-10/1000`: the first eleven. The header is honest, and the bytes are not those that
#           were meant.
# For us:   a 206 is placed by its Content-Range, never by what was asked for; and we ask for no suffixes.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund s3rver@3.7.1 aws4@1.13.2
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/s3rver --directory objects --address 127.0.0.1 --port "$port" --no-vhost-buckets --configure-bucket bucket \
    >/dev/null 2>&1 &
curl --silent --output /dev/null --retry 30 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$port/"
cat > client.js <<'END'
const aws4 = require("aws4");
const http = require("http");
const keys = { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" };
const ask = (method, headers, body) => new Promise((done) => {
    const request = aws4.sign({ service: "s3", method, host: "127.0.0.1", port: process.argv[2], path: "/bucket/object",
        headers: { ...headers, Host: `127.0.0.1:${process.argv[2]}` }, body }, keys);
    http.request(request, (answer) => {
        const parts = [];
        answer.on("data", (part) => parts.push(part)).on("end", () => done([answer, Buffer.concat(parts)]));
    }).end(body);
});
(async () => {
    const body = Array.from({ length: 100 }, (_, n) => String(n).padStart(10, ".")).join("");
    await ask("PUT", { "Content-Type": "text/plain" }, body);
    const [answer, got] = await ask("GET", { Range: "bytes=-10" });
    console.log(`${answer.statusCode} | ${answer.headers["content-range"]} | ${got}`);
})();
END
answer=$(node client.js "$port")
echo "$answer"
[[ $answer == "206 | bytes 0-10/1000 | .........0." ]]
