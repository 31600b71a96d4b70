#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""hooked.py PORT FILE SECRET - takes webhooks, the first two only at the third try; a line for what it took."""
import hashlib
import hmac
import http.server
import json
import sys
import time

port, path, secret = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode()
tries = {}
out = open(path, "a", buffering=1)


class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        id = self.headers["Haul-Event-Id"]
        tries[id] = tries.get(id, 0) + 1
        # the first two: with back-off more would take long
        refuse = tries[id] < 3 and len(tries) <= 2
        self.send_response(503 if refuse else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if refuse:
            return
        t, v1 = (w.split("=", 1)[1] for w in self.headers["Haul-Signature"].split(","))
        good = hmac.new(secret, ("%s.%s." % (t, id)).encode() + body, hashlib.sha256).hexdigest()
        out.write(json.dumps({"id": int(id), "tries": tries[id], "body": json.loads(body),
                              "signed": hmac.compare_digest(good, v1) and abs(time.time() - int(t)) < 60},
                             separators=(",", ":")) + "\n")

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("", port), Hook).serve_forever()
