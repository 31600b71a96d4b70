#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""locks.py - a program with locks of all kinds on files below DIR, a child with some of its own, and an SQLite
database in a transaction. After a move it has them: another process cannot take them, in its own process a
lock is no obstacle. --try DIR: another program; prints what it could lock."""
import argparse
import fcntl
import os
import signal
import sqlite3
import struct
import sys

import answers

F_OFD_SETLK = 37


def record(fd, kind, start, length, how=fcntl.F_SETLK):
    fcntl.fcntl(fd, how, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0))


def attempt(take):
    try:
        take()
    except (BlockingIOError, PermissionError):
        return False
    return True


def others(where):
    """What another process can lock though the program has it."""
    def opened(name, flags=os.O_RDWR):
        return os.open(where + "/" + name, flags)

    tries = {
        "flock": lambda: fcntl.flock(opened("flock"), fcntl.LOCK_SH | fcntl.LOCK_NB),
        "flock of a directory": lambda: fcntl.flock(opened("folder", os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB),
        "shared flock": lambda: fcntl.flock(opened("shared"), fcntl.LOCK_EX | fcntl.LOCK_NB),
        "record 0 to 9": lambda: record(opened("posix"), fcntl.F_RDLCK, 0, 10),
        "record 20 to the end": lambda: record(opened("posix"), fcntl.F_WRLCK, 30, 1),
        "record of the child": lambda: record(opened("posix"), fcntl.F_RDLCK, 12, 1),
        "OFD": lambda: record(opened("ofd"), fcntl.F_RDLCK, 5, 1),
    }
    return [k for k, f in tries.items() if attempt(f)]


def free(where):
    """What only the program's own locks would prevent: these bytes have none."""
    fd = os.open(where + "/posix", os.O_RDWR)
    return attempt(lambda: record(fd, fcntl.F_WRLCK, 10, 2))


class Holder:
    def __init__(self, where):
        self.dir = where
        os.makedirs(where + "/folder", exist_ok=True)
        self.fds = {k: os.open(where + "/" + k, os.O_RDWR | os.O_CREAT, 0o644) for k in ("flock", "shared", "posix", "ofd")}
        self.fds["folder"] = os.open(where + "/folder", os.O_RDONLY)
        fcntl.flock(self.fds["flock"], fcntl.LOCK_EX)
        fcntl.flock(self.fds["folder"], fcntl.LOCK_EX)
        fcntl.flock(self.fds["shared"], fcntl.LOCK_SH)
        record(self.fds["posix"], fcntl.F_WRLCK, 0, 10)
        record(self.fds["posix"], fcntl.F_RDLCK, 20, 0)
        record(self.fds["ofd"], fcntl.F_WRLCK, 5, 1, F_OFD_SETLK)
        r, w = os.pipe()
        if os.fork() == 0:
            record(self.fds["posix"], fcntl.F_WRLCK, 12, 3)
            os.write(w, b"x")
            while True:
                signal.sigwait([signal.SIGUSR2])
        os.read(r, 1)
        self.db = sqlite3.connect(where + "/db", isolation_level=None, timeout=0)
        self.db.execute("PRAGMA journal_mode=DELETE")
        self.db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)")
        self.db.execute("BEGIN EXCLUSIVE")
        self.written = 0

    def verify(self):
        faults = []
        r, w = os.pipe()
        if os.fork() == 0:  # a child has none of the locks of its parent
            fd = os.open(self.dir + "/posix", os.O_RDWR)
            os._exit(attempt(lambda: record(fd, fcntl.F_RDLCK, 0, 1)))
        if os.wait()[1]:
            faults.append("a child could lock the record")
        os.close(r)
        os.close(w)
        if not attempt(lambda: record(self.fds["posix"], fcntl.F_WRLCK, 0, 10)):
            faults.append("its own lock is another's")
        try:
            self.written += 1
            self.db.execute("INSERT INTO t VALUES (?)", (self.written,))
            self.db.execute("COMMIT")
            self.db.execute("BEGIN EXCLUSIVE")
            n = self.db.execute("SELECT count(*) FROM t").fetchone()[0]
            if n != self.written:
                faults.append("%d rows, not %d" % (n, self.written))
        except sqlite3.Error as e:
            faults.append("sqlite: %s" % e)
        return faults


p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--dir", required=True)
p.add_argument("--try", dest="attempt", action="store_true")
a = p.parse_args()
if a.attempt:
    got = others(a.dir)
    print(", ".join(got) if got else "none", "and the free bytes" if free(a.dir) else "and not even the free bytes")
    sys.exit(0)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
answers.serve(a.dir, Holder(a.dir).verify)
