#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""clerk.py - what whoever starts commands sees of a program: numbered lines on both outputs, an answer to
each line of its input, to SIGUSR1 and to SIGHUP, an exit status of its own at SIGTERM, death at SIGQUIT.

Usage: clerk.py READY [STATUS]"""
import os
import select
import signal
import sys

status = int(sys.argv[2]) if len(sys.argv) > 2 else 7
heard = []
for s in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
    signal.signal(s, lambda n, _: heard.append(n))
out, err = open(1, "wb", 0, closefd=False), open(2, "wb", 0, closefd=False)
n, stdin = 0, [0]
out.write(b"pid %d parent %d\n" % (os.getpid(), os.getppid()))
open(sys.argv[1], "w").write("%d" % os.getpid())
while True:
    readable, _, _ = select.select(stdin, [], [], 0.02)
    if readable:
        text = os.read(0, 4096)
        if not text:
            stdin = []
            out.write(b"end of input\n")
        for line in text.splitlines():
            out.write(b"heard %s\n" % line)
    n += 1
    out.write(b"out %d\n" % n)
    err.write(b"err %d\n" % n)
    while heard:
        s = heard.pop(0)
        out.write(b"signal %d\n" % s)
        if s == signal.SIGTERM:
            sys.exit(status)
