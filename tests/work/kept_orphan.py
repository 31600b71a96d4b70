#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_orphan.py - a subreaper that has adopted a process from a session whose leader has ended."""
import argparse
import ctypes
import os
import signal
import time

parser = argparse.ArgumentParser()
parser.add_argument("--dir", required=True)
args = parser.parse_args()
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
leader = os.fork()
if leader == 0:
    os.setsid()
    child = os.fork()
    if child == 0:
        while True:
            time.sleep(1)
    with open(args.dir + "/child", "w") as f:
        f.write(str(child))
    os._exit(0)
os.waitpid(leader, 0)
open(args.dir + "/ready", "w").close()
while True:
    signal.pause()
