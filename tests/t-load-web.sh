#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-load-web - an archive behind a URL: loaded lazily by range requests, only as a copy; a server that goes away
# makes threads wait until it is back; one without ranges is refused.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive.sh"
lab_up
start A "$work/writer" --mib 32 --rate 2000
verify A
ar=$dir/web/writer.haul
mkdir "$dir/web"
save A --end
gone A
cat >"$dir/server.py" <<'PY'
import http.server, os, re, sys

class Ranges(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        data = open(os.path.join(sys.argv[1], os.path.basename(self.path)), "rb").read()
        m = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if len(sys.argv) == 2 else None
        part = data[int(m[1]):int(m[2]) + 1] if m else data
        self.send_response(206 if m and part else 416 if m else 200)
        if m:
            self.send_header("Content-Range", "bytes %s-%d/%d" % (m[1], int(m[1]) + len(part) - 1, len(data)))
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *a):
        pass

http.server.ThreadingHTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Ranges)
if os.environ.get("CERT"):
    import ssl
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(os.environ["CERT"])
    server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
PY
serve() {
	server=$("$lab" spawn A "web$RANDOM" python3 "$dir/server.py" "$dir/web" "$@")
	listens A 8080
}
ar=http://127.0.0.1:8080/writer.haul
serve whole
refused 1 "sends whole files only" "$lab" run A "$haul" load --copy "$ar"
"$lab" run A kill -9 "$server"
until_true 20 '! "$lab" run A kill -0 "$server"'
serve
refused 3 "cannot be written to" "$lab" run A "$haul" load "$ar"
"$lab" run A "$haul" archive verify "$ar" | grep -q 'is whole' || fail "verify by HTTP"
load A --copy
verify A
end A
note "  loaded from a URL"

verified=1
"$lab" run A "$haul" load --copy --bandwidth-limit-mbit=60 "$ar" >"$dir/report" 2>"$dir/stderr" &
loader=$!
until_true 20 'grep -q " running" "$dir/report"' || fail "it does not run: $(cat "$dir/report" "$dir/stderr")"
"$lab" run A kill -9 "$server"
until_true 20 'grep -q "wait until it can be read" "$dir/stderr"' || fail "nothing is said: $(cat "$dir/stderr")"
[ ! -e "$wdir/failed" ] || fail "workload noticed: $(cat "$wdir/failed")"
serve
wait $loader || fail "haul load: $(cat "$dir/report" "$dir/stderr")"
verify A
end A
"$lab" run A kill -9 "$server"
note "  the server was away for a while: pages are waited for"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
	-days 2 -keyout "$dir/key.pem" -out "$dir/ca.pem" 2>/dev/null
cat "$dir/key.pem" "$dir/ca.pem" >"$dir/both.pem"
ar=https://127.0.0.1:8080/writer.haul
server=$("$lab" spawn A "web$RANDOM" /usr/bin/env CERT="$dir/both.pem" python3 "$dir/server.py" "$dir/web")
listens A 8080
refused 1 "certificate\|SSL" "$lab" run A "$haul" load --copy "$ar"
"$lab" run A "$haul" archive verify --ca="$dir/ca.pem" "$ar" | grep -q 'is whole' || fail "verify by HTTPS"
verified=1
load A --copy --ca="$dir/ca.pem"
verify A
end A
"$lab" run A kill -9 "$server"
note "  by HTTPS: only from a server whose certificate is trusted"
