#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""limits.py PID ROUNDS CERT API-PID - PID goes to the other host and back, in turns with hauld left alone and with clients that mean ill.

Runs in host A; prints the medians of both and their ratio. What the clients may not get is
asserted: they are cut off, refused, or wait, and hauld answers others meanwhile.
"""
import json
import os
import random
import signal
import socket
import statistics
import sys
import threading
import time

from client import SOCKET, Api, expect

pid, rounds, cert, API_PID = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
api = Api()
OPTIONS = {"mode": "pre-copy", "bandwidth-limit-mbit": 400}
stop = threading.Event()
counts = {"malformed": 0, "bodies": 0, "slow": 0, "cut": 0}


def connect():
    while True:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(120)
        try:
            s.connect(SOCKET)
            return s
        except BlockingIOError:  # more than wait to be taken: later
            s.close()
            time.sleep(0.02)


def idle():
    """500 connections that say nothing, 100 of them by TLS's port; made again when they are cut."""
    conns = []
    while not stop.is_set():
        while len(conns) < 400:
            conns.append(connect())
        while len(conns) < 500:
            conns.append(socket.create_connection(("localhost", 8443)))
        stop.wait(0.5)
    for c in conns:
        c.close()


def slow():
    """A request that drips, a byte each second."""
    while not stop.is_set():
        s = connect()
        try:
            for b in b"GET /v1/migrations HTTP/1.1\r\nHost: haul\r\nX-Slow: " + b"x" * 1000:
                s.send(bytes([b]))
                if stop.wait(1):
                    break
        except OSError:
            counts["cut"] += 1
        counts["slow"] += 1
        s.close()


def slow_reader():
    """Asks for events and never reads them."""
    s = connect()
    s.sendall(b"GET /v1/events?after=0 HTTP/1.1\r\nHost: haul\r\n\r\n")
    stop.wait()
    s.close()


def big_body():
    """A GiB, by length and in chunks, as fast as it is taken; a tenth of a second between two."""
    block = b"x" * (1 << 20)
    while not stop.is_set():
        for head in (b"Content-Length: 1073741824", b"Transfer-Encoding: chunked"):
            s = connect()
            sent = 0
            try:
                s.sendall(b"POST /v1/migrations HTTP/1.1\r\nHost: haul\r\nContent-Type: application/json\r\n" + head + b"\r\n\r\n")
                while sent < 1 << 30:
                    s.sendall(b"100000\r\n" + block + b"\r\n" if b"chunked" in head else block)
                    sent += 1 << 20
            except OSError:
                pass
            expect("a body of 1 GiB is cut", sent < 16 << 20, True)
            counts["bodies"] += 1
            s.close()
            stop.wait(0.1)


def malformed():
    rnd = random.Random(7)
    words = [b"GET ", b"POST ", b"/v1/migrations", b" HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n", b"Content-Length: 10\r\n",
             b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"\0\0", b"\xff" * 40, b"a" * 3000, b": :\r\n", b"{", b"%00"]
    while not stop.is_set():
        s = connect()
        try:
            s.sendall(b"".join(rnd.choice(words) for _ in range(rnd.randrange(1, 20))))
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        counts["malformed"] += 1
        s.close()
        stop.wait(0.02)


def move(here):
    """One migration, started by the hauld that has the process. Return: seconds"""
    to = "hostB" if here == "hostA" else "hostA"
    a = Api(here, cert, os.environ["TOKEN"]) if here == "hostB" else api
    t = time.time()
    made = a.post("/v1/migrations", {"pid": pid, "destination": to, "options": OPTIONS})
    expect("POST", made.status, 201)
    m = a.wait(made.json["id"])
    expect("moved: %s" % m.get("error"), m["status"], "done")
    return m["result"]["total_us"] / 1e6, m["result"]["downtime_us"] / 1e3, to


def attack():
    """In a process of its own, which yields to all: these clients would have other processors than hauld's."""
    r, w = os.pipe()
    child = os.fork()
    if child == 0:
        os.nice(19)
        counts.update(dict.fromkeys(counts, 0))
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        v = [threading.Thread(target=f, daemon=True) for f in (idle, slow, slow, slow_reader, big_body, malformed)]
        for t in v:
            t.start()
        while not stop.wait(0.1):
            pass
        time.sleep(1.2)
        os.write(w, json.dumps(counts).encode())
        os._exit(0)
    os.close(w)
    time.sleep(1)
    return child, r


def call_off(child, r):
    os.kill(child, signal.SIGTERM)
    with os.fdopen(r) as f:
        for k, n in json.loads(f.read()).items():
            counts[k] += n
    os.waitpid(child, 0)


def cpu_s():
    """Of the API process."""
    with open("/proc/%s/stat" % API_PID) as f:
        v = f.read().rsplit(")", 1)[1].split()
    return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")


times = {False: [], True: []}
downs = {False: [], True: []}
latencies, share = [], []
for r in range(rounds):
    for bad in (False, True):
        attackers = attack() if bad else None
        cpu, t0 = cpu_s(), time.time()
        for here in ("hostA", "hostB"):
            total, down, where = move(here)
            if here == "hostA":  # these clients torment the hauld that sends
                times[bad].append(total)
                downs[bad].append(down)
        if bad:
            t = time.time()
            expect("hauld answers others", api.get("/v1/version").status, 200)
            latencies.append(time.time() - t)
            share.append((cpu_s() - cpu) / (time.time() - t0))
            call_off(*attackers)
for c in ("malformed", "bodies"):
    assert counts[c], "no %s" % c
med = {b: statistics.median(times[b]) for b in times}
dm = {b: statistics.median(downs[b]) for b in downs}
print("  alone %s s, with them %s s" % (" ".join("%.2f" % v for v in times[False]), " ".join("%.2f" % v for v in times[True])))
print("  a migration took %.3f s alone, %.3f s with them: ratio %.3f (goal 1.05); downtime %.1f and %.1f ms" %
      (med[False], med[True], med[True] / med[False], dm[False], dm[True]))
print("  500 idle connections, %d bodies of 1 GiB, %d malformed requests; another client waited %.0f ms at most; the API process took %.1f %% of a processor" %
      (counts["bodies"], counts["malformed"], max(latencies) * 1e3, 100 * statistics.mean(share)))
