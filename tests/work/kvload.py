# SPDX-License-Identifier: GPL-2.0-or-later
"""kvload.py - writes numbered keys to a key-value server, keeps book of acknowledgements, checks.

Operation n of connection c sets key k:<c * slots + n % slots> to a value made from (seed, c, n). The
record file has one JSON line with the parameters, then lines "c acked sent": operations below acked
were acknowledged, those below sent may have arrived. A last line "c acked sent end" closes the book
of a connection; without one, newer values than the book knows of are right as well.
"""
import argparse
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time

RECORD_EVERY_S = 0.05
SLOT_US = 10000
CHECK_BATCH = 200


class Broken(Exception):
    """The connection is gone; the message says how."""


class Conn:
    """A socket with a line reader."""

    def __init__(self, host, port, timeout_s):
        self.sock = socket.create_connection((host, port), timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = bytearray()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise Broken("closed by the server")
        self.buf += data

    def line(self):
        while True:
            end = self.buf.find(b"\r\n")
            if end >= 0:
                line = bytes(self.buf[:end])
                del self.buf[:end + 2]
                return line
            self.more()

    def block(self, size):
        """A block of known size and the line end after it."""
        while len(self.buf) < size + 2:
            self.more()
        data = bytes(self.buf[:size])
        del self.buf[:size + 2]
        return data


def value_of(params, c, n):
    head = b"%d.%d|" % (c, n)
    body = hashlib.shake_128(b"%d|" % params["seed"] + head).digest(params["value_bytes"])
    return head + body


def key_of(params, c, n):
    slots = params["keys"] // params["conns"]
    return b"k:%d" % (c * slots + n % slots)


class Stats:
    """Acknowledgements per 10 ms and their latency; the largest gap without any."""

    def __init__(self):
        self.lock = threading.Lock()
        self.slots = {}
        self.lat_us = []
        self.last_us = int(time.time() * 1e6)
        self.gap_us = self.gap_at_us = 0

    def add(self, count, lat_us):
        now_us = int(time.time() * 1e6)
        with self.lock:
            if now_us - self.last_us > self.gap_us:
                self.gap_us, self.gap_at_us = now_us - self.last_us, self.last_us
            self.last_us = now_us
            slot = self.slots.setdefault(now_us // SLOT_US, [0, 0])
            slot[0] += count
            slot[1] = max(slot[1], lat_us)
            self.lat_us.append(lat_us)

    def percentile(self, p):
        lat = sorted(self.lat_us)
        return lat[min(len(lat) - 1, len(lat) * p // 100)] if lat else 0

    def dump(self, path):
        with open(path, "w", encoding="ascii") as f:
            f.write("realtime_us,acks,max_latency_us\n")
            if self.slots:
                for slot in range(min(self.slots), max(self.slots) + 1):
                    acks, lat_us = self.slots.get(slot, (0, 0))
                    f.write(f"{slot * SLOT_US},{acks},{lat_us}\n")


class Writer(threading.Thread):
    """One connection: sends a batch, waits for all its acknowledgements, enters them."""

    def __init__(self, load, c):
        super().__init__()
        self.load, self.c = load, c
        self.acked = self.sent = 0
        self.recorded_at = 0.0
        self.reconnects = 0
        self.why = ""

    def enter(self, end=False):
        now = time.monotonic()
        if end or now - self.recorded_at >= RECORD_EVERY_S:
            self.recorded_at = now
            tail = " end" if end else ""
            os.write(self.load.record, b"%d %d %d%s\n" % (self.c, self.acked, self.sent,
                                                          tail.encode()))

    def batch(self, conn):
        load, first = self.load, self.acked
        last = first + load.args.pipeline
        data = b"".join(load.kind.encode_set(key_of(load.params, self.c, n),
                                             value_of(load.params, self.c, n))
                        for n in range(first, last))
        began = time.time()
        self.sent = max(self.sent, last)
        conn.send(data)
        while self.acked < last:
            load.kind.read_ack(conn)
            self.acked += 1
        load.stats.add(last - first, int((time.time() - began) * 1e6))
        self.enter()

    def connect(self):
        """Tries each address until the time for it is over."""
        args = self.load.args
        until = time.monotonic() + args.reconnect_s
        while True:
            for host, port in self.load.addresses:
                try:
                    return Conn(host, port, args.timeout_s)
                except OSError as e:
                    self.why = f"connect {host}:{port}: {e}"
            if time.monotonic() >= until or self.load.stop.is_set():
                return None
            time.sleep(0.01)

    def run(self):
        load = self.load
        pause_s = load.args.pipeline * load.args.conns / load.args.rate if load.args.rate else 0
        conn = self.connect()
        while conn and not load.stop.is_set():
            began = time.monotonic()
            try:
                self.batch(conn)
            except (OSError, Broken) as e:
                self.why = f"{type(e).__name__}: {e}"
                conn.close()
                conn = self.connect() if load.args.reconnect_s else None
                self.reconnects += conn is not None
            rest_s = pause_s - (time.monotonic() - began)
            if rest_s > 0:
                load.stop.wait(rest_s)
        if conn:
            conn.close()
        self.enter(end=True)


class Load:
    def __init__(self, kind, args):
        self.kind, self.args = kind, args
        self.params = {"seed": args.seed or int(time.time()), "keys": args.keys,
                       "conns": args.conns, "value_bytes": args.value_bytes}
        self.addresses = [(args.host, args.port)]
        for text in args.then or []:
            host, _, port = text.rpartition(":")
            self.addresses.append((host, int(port)))
        self.stop = threading.Event()
        self.stats = Stats()
        self.record = os.open(args.record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND,
                              0o644)

    def main(self):
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, lambda *_: self.stop.set())
        os.write(self.record, json.dumps(self.params).encode() + b"\n")
        writers = [Writer(self, c) for c in range(self.args.conns)]
        for w in writers:
            w.start()
        until = time.monotonic() + self.args.seconds if self.args.seconds else float("inf")
        while time.monotonic() < until and not self.stop.is_set():
            if not any(w.is_alive() for w in writers):
                break
            self.stop.wait(0.05)
        self.stop.set()
        for w in writers:
            w.join()
        if self.args.stats:
            self.stats.dump(self.args.stats)
        print(json.dumps({
            "acked": sum(w.acked for w in writers), "sent": sum(w.sent for w in writers),
            "broken": sum(bool(w.why) for w in writers),
            "reconnects": sum(w.reconnects for w in writers),
            "why": next((w.why for w in writers if w.why), ""),
            "max_gap_us": self.stats.gap_us, "max_gap_at_us": self.stats.gap_at_us,
            "p50_us": self.stats.percentile(50), "p99_us": self.stats.percentile(99)}))
        return 0


def read_record(path):
    """The parameters, and per connection (acked, sent, closed)."""
    with open(path, encoding="ascii") as f:
        params = json.loads(f.readline())
        book = {}
        for line in f:
            part = line.split()
            if line.endswith("\n") and len(part) >= 3:
                book[int(part[0])] = (int(part[1]), int(part[2]), len(part) > 3)
    return params, book


class Checker:
    def __init__(self, kind, args):
        self.kind = kind
        self.params, self.book = read_record(args.record)
        self.conn = Conn(args.host, args.port, args.timeout_s)
        self.count = {"checked": 0, "missing": 0, "stale": 0, "wrong": 0}
        self.first_bad = ""

    def fault(self, c, slot, value):
        """missing, stale, wrong or None for one key."""
        slots = self.params["keys"] // self.params["conns"]
        acked, sent, closed = self.book[c]
        last = slot + (acked - 1 - slot) // slots * slots if acked > slot else -1
        if value is None:
            return "missing" if last >= 0 else None
        try:
            n = int(value[:40].split(b"|", 1)[0].split(b".")[1])
        except (IndexError, ValueError):
            return "wrong"
        if n % slots != slot or value != value_of(self.params, c, n):
            return "wrong"
        if n < last:
            return "stale"
        return "wrong" if closed and n >= max(sent, acked) else None

    def check(self, c, slots):
        first = self.params["keys"] // self.params["conns"] * c
        keys = [b"k:%d" % (first + s) for s in slots]
        found = self.kind.get(self.conn, keys)
        for key, slot in zip(keys, slots):
            fault = self.fault(c, slot, found.get(key))
            self.count["checked"] += 1
            if fault:
                self.count[fault] += 1
                self.first_bad = self.first_bad or f"{key.decode()}: {fault}"

    def main(self):
        slots = self.params["keys"] // self.params["conns"]
        for c, (acked, _, _) in sorted(self.book.items()):
            used = min(slots, acked)
            for at in range(0, used, CHECK_BATCH):
                self.check(c, range(at, min(at + CHECK_BATCH, used)))
        bad = sum(self.count[k] for k in ("missing", "stale", "wrong"))
        print(json.dumps({"ok": not bad and bool(self.count["checked"]), **self.count,
                          "acked": sum(b[0] for b in self.book.values()),
                          "first_bad": self.first_bad}))
        return 1 if bad or not self.count["checked"] else 0


def main(kind, port):
    """kind: encode_set(key, value), read_ack(conn), get(conn, keys)."""
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("mode", choices=("load", "check"))
    ap.add_argument("--host", default="127.0.0.1")
    ap.add_argument("--port", type=int, default=port)
    ap.add_argument("--record", required=True, help="file with what was acknowledged")
    ap.add_argument("--timeout-s", type=float, default=30, help="silence that long is a break")
    ap.add_argument("--seconds", type=float, default=0, help="load: end by itself; 0: at SIGTERM")
    ap.add_argument("--keys", type=int, default=20000, help="load: keys; values are rewritten")
    ap.add_argument("--value-bytes", type=int, default=200)
    ap.add_argument("--conns", type=int, default=2)
    ap.add_argument("--pipeline", type=int, default=16, help="load: sets under way at once")
    ap.add_argument("--rate", type=float, default=5000, help="load: sets per second, 0: no limit")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--reconnect-s", type=float, default=0,
                    help="load: after a break try that long to connect again; 0: end")
    ap.add_argument("--then", action="append", metavar="HOST:PORT",
                    help="load: more addresses to try")
    ap.add_argument("--stats", help="load: CSV of acknowledgements per 10 ms")
    args = ap.parse_args()
    try:
        sys.exit((Load if args.mode == "load" else Checker)(kind, args).main())
    except (OSError, Broken) as e:
        print(json.dumps({"ok": False, "error": f"{type(e).__name__}: {e}"}))
        sys.exit(2)
