#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_memory.py - children that share the memory of their parent since a fork, and write some of it; each knows the
content of every page."""
import argparse
import mmap
import os
import random
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

    def verify():
        for f, _ in pipes:
            os.write(f, b"v")
        return memory.faults() + [line for _, g in pipes if (line := g.readline().strip())]

    answers.serve(args.dir, verify)


sys.exit(main())
