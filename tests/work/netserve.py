#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""netserve - a server that is moved: each connection says in its first line what it wants.

GET N       N bytes of the pattern, then we close our direction, and wait for the client's
PUT N       the client sends N bytes of the pattern; answer: their SHA-256
BOTH N      both at once
ECHO        every line back
CLOSED N    the client has closed its direction; N bytes at 64 KiB each 20 ms
ORPHAN N    N bytes, and the socket is closed before the client has read them
DEAF N      we close our direction at once, and answer nothing; SHA-256 into --dir
"""
import argparse, hashlib, os, socket, sys, threading, time

BLOCK = hashlib.shake_256(b"haul").digest(1 << 20)


def pattern(at, n):
    """n bytes of a pattern in which no two MiB are alike."""
    out = bytearray()
    while n:
        mib, off = divmod(at, len(BLOCK))
        head = b"%015d\n" % mib
        block = head + BLOCK[len(head):]
        piece = block[off:off + n]
        out += piece
        at += len(piece)
        n -= len(piece)
    return bytes(out)


def send_pattern(s, n, step=1 << 18, pause=0.0):
    for at in range(0, n, step):
        s.sendall(pattern(at, min(step, n - at)))
        if pause:
            time.sleep(pause)


def take(s, n, pause=0.0, step=1 << 18):
    h, got = hashlib.sha256(), 0
    while got < n:
        d = s.recv(min(step, n - got))
        if not d:
            break
        h.update(d)
        got += len(d)
        if pause:
            time.sleep(pause)
    return "%d %s" % (got, h.hexdigest())


def line(s):
    out = b""
    while not out.endswith(b"\n"):
        d = s.recv(1)
        if not d:
            return None
        out += d
    return out.decode().split()


def serve(s, folder):
    try:
        what = line(s)
        if not what:
            return
        n = int(what[1]) if len(what) > 1 else 0
        if what[0] == "GET":
            send_pattern(s, n)
            # what a closed socket has still to send cannot move: wait for the client
            s.shutdown(socket.SHUT_WR)
            s.recv(1)
        elif what[0] == "PUT":
            s.sendall((take(s, n) + "\n").encode())
        elif what[0] == "BOTH":
            t = threading.Thread(target=send_pattern, args=(s, n))
            t.start()
            got = take(s, n)
            t.join()
            s.sendall((got + "\n").encode())
        elif what[0] == "ECHO":
            while True:
                d = s.recv(65536)
                if not d:
                    break
                s.sendall(d)
        elif what[0] == "ORPHAN":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
            send_pattern(s, n)
        elif what[0] == "CLOSED":
            while s.recv(65536):
                pass
            send_pattern(s, n, 1 << 16, 0.02)
            time.sleep(1)
        elif what[0] == "DEAF":
            s.shutdown(socket.SHUT_WR)
            got = take(s, n)
            with open(os.path.join(folder, "deaf." + what[2]), "w") as f:
                f.write(got + "\n")
    finally:
        s.close()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--address", required=True)
    p.add_argument("--port", type=int, default=7000)
    p.add_argument("--dir", required=True)
    o = p.parse_args()
    family = socket.AF_INET6 if ":" in o.address else socket.AF_INET
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((o.address, o.port))
    s.listen(64)
    open(os.path.join(o.dir, "ready"), "w").close()
    while True:
        c, _ = s.accept()
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(c, o.dir), daemon=True).start()


if __name__ == "__main__":
    main()
