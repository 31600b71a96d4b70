#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""many.py - a tree of --children processes; SIGUSR1 to the root makes each check its own memory."""
import argparse
import os
import signal
import sys
import time

ap = argparse.ArgumentParser()
ap.add_argument("--dir", required=True)
ap.add_argument("--children", type=int, default=600)
a = ap.parse_args()
take, give = os.pipe()
verified = 0


def child(number):
    """A page of its own, written all the time."""
    mine = bytearray(b"%08d" % number * 512)
    turns = 0

    def check(_sig, _frame):
        os.write(give, b"y" if mine == b"%08d" % number * 512 else b"n")

    signal.signal(signal.SIGUSR1, check)
    os.write(give, b"y")
    while True:
        turns += 1
        mine[8 * (turns % 512):8 * (turns % 512) + 8] = b"%08d" % number
        time.sleep(1)


def gather():
    said = b""
    while len(said) < a.children:
        said += os.read(take, 65536)
    return said == b"y" * a.children


children = []
for k in range(a.children):
    pid = os.fork()
    if pid == 0:
        child(k)
    children.append(pid)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
if not gather():
    sys.exit("a child did not begin")
open(a.dir + "/ready", "w").close()
while True:
    signal.sigwait([signal.SIGUSR1])
    for p in children:
        os.kill(p, signal.SIGUSR1)
    ok = gather()
    verified += 1
    with open("%s/verify.%d.new" % (a.dir, verified), "w") as f:
        f.write('{"ok": %s}' % ("true" if ok else "false"))
    os.rename("%s/verify.%d.new" % (a.dir, verified), "%s/verify.%d" % (a.dir, verified))
