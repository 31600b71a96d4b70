#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""rights.py - a process that has more rights than its user, in the way that its argument says; SIGUSR1: it takes on user 4002.

Usage: rights.py DIR plain|group|setgid|capability|closed|port|fsuid. It becomes user 4001, but for "fsuid": that one stays
root, and takes on only the user ID of file accesses."""
import ctypes
import os
import signal
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
where, way = sys.argv[1:]
UID = 4001


def other(_signal, _frame):
    libc.setfsuid(4002)
    open(where + "/other", "w").close()


if way == "port":  # as a launcher does for its child
    port = socket.create_server(("127.0.0.1", 80))
if way == "fsuid":
    pass
else:
    os.setgroups([4] if way == "group" else [])
    os.setresgid(UID, 4 if way == "setgid" else UID, UID)
    if way == "capability":
        libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setresuid(UID, UID, UID)
    libc.prctl(4, 0 if way == "closed" else 1, 0, 0, 0)  # PR_SET_DUMPABLE
null = os.open("/dev/null", os.O_RDWR)
for fd in 0, 1, 2:
    os.dup2(null, fd)
signal.signal(signal.SIGUSR1, other)
open(where + "/ready", "w").close()
while True:
    signal.pause()
