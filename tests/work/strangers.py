#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""strangers.py - connections to hauld by peers that have no key, until it is killed.

Usage: strangers.py HOST MANY (--rate N | --at-once N) --say WHAT
WHAT: silence, preamble (of a new migration), unknown-route, ssh (the preamble and SSH's first line). MANY is a file
that appears when they are many. A connection that hauld closes is replaced with --at-once."""
import os
import socket
import sys
import time

host, many, how, n, _, what = sys.argv[1:]
n = int(n)


def preamble(route):
    return b"HAUL\1\0\0\0" + route


def begin():
    s = socket.create_connection((host, 4285), timeout=10)
    s.setblocking(False)
    if what != "silence":
        s.send(preamble(os.urandom(8) if what == "unknown-route" else bytes(8)))
    if what == "ssh":
        s.send(b"SSH-2.0-stranger\r\n")
    return s


crowd, begun = [], time.time()
while True:
    if how == "--at-once":
        crowd += [begin() for _ in range(n - len(crowd))]
    else:
        crowd.append(begin())
        time.sleep(1 / n)
    for s in list(crowd):
        try:
            if s.recv(4096) == b"":
                s.close()
                crowd.remove(s)
        except BlockingIOError:
            pass
        except OSError:
            s.close()
            crowd.remove(s)
    if how == "--at-once":
        time.sleep(0.02)
    if how == "--at-once" or time.time() - begun > 8:
        open(many, "w").close()
