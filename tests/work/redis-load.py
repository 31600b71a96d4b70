#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""redis-load.py - write numbered keys and remember what was acknowledged; check them.

write HOST PORT FILE: SET k:<i> v:<i> in pipelines until the connection breaks or SIGTERM;
    FILE holds the number of acknowledged keys.
check HOST PORT FILE: every acknowledged key must be there; prints JSON, exits 1 otherwise.
"""
import json
import os
import signal
import socket
import sys

PIPELINE = 64


def connect(host, port):
    s = socket.create_connection((host, port), timeout=5)
    s.settimeout(10)
    return s, s.makefile("rb")


def value(i):
    return b"v:%d:" % i + b"x" * (i % 400)


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def save(path, n):
    with open(path + ".new", "w") as f:
        f.write(str(n))
    os.rename(path + ".new", path)


def write(host, port, path):
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    s, f = connect(host, port)
    n = 0
    try:
        while not stop:
            s.sendall(b"".join(command(b"SET", b"k:%d" % i, value(i)) for i in range(n, n + PIPELINE)))
            for _ in range(PIPELINE):
                if f.readline() != b"+OK\r\n":
                    raise ConnectionError
                n += 1
            if n % (PIPELINE * 16) == 0:
                save(path, n)
    except OSError:
        pass
    save(path, n)


def check(host, port, path):
    acknowledged = int(open(path).read())
    s, f = connect(host, port)
    missing = wrong = 0
    for start in range(0, acknowledged, PIPELINE):
        batch = range(start, min(start + PIPELINE, acknowledged))
        s.sendall(b"".join(command(b"GET", b"k:%d" % i) for i in batch))
        for i in batch:
            head = f.readline()
            if head == b"$-1\r\n":
                missing += 1
                continue
            data = f.read(int(head[1:]) + 2)[:-2]
            wrong += data != value(i)
    print(json.dumps({"ok": not missing and not wrong and acknowledged > 0, "acknowledged": acknowledged,
                      "missing": missing, "wrong": wrong}))
    return 0 if not missing and not wrong and acknowledged > 0 else 1


if __name__ == "__main__":
    verb, host, port, path = sys.argv[1:5]
    sys.exit(write(host, int(port), path) if verb == "write" else check(host, int(port), path))
