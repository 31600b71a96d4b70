#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_memory.py - children that share the memory of their parent since a fork, and write some of it; each knows the
content of every page."""
import argparse
import ctypes
import mmap
import os
import random
import re
import signal
import sys
import time
import zlib

import answers

PAGE = mmap.PAGESIZE


class Memory:
    def __init__(self, mib):
        self.pages = mib * 256
        self.m = mmap.mmap(-1, self.pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.sums = []
        for i in range(self.pages):
            data = os.urandom(PAGE)
            self.m[i * PAGE:(i + 1) * PAGE] = data
            self.sums.append(zlib.crc32(data))

    def write(self):
        # one in sixteen, the same ones again and again
        i = random.randrange(self.pages // 16) * 16
        data = os.urandom(PAGE)
        self.m[i * PAGE:(i + 1) * PAGE] = data
        self.sums[i] = zlib.crc32(data)

    def faults(self):
        bad = [i for i in range(self.pages) if zlib.crc32(self.m[i * PAGE:(i + 1) * PAGE]) != self.sums[i]]
        return ["%d pages differ in pid %d, the first is %d" % (len(bad), os.getpid(), bad[0])] if bad else []


def locks(want):
    """A new mapping is locked as WANT says: no, all, onfault."""
    m = mmap.mmap(-1, 64 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    at = ctypes.addressof(ctypes.c_char.from_buffer(m))
    here, seen = False, {}
    for line in open("/proc/self/smaps"):
        if (r := re.match("([0-9a-f]+)-([0-9a-f]+) ", line)):
            here = int(r[1], 16) <= at < int(r[2], 16)
        elif here:
            seen[line.split(":")[0]] = line.split(":")[1].split()
    seen_so = "no"
    if "lo" in seen["VmFlags"]:
        # the page map tells whether it is there, also where it was joined with other mappings
        with open("/proc/self/pagemap", "rb") as f:
            f.seek((at + 32 * PAGE) // PAGE * 8)
            seen_so = "all" if f.read(8)[7] & 0x80 else "onfault"
    return [] if seen_so == want else ["new mappings are locked: %s, should be %s" % (seen_so, want)]


class OnFault:
    """64 MiB that are locked when they are touched, of which two pages are."""

    def __init__(self):
        self.m = mmap.mmap(-1, 16384 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.at = ctypes.addressof(ctypes.c_char.from_buffer(self.m))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(325, ctypes.c_void_p(self.at), ctypes.c_size_t(len(self.m)), 1) < 0:  # mlock2
            sys.exit("mlock2: " + os.strerror(ctypes.get_errno()))
        self.m[100 * PAGE] = self.m[9000 * PAGE] = 7
        self.seen = self.see()

    def see(self):
        flags, here = "", False
        for line in open("/proc/self/smaps"):
            if (r := re.match("([0-9a-f]+)-([0-9a-f]+) ", line)):
                here = int(r[1], 16) <= self.at < int(r[2], 16)
            elif here and line.startswith("VmFlags:"):
                flags = " ".join(w for w in line.split() if w in ("lo", "lf"))
        with open("/proc/self/pagemap", "rb") as f:
            f.seek(self.at // PAGE * 8)
            there = [i for i, b in enumerate(f.read(8 * 16384)[7::8]) if b & 0x80]
        return flags, there, self.m[100 * PAGE], self.m[9000 * PAGE]

    def faults(self):
        now = self.see()
        return [] if now == self.seen else ["locked when it is touched: was %r, is %r" % (self.seen, now)]


def child(memory, commands, results):
    random.seed(os.getpid())
    os.set_blocking(commands, False)
    while True:
        memory.write()
        time.sleep(0.002)
        try:
            if not os.read(commands, 1):
                os._exit(0)
            os.write(results, (" ".join(memory.faults()) + "\n").encode())
        except BlockingIOError:
            pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", required=True)
    parser.add_argument("--mib", type=int, default=48)
    parser.add_argument("--children", type=int, default=5)
    parser.add_argument("--lock", choices=("no", "all", "onfault"), default="no")
    parser.add_argument("--on-fault", action="store_true")
    args = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    memory = Memory(args.mib)
    pipes = []
    for _ in range(args.children):
        to, back = os.pipe(), os.pipe()
        if os.fork() == 0:
            os.close(to[1])
            for f, _ in pipes:
                os.close(f)
            child(memory, to[0], back[1])
        os.close(to[0])
        pipes.append((to[1], os.fdopen(back[0])))

    if args.lock != "no" and ctypes.CDLL(None).mlockall(2 if args.lock == "all" else 6) < 0:
        sys.exit("mlockall")

    on_fault = OnFault() if args.on_fault else None

    def verify():
        for f, _ in pipes:
            os.write(f, b"v")
        return memory.faults() + (on_fault.faults() if on_fault else []) + locks(args.lock) + [line for _, g in pipes if (line := g.readline().strip())]

    answers.serve(args.dir, verify)


sys.exit(main())
