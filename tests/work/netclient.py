#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""netclient - clients of a server that moves; each notices the smallest fault.

netclient WHAT ADDRESS [--port N] [--dir DIR] ...; one JSON line at the end, exit status 1 at a fault.
get, put, both      a stream of --mib, at --mbyte-s for the reader
slow                a reader of 64 KiB each 50 ms: the server's send queue is always full
echo                --clients, each with lines of its own, as fast as the answers come
closed, deaf        half-closed by the client, by the server
orphan              a slow reader of what the server has sent and closed already
redis               --clients, each with --depth commands in flight
arrive              a new connection each --every seconds, one line, close
brief               --clients, which send 100 KB in --seconds on a new connection each time, and the server closes it
"""
import argparse, hashlib, json, os, selectors, socket, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from netserve import line, pattern, send_pattern, take


def connect(o, room=0):
    s = socket.socket(socket.AF_INET6 if ":" in o.address else socket.AF_INET)
    if room:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    s.settimeout(30)
    s.connect((o.address, o.port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def expected(n):
    h = hashlib.sha256()
    for at in range(0, n, 1 << 20):
        h.update(pattern(at, min(1 << 20, n - at)))
    return "%d %s" % (n, h.hexdigest())


def same(got, n):
    want = expected(n)
    if got != want:
        raise AssertionError("got %s, wanted %s" % (got, want))


class Pace:
    def __init__(self, o):
        self.rate, self.start, self.n = o.mbyte_s * 1e6, time.monotonic(), 0

    def step(self, n):
        self.n += n
        ahead = self.n / self.rate - (time.monotonic() - self.start)
        if ahead > 0:
            time.sleep(ahead)


def paced_take(s, n, o):
    h, got, pace = hashlib.sha256(), 0, Pace(o)
    while got < n:
        d = s.recv(min(1 << 18, n - got))
        if not d:
            break
        h.update(d)
        got += len(d)
        pace.step(len(d))
    return "%d %s" % (got, h.hexdigest())


def paced_send(s, n, o):
    pace = Pace(o)
    for at in range(0, n, 1 << 18):
        d = pattern(at, min(1 << 18, n - at))
        s.sendall(d)
        pace.step(len(d))


def get(o):
    n = o.mib << 20
    s = connect(o)
    s.sendall(b"GET %d\n" % n)
    same(paced_take(s, n, o), n)
    if s.recv(1):
        raise AssertionError("more than was asked for")


def slow(o):
    n = o.mib << 20
    s = connect(o)
    s.sendall(b"GET %d\n" % n)
    same(take(s, n, 0.05, 1 << 16), n)


def orphan(o):
    n = o.mib << 20
    s = connect(o, 65536)
    s.sendall(b"ORPHAN %d\n" % n)
    same(take(s, n, o.every, 1 << 16), n)


def put(o):
    n = o.mib << 20
    s = connect(o)
    s.sendall(b"PUT %d\n" % n)
    paced_send(s, n, o)
    same(" ".join(line(s) or []), n)


def both(o):
    n = o.mib << 20
    s = connect(o)
    s.sendall(b"BOTH %d\n" % n)
    t = threading.Thread(target=paced_send, args=(s, n, o))
    t.start()
    same(paced_take(s, n, o), n)
    t.join()
    same(" ".join(line(s) or []), n)


def closed(o):
    n = o.mib << 20
    s = connect(o)
    s.sendall(b"CLOSED %d\n" % n)
    s.shutdown(socket.SHUT_WR)
    same(take(s, n), n)


def deaf(o):
    n, name = o.mib << 20, "%d" % os.getpid()
    s = connect(o)
    s.sendall(b"DEAF %d %s\n" % (n, name.encode()))
    if s.recv(1):
        raise AssertionError("it should be deaf")
    paced_send(s, n, o)
    path = os.path.join(o.dir, "deaf." + name)
    for _ in range(200):
        if os.path.exists(path) and open(path).read().endswith("\n"):
            break
        time.sleep(0.05)
    same(open(path).read().strip(), n)


def arrive(o):
    end, n, worst = time.monotonic() + o.seconds, 0, 0.0
    while time.monotonic() < end:
        t = time.monotonic()
        s = connect(o)
        s.sendall(b"ECHO\n%d\n" % n)
        if line(s) != ["%d" % n]:
            raise AssertionError("wrong answer")
        s.close()
        worst = max(worst, time.monotonic() - t)
        n += 1
        time.sleep(o.every)
    return {"connections": n, "pause_ms": worst * 1e3}


def brief_one(o, counts):
    steps, step = 20, 5000
    while not os.path.exists(os.path.join(o.dir, "enough")):
        s = connect(o)
        s.sendall(b"PUT %d\n" % (steps * step))
        for k in range(steps):
            s.sendall(pattern(k * step, step))
            time.sleep(o.seconds / steps)
        same(" ".join(line(s) or []), steps * step)
        if s.recv(1):
            raise AssertionError("more than an answer")
        s.close()
        counts.append(1)


def brief(o):
    faults, counts = [], []

    def run():
        try:
            brief_one(o, counts)
        except (AssertionError, OSError) as e:
            faults.append("%s: %s" % (type(e).__name__, e))
    threads = [threading.Thread(target=run) for _ in range(o.clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if faults:
        raise AssertionError("%d of %d clients: %s" % (len(faults), o.clients, faults[0]))
    return {"connections": len(counts)}


class Lane:
    """One connection with several requests in flight; every answer is checked."""

    def __init__(self, o, k):
        self.s, self.k, self.o = connect(o), k, o
        self.sent = self.answered = 0
        self.rest, self.due = b"", []
        self.last, self.pause = time.monotonic(), 0.0
        if o.what == "echo":
            self.s.sendall(b"ECHO\n")
        self.s.setblocking(False)
        self.out = b""

    def request(self):
        i = self.sent
        self.sent += 1
        if self.o.what == "echo":
            self.due.append(b"%d %d" % (self.k, i))
            return self.due[-1] + b"\n"
        # counting shows a command that ran twice, or not at all
        self.due += [b":%d\r" % (i + 1), b"+OK\r"]
        lane = b"%d:%d" % (self.o.run, self.k)
        return b"INCR n:%s\r\nSET k:%s:%d %d\r\n" % (lane, lane, i % 100, i)

    def fill(self):
        while len(self.due) < self.o.depth:
            self.out += self.request()
        try:
            n = self.s.send(self.out)
            self.out = self.out[n:]
        except BlockingIOError:
            pass

    def take(self):
        d = self.s.recv(65536)
        if not d:
            raise AssertionError("connection %d was closed after %d answers" % (self.k, self.answered))
        now = time.monotonic()
        self.pause = max(self.pause, now - self.last)
        self.last = now
        *answers, self.rest = (self.rest + d).split(b"\n")
        for a in answers:
            want = self.due.pop(0)
            if a != want:
                raise AssertionError("connection %d: %r, wanted %r" % (self.k, a, want))
            self.answered += 1

    def finish(self):
        self.s.setblocking(True)
        self.s.sendall(self.out)
        while self.due:
            self.take()


def lanes(o):
    sel = selectors.DefaultSelector()
    all_lanes = [Lane(o, k) for k in range(o.clients)]
    for x in all_lanes:
        sel.register(x.s, selectors.EVENT_READ, x)
        x.fill()
    end = time.monotonic() + o.seconds
    while time.monotonic() < end and not (o.dir and os.path.exists(os.path.join(o.dir, "enough"))):
        for key, _ in sel.select(0.2):
            key.data.take()
            key.data.fill()
        if o.every:
            time.sleep(o.every)
    for x in all_lanes:
        x.finish()
    pauses = sorted(x.pause for x in all_lanes)
    return {"connections": len(all_lanes), "answers": sum(x.answered for x in all_lanes),
            "pause_ms": pauses[-1] * 1e3, "pause_p50_ms": pauses[len(pauses) // 2] * 1e3}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("what", choices="get put both slow orphan echo redis closed deaf arrive brief".split())
    p.add_argument("address")
    p.add_argument("--port", type=int, default=7000)
    p.add_argument("--dir", default="")
    p.add_argument("--mib", type=int, default=64)
    p.add_argument("--mbyte-s", type=float, default=20)
    p.add_argument("--clients", type=int, default=1)
    p.add_argument("--depth", type=int, default=16)
    p.add_argument("--seconds", type=float, default=50)
    p.add_argument("--every", type=float, default=0)
    o = p.parse_args()
    o.run = time.time_ns()  # another run counts from one again
    work = {"echo": lanes, "redis": lanes}.get(o.what) or globals()[o.what]
    t0 = time.monotonic()
    try:
        out = work(o) or {}
    except (AssertionError, OSError) as err:
        print(json.dumps({"what": o.what, "ok": False, "fault": "%s: %s" % (type(err).__name__, err),
                          "seconds": round(time.monotonic() - t0, 3)}), flush=True)
        return 1
    print(json.dumps({"what": o.what, "ok": True, **out}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
