#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""pythreads.py - CPython threads that change dictionaries and byte arrays under checksums."""
import argparse
import json
import os
import signal
import threading
import time
import zlib

BLOCK_BYTES = 4096
TURN_S = 0.002


class Shelf:
    """One thread's data: byte arrays with a checksum each, and a dictionary that mirrors them."""

    def __init__(self, number, blocks):
        self.number = number
        self.lock = threading.Lock()
        self.blocks = [bytearray(BLOCK_BYTES) for _ in range(blocks)]
        self.gens = [0] * blocks
        self.sums = [zlib.crc32(b) for b in self.blocks]
        self.names = {}
        self.turns = 0
        for i in range(blocks):
            self.write(i)

    def content(self, i, gen):
        seed = b"%d.%d.%d|" % (self.number, i, gen)
        return (seed * (BLOCK_BYTES // len(seed) + 1))[:BLOCK_BYTES]

    def fault(self, i):
        """What is wrong with a block, None when it is right."""
        gen = self.gens[i]
        if self.blocks[i] != self.content(i, gen):
            zero = not any(self.blocks[i])
            return f"shelf {self.number} block {i} generation {gen}: {'zero' if zero else 'wrong'}"
        if zlib.crc32(self.blocks[i]) != self.sums[i]:
            return f"shelf {self.number} block {i}: checksum"
        if self.names.get(f"block-{i}") != (gen, self.sums[i]):
            return f"shelf {self.number} block {i}: dictionary says {self.names.get(f'block-{i}')}"
        return None

    def write(self, i):
        self.gens[i] += 1
        data = self.content(i, self.gens[i])
        if self.gens[i] % 8 == 0:
            self.blocks[i] = bytearray(data)    # a new object now and then
        else:
            self.blocks[i][:] = data
        self.sums[i] = zlib.crc32(data)
        self.names.pop(f"block-{i}", None)
        self.names[f"block-{i}"] = (self.gens[i], self.sums[i])


class Work:
    def __init__(self, args):
        self.args = args
        self.asked = self.done = 0
        self.paused = self.ending = False
        self.failed = ""
        self.ops = 0
        blocks = max(1, args.mib * 1024 * 1024 // BLOCK_BYTES // args.threads)
        self.shelves = [Shelf(n, blocks) for n in range(args.threads)]
        signal.signal(signal.SIGUSR1, self.on_verify)
        signal.signal(signal.SIGUSR2, self.on_pause)
        signal.signal(signal.SIGTERM, self.on_end)

    def on_verify(self, _sig, _frame):
        self.asked += 1

    def on_pause(self, _sig, _frame):
        self.paused = not self.paused

    def on_end(self, _sig, _frame):
        self.ending = True

    def write_file(self, name, text):
        tmp = os.path.join(self.args.dir, f".{name}.{os.getpid()}")
        with open(tmp, "w", encoding="ascii") as f:
            f.write(text)
        os.rename(tmp, os.path.join(self.args.dir, name))

    def fail(self, reason):
        if not self.failed:
            self.failed = reason
            self.write_file("failed", reason + "\n")

    def run(self, shelf):
        """A thread: looks at each block before it writes it."""
        share = self.args.rate / self.args.threads * TURN_S
        i = due = 0
        while not self.ending:
            due = min(due + share, 10 * share + 1)
            while due >= 1 and not self.paused and not self.failed:
                due -= 1
                with shelf.lock:
                    i = (i * 5 + 7919) % len(shelf.blocks)
                    fault = shelf.fault(i)
                    if fault:
                        self.fail("before a write: " + fault)
                        break
                    shelf.write(i)
                    shelf.turns += 1
            time.sleep(TURN_S)

    def sabotage(self):
        shelf = self.shelves[0]
        if self.args.sabotage == 1:
            shelf.blocks[3][:] = bytes(BLOCK_BYTES)
        elif self.args.sabotage == 2:
            shelf.blocks[3][:] = shelf.content(3, shelf.gens[3] - 1)
        elif self.args.sabotage == 3:
            shelf.names["block-3"] = None

    def verify(self):
        began = time.time()
        self.done += 1
        for shelf in self.shelves:
            shelf.lock.acquire()
        if self.done == 2:
            self.sabotage()
        faults = []
        checked = 0
        for shelf in self.shelves:
            checked += len(shelf.blocks)
            faults += filter(None, map(shelf.fault, range(len(shelf.blocks))))
            if len(shelf.names) != len(shelf.blocks):
                faults.append(f"shelf {shelf.number}: {len(shelf.names)} names")
        ops = sum(shelf.turns for shelf in self.shelves)
        alive = threading.active_count() - 1
        for shelf in self.shelves:
            shelf.lock.release()
        if alive != self.args.threads:
            faults.append(f"{alive} threads are alive")
        if faults:
            self.fail(f"verification {self.done}: {faults[0]}")
        self.write_file(f"verify.{self.done}", json.dumps({
            "ok": not faults and not self.failed, "pid": os.getpid(), "checked_pages": checked,
            "bad_pages": len(faults), "zero_pages": sum(f.endswith("zero") for f in faults),
            "stale_pages": 0, "errors": 0, "first_bad": "0x0", "ops": ops, "paused": self.paused,
            "failed": bool(self.failed), "realtime_us": int(began * 1e6),
            "took_ms": int((time.time() - began) * 1e3),
            "detail": faults[0] if faults else self.failed, "threads": alive}) + "\n")

    def main(self):
        threads = [threading.Thread(target=self.run, args=(s,)) for s in self.shelves]
        for t in threads:
            t.start()
        self.write_file("ready", f"{os.getpid()}\n")
        while not self.ending:
            while self.done != self.asked:
                self.verify()
            time.sleep(0.01)
        for t in threads:
            t.join()


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--dir", required=True, help="control folder, the same path on both hosts")
    ap.add_argument("--threads", type=int, default=4)
    ap.add_argument("--mib", type=int, default=16, help="bytes in byte arrays")
    ap.add_argument("--rate", type=float, default=2000, help="block writes per second")
    ap.add_argument("--sabotage", type=int, default=0, help="damage own state at verification 2")
    Work(ap.parse_args()).main()


if __name__ == "__main__":
    main()
