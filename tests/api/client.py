# SPDX-License-Identifier: GPL-2.0-or-later
"""client.py - hauld's API as tests speak it: the Unix socket, or TLS with a token; server-sent events."""
import http.client
import json
import os
import socket
import ssl
import time

SOCKET = "/run/haul/api.sock"


class Unix(http.client.HTTPConnection):
    def __init__(self, timeout=60):
        super().__init__("haul", timeout=timeout)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


class Answer:
    def __init__(self, r):
        self.status, self.type = r.status, r.headers.get("Content-Type", "")
        self.headers, self.text = r.headers, r.read().decode()
        self.json = json.loads(self.text) if "json" in self.type else None

    @property
    def code(self):
        return self.json.get("code") if self.json else None

    def __repr__(self):
        return "%d %s %s" % (self.status, self.type, self.text[:300])


class Api:
    """One client; @cafile and @token: by TLS to @host."""

    def __init__(self, host=None, cafile=None, token=None):
        self.host, self.cafile, self.token = host, cafile, token

    def open(self, timeout=60):
        if not self.host:
            return Unix(timeout)
        context = ssl.create_default_context(cafile=self.cafile)
        return http.client.HTTPSConnection(self.host, 8443, context=context, timeout=timeout)

    def headers(self, more=None):
        h = dict(more or {})
        if self.token:
            h["Authorization"] = "Bearer " + self.token
        return h

    def ask(self, method, path, body=None, headers=None, raw=None):
        c = self.open()
        h = self.headers(headers)
        if body is not None:
            raw = json.dumps(body)
        if raw is not None:
            h.setdefault("Content-Type", "application/json")
        c.request(method, path, raw, h)
        a = Answer(c.getresponse())
        c.close()
        return a

    def get(self, path, **kw):
        return self.ask("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.ask("POST", path, body, **kw)

    def events(self, path, after=None, timeout=60):
        """Yields (id, event); ends when the server does."""
        c = self.open(timeout)
        c.request("GET", path, headers=self.headers({"Last-Event-ID": str(after)} if after is not None else None))
        r = c.getresponse()
        if r.status != 200:
            c.close()
            return
        at = None
        try:
            for line in r:
                line = line.decode().rstrip("\n")
                if line.startswith("id: "):
                    at = int(line[4:])
                elif line.startswith("data: "):
                    yield at, json.loads(line[6:])
        finally:
            c.close()

    def wait(self, id, limit_s=120):
        until = time.time() + limit_s
        while time.time() < until:
            m = self.get("/v1/migrations/" + id).json
            if m["status"] not in ("queued", "running"):
                return m
            time.sleep(0.1)
        raise AssertionError("migration %s did not end: %s" % (id, m))


def as_uid(uid, fn):
    """fn() in a process of that user. Return: what it returns, by JSON"""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.write(w, json.dumps(fn()).encode())
            os._exit(0)
        except BaseException as e:  # the parent says it
            os.write(w, json.dumps({"exception": repr(e)}).encode())
            os._exit(1)
    os.close(w)
    with os.fdopen(r) as f:
        out = json.loads(f.read())
    os.waitpid(pid, 0)
    if isinstance(out, dict) and "exception" in out:
        raise AssertionError("as uid %d: %s" % (uid, out["exception"]))
    return out


class Meeting:
    """Processes made after it: each says that it is there and waits; the maker waits for them, then lets them go."""

    def __init__(self):
        self.there, self.go = os.pipe(), os.pipe()

    def wait_here(self):
        os.close(self.go[1])  # the end of the maker ends the wait
        os.write(self.there[1], b"x")
        os.read(self.go[0], 1)

    def wait_for(self, n):
        while n:
            n -= len(os.read(self.there[0], n))

    def let_go(self, n):
        os.write(self.go[1], b"x" * n)


def expect(what, got, want):
    if got != want:
        raise SystemExit("FAIL: %s: %r, not %r" % (what, got, want))


def problem(what, a, status, code):
    expect(what, (a.status, a.code, a.type), (status, code, "application/problem+json"))
