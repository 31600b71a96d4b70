#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""holder.py - holds files in the ways that its arguments say, and writes to them when it is told.

Usage: holder.py DIR [--as UID | --drop UID] WAY:PATH...
WAY: read, rw, append, nofollow (append by O_NOFOLLOW), fifo (made, and open with unread bytes), dir, cwd, bind, watch (names of what is made there go to DIR/seen), map (shared, writable), ghost (read and write; it has lost its name), queue (as append; it waits in a socket until it is
written to), proc (self/NAME or other/NAME in /proc, of itself or of a child that stays root). It becomes user UID first, with --drop
after it has opened all. With HOLDER_FS=1 it changes only what file accesses are judged by (fsuid):
root without CAP_SYS_RESOURCE cannot move processes of other users, but can move such a one. DIR/ready appears when that is done. SIGUSR1: append a line to each
"append" file and make DIR/did.N; N counts from 1. It ends by a signal only."""
import ctypes
import mmap
import os
import signal
import socket
import sys

keep, logs, queues, watches, times = [], [], [], [], [0]
libc = ctypes.CDLL(None, use_errno=True)


def child():
    pid = os.fork()
    while pid == 0:
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # it ends with its parent
        signal.pause()
    return pid


def hold(way, path):
    flags = {"read": os.O_RDONLY, "rw": os.O_RDWR, "append": os.O_WRONLY | os.O_APPEND,
             "nofollow": os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW,
             "dir": os.O_RDONLY | os.O_DIRECTORY, "map": os.O_RDWR, "fifo": os.O_RDWR}
    if way == "fifo":
        os.mkfifo(path, 0o600)
    if way == "cwd":
        os.chdir(path)
    elif way == "ghost":
        keep.append(open(path, "r+b", buffering=0))
        os.unlink(path)
    elif way == "watch":
        fd = libc.inotify_init1(os.O_NONBLOCK)
        if fd < 0 or libc.inotify_add_watch(fd, path.encode(), 0x100) < 0:  # IN_CREATE
            raise OSError(ctypes.get_errno(), "watch")
        watches.append(fd)
    elif way == "proc":
        who, name = path.split("/", 1)
        keep.append(open(f"/proc/{os.getpid() if who == 'self' else child()}/{name}", "rb"))
    elif way == "bind":
        s = socket.socket(socket.AF_UNIX)
        s.bind(path)
        s.listen()
        keep.append(s)
    elif way == "queue":
        a, b = socket.socketpair()
        fd = os.open(path, flags["append"])
        socket.send_fds(a, [b"first"], [])
        socket.send_fds(a, [b"x"], [fd])
        os.close(fd)
        keep.append(a)
        queues.append(b)
    else:
        fd = os.open(path, flags[way])
        if way in ("append", "nofollow", "fifo"):
            logs.append(fd)
        if way == "fifo":
            os.write(fd, b"unread\n")
        if way == "map":
            keep.append(mmap.mmap(fd, 0))
            os.close(fd)


def write(_signal, _frame):
    times[0] += 1
    while queues:
        s = queues.pop()
        while not (got := socket.recv_fds(s, 5, 1)[1]):
            pass
        logs.extend(got)
    for fd in logs:
        os.write(fd, b"line %d\n" % times[0])
    for fd in watches:
        try:
            with open(f"{sys.argv[1]}/seen", "ab") as f:
                f.write(os.read(fd, 4096))
        except BlockingIOError:
            pass
    open(f"{sys.argv[1]}/did.{times[0]}", "w").close()


def become(uid):
    os.setgroups([])
    if os.environ.get("HOLDER_FS"):
        libc.setfsgid(uid)
        libc.setfsuid(uid)
    else:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc.prctl(4, 1, 0, 0, 0)  # a program that is started so may be dumped, too


args = sys.argv[2:]
way, uid = None, 0
if args and args[0] in ("--as", "--drop"):
    way, uid = args[0], int(args[1])
    args = args[2:]
if way == "--as":
    become(uid)
for a in args:
    hold(*a.split(":", 1))
if way == "--drop":
    become(uid)
signal.signal(signal.SIGUSR1, write)
open(f"{sys.argv[1]}/ready", "w").close()
while True:
    signal.pause()
