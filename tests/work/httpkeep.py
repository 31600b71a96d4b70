#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""httpkeep.py - HTTP/1.1 over connections that stay: what is behind a proxy, and its clients.

serve ADDR PORT           answers each GET with its path
load ADDR PORT CLIENTS    each client asks again and again on one connection, until DIR/enough exists
"""
import argparse
import http.client
import http.server
import json
import os
import sys
import threading


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # an answer in one piece: a proxy cannot repeat a request of which the client has a part

    def do_GET(self):
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def ask(o, k, counts, faults):
    c = http.client.HTTPConnection(o.args[0], int(o.args[1]), timeout=30)
    c.connect()
    c.auto_open = 0  # a connection that was lost is a fault
    n = 0
    try:
        while not os.path.exists(o.dir + "/enough"):
            n += 1
            c.request("GET", "/%d/%d" % (k, n))
            r = c.getresponse()
            d = r.read()
            if r.status != 200 or d != b"/%d/%d" % (k, n):
                raise AssertionError("request %d: %d %r" % (n, r.status, d[:60]))
    except (AssertionError, OSError, http.client.HTTPException) as e:
        faults.append("client %d, request %d: %s: %s" % (k, n, type(e).__name__, e))
    counts[k] = n


parser = argparse.ArgumentParser()
parser.add_argument("--dir")
parser.add_argument("what")
parser.add_argument("args", nargs="*")
o = parser.parse_args()
if o.what == "serve":
    http.server.ThreadingHTTPServer((o.args[0], int(o.args[1])), Answer).serve_forever()
n = int(o.args[2])
counts, faults = [0] * n, []
threads = [threading.Thread(target=ask, args=(o, k, counts, faults)) for k in range(n)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(json.dumps({"what": "http", "ok": not faults, "clients": n, "answers": sum(counts), "faults": faults[:3]}), flush=True)
sys.exit(bool(faults))
