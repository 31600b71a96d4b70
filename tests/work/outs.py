#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""outs - a program with files that lead outside it; it writes a numbered line to each, over and over.

outs --dir DIR [NAME=FD]... [log=PATH] [journal=PATH]: every NAME is a descriptor that was inherited, or
a socket made here. DIR/verify.N at SIGUSR1 says which descriptors are open, and as what.
"""
import json, os, signal, socket, sys, time

folder, outs = None, {}
args = sys.argv[1:]
while args:
    a = args.pop(0)
    if a == "--dir":
        folder = args.pop(0)
        continue
    name, value = a.split("=", 1)
    if value.startswith("/"):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if name == "log" else socket.SOCK_STREAM)
        s.connect(value)
        outs[name] = s.detach()
    else:
        outs[name] = int(value)
n = verified = 0


def what(fd):
    try:
        return os.readlink("/proc/self/fd/%d" % fd)
    except OSError:
        return "closed"


def has_terminal():
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        return True
    except OSError:
        return False


def verify(*_):
    global verified
    verified += 1
    fds = {int(f): what(int(f)) for f in os.listdir("/proc/self/fd")}
    with open("%s/tmp" % folder, "w") as f:
        json.dump({"ok": True, "n": n, "fds": fds, "outs": outs, "terminal": has_terminal()}, f)
    os.rename("%s/tmp" % folder, "%s/verify.%d" % (folder, verified))


signal.signal(signal.SIGUSR1, verify)
signal.signal(signal.SIGINT, lambda *_: open("%s/interrupted" % folder, "w").close())
signal.signal(signal.SIGHUP, lambda *_: open("%s/failed" % folder, "w").write("SIGHUP"))
with open("%s/ready" % folder, "w") as f:
    f.write("%d\n" % os.getpid())
while True:
    n += 1
    for name, fd in outs.items():
        try:
            os.write(fd, b"%s %d\n" % (name.encode(), n))
        except OSError as e:
            if what(fd) != "closed" and "r" not in name:
                open("%s/failed" % folder, "a").write("%s: %s\n" % (name, e))
    time.sleep(0.02)
