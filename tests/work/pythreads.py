#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""pythreads.py - CPython with threads that change dicts and bytearrays; same protocol as work.h."""
import hashlib
import json
import os
import signal
import sys
import threading
import time

DIR = sys.argv[sys.argv.index("--dir") + 1]
asked = 0
lock = threading.Lock()
areas = [bytearray(os.urandom(1 << 16)) for _ in range(64)]
sums = [hashlib.sha256(a).digest() for a in areas]
table = {}
counts = [0] * 6


def on_signal(*_):
    global asked
    asked += 1


def worker(k):
    n = 0
    while True:
        i = (n * 7 + k) % len(areas)
        with lock:
            assert hashlib.sha256(areas[i]).digest() == sums[i], "area %d" % i
            areas[i][(n * 131) % len(areas[i])] = n & 255
            sums[i] = hashlib.sha256(areas[i]).digest()
            table["%d.%d" % (k, n % 500)] = n
            counts[k] += 1
        n += 1
        time.sleep(0.001)


def put(name, text):
    path = os.path.join(DIR, name)
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def verify(k):
    with lock:
        before = list(counts)
        bad = sum(hashlib.sha256(a).digest() != s for a, s in zip(areas, sums))
    time.sleep(0.5)
    stuck = sum(c <= b for c, b in zip(counts, before))
    put("verify.%d" % k, json.dumps({"ok": not bad and not stuck, "bad": bad, "stuck": stuck, "keys": len(table)}))


signal.signal(signal.SIGUSR1, on_signal)
for k in range(len(counts)):
    threading.Thread(target=worker, args=(k,), daemon=True).start()
put("ready", "ready\n")
done = 0
while True:
    if asked > done:
        done += 1
        verify(done)
    time.sleep(0.02)
