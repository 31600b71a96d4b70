#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""link-proxy.py LISTEN-PORT TARGET-PORT COMMAND-FILE - a link that can break.

Passes connections on to the same host. COMMAND-FILE is looked at every 20 ms; a word in it
is carried out, and the file removed:
  reset  every connection ends with RST
  close  every connection ends with FIN
  stall  nothing passes any more on the connections that there are, and nobody is told
  down   reset, and new connections are refused until "up"
"""
import os
import select
import socket
import struct
import sys

listen_port, target_port, command_file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
PIECE = 1 << 18


def listener():
    s = socket.socket(socket.AF_INET6)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", listen_port))
    s.listen(64)
    return s


class Half:
    """one direction"""

    def __init__(self, src, dst):
        self.src, self.dst, self.buf, self.eof = src, dst, b"", False


def end(pairs, hard):
    for a, b in pairs:
        for s in (a, b):
            if hard:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
    pairs.clear()


def main():
    lis, pairs, halves, stalled = listener(), [], {}, []
    while True:
        rd = [h.src for h in halves.values() if not h.buf and not h.eof] + ([lis] if lis else [])
        wr = [h.dst for h in halves.values() if h.buf]
        rd, wr, _ = select.select(rd, wr, [], 0.02)
        if lis in rd:
            a = lis.accept()[0]
            try:
                b = socket.create_connection(("localhost", target_port))
            except OSError:
                a.close()
                continue
            for s in (a, b):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                s.setblocking(False)
            pairs.append((a, b))
            halves[a], halves[b] = Half(a, b), Half(b, a)
        for h in list(halves.values()):
            try:
                if h.src in rd:
                    h.buf = h.src.recv(PIECE)
                    if not h.buf:
                        h.eof = True
                        h.dst.shutdown(socket.SHUT_WR)
                if h.buf and h.dst in wr:
                    h.buf = h.buf[h.dst.send(h.buf):]
            except BlockingIOError:
                pass
            except OSError:
                h.eof, h.buf = True, b""
                for x in (h.src, h.dst):
                    try:
                        x.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
        word = open(command_file).read().strip() if os.path.exists(command_file) else ""
        if word:
            os.unlink(command_file)
            halves.clear()
            if word == "stall":
                stalled.extend(pairs)
                pairs.clear()
            elif word == "down":
                end(pairs, True)
                lis.close()
                lis = None
            elif word == "up":
                lis = lis or listener()
            else:
                end(pairs, word == "reset")


main()
