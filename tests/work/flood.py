#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections to hauld by a stranger, who has no key, at a steady rate, from several addresses.

flood.py HOST RATE END ADDRESS...: RATE connections a second in all, until the file END is there. Each does one of: say nothing; half
a preamble; the preamble of former versions; ask to enter with a ticket that is none, for a route that
is none; ask to log in and say nothing, half a key exchange, nonsense, or one byte now and then. Each
is held until the other side closes it. Prints how many there were of each, and what became of them.
"""
import collections
import os
import selectors
import socket
import struct
import sys
import time

HEAD = b"HAUL\2"
LOGIN = HEAD + b"\1\0\0" + bytes(56)
HALF_KEX = b"SSH-2.0-stranger\r\n" + struct.pack(">IBB", 1000, 10, 20) + os.urandom(300)


def enter():
    return HEAD + b"\2\0\0" + os.urandom(8 + 16 + 32)


KINDS = {
    "silent": lambda: b"",
    "half a preamble": lambda: LOGIN[:20],
    "an old preamble": lambda: b"HAUL\1\0\0\0" + os.urandom(8),
    "an unknown route": enter,
    "a login, then nothing": lambda: LOGIN,
    "half a key exchange": lambda: LOGIN + HALF_KEX,
    "nonsense for SSH": lambda: LOGIN + os.urandom(2000),
    "slow bytes": lambda: LOGIN[:1],
}


def main():
    host, rate, end, sources = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    begun, ends = collections.Counter(), collections.Counter()
    begin, slow, n = time.monotonic(), {}, 0
    sel = selectors.DefaultSelector()
    address = socket.gethostbyname(host)
    while True:
        now = time.monotonic() - begin
        if os.path.exists(end):
            break
        while n < now * rate:
            kind = list(KINDS)[n % len(KINDS)]
            s = socket.socket()
            s.bind((sources[n // len(KINDS) % len(sources)], 0))
            n += 1
            try:
                s.settimeout(1)
                s.connect((address, 4285))
                s.sendall(KINDS[kind]())
            except OSError as e:
                ends[type(e).__name__] += 1
                s.close()
                continue
            s.setblocking(False)
            begun[kind] += 1
            sel.register(s, selectors.EVENT_READ)
            if kind == "slow bytes":
                slow[s] = 1
        for s, at in list(slow.items()):
            try:
                s.send(LOGIN[at:at + 1] if at < len(LOGIN) else b"x")
                slow[s] += 1
            except OSError:
                pass
        for key, _ in sel.select(0.05):
            s = key.fileobj
            try:
                data = s.recv(65536)
                over = not data
                if data[:6] == HEAD + b"\1":
                    ends["refused"] += 1
            except OSError:
                over = True
            if over:
                ends["closed"] += 1
                sel.unregister(s)
                slow.pop(s, None)
                s.close()
    print("begun:", sum(begun.values()), dict(begun))
    print("ended:", dict(ends), "still open:", len(sel.get_map()))


main()
