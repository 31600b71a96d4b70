#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_files.py - a program with names: a UNIX socket below /var/run, one whose file was renamed after it was
bound, shared memory in /dev/shm, an SQLite database. --journal=delete|wal. A thread answers on both sockets."""
import argparse
import mmap
import os
import signal
import socket
import sqlite3
import threading
import time

import answers

SOCKETS = "/var/run/kept/sockets"
SHM = "/dev/shm/kept-mine"


def listen(name, renamed=None):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.bind(name)
    s.listen(5)
    if renamed:
        os.rename(name, renamed)
    return s


def serve(s):
    while True:
        c, _ = s.accept()
        threading.Thread(target=echo, args=(c,), daemon=True).start()


def echo(c):
    while data := c.recv(100):
        c.sendall(data)


def ask(name, c=None):
    if c is None:
        c = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        c.settimeout(5)
        c.connect(name)
    c.sendall(b"hello")
    if c.recv(100) != b"hello":
        raise OSError("another answer")
    return c


class Work:
    def __init__(self, where, journal):
        self.dir, self.faults = where, []
        os.makedirs(SOCKETS)
        self.plain = listen(SOCKETS + "/plain")
        self.renamed = listen(SOCKETS + "/temporary", SOCKETS + "/real")
        for s in (self.plain, self.renamed):
            threading.Thread(target=serve, args=(s,), daemon=True).start()
        self.clients = {n: ask(SOCKETS + n) for n in ("/plain", "/real")}
        fd = os.open(SHM, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.ftruncate(fd, 8192)
        self.map = mmap.mmap(fd, 8192)
        self.map[4096:4101] = b"mine!"
        os.makedirs("/srv/kept", exist_ok=True)
        os.mkfifo("/srv/kept/fifo")
        os.chown("/srv/kept/fifo", 4001, 4002)
        os.chmod("/srv/kept/fifo", 0o640)
        self.fifo = os.open("/srv/kept/fifo", os.O_RDWR)
        self.db = sqlite3.connect("/srv/kept/db", isolation_level=None)
        self.mode = self.db.execute("PRAGMA journal_mode=" + journal).fetchone()[0]
        self.db.execute("CREATE TABLE t(n INTEGER)")
        self.insert()

    def insert(self):
        self.db.execute("INSERT INTO t VALUES(1)")

    def step(self, what, f, *args):
        try:
            f(*args)
        except (OSError, sqlite3.Error) as e:
            self.faults.append("%s: %s" % (what, e))

    def verify(self):
        self.faults = []
        for n, c in self.clients.items():
            self.step("connection to " + n, ask, n, c)
            self.step("new connection to " + n, ask, SOCKETS + n)
        if os.path.exists(SOCKETS + "/temporary"):
            self.faults.append("the temporary name is there")
        if self.map[4096:4101] != b"mine!":
            self.faults.append("shared memory")
        os.write(self.fifo, b"in and out")
        if os.read(self.fifo, 100) != b"in and out":
            self.faults.append("FIFO")
        st = os.stat("/srv/kept/fifo")
        if (st.st_uid, st.st_gid, oct(st.st_mode)) != (4001, 4002, "0o10640"):
            self.faults.append("the FIFO is of user %d, group %d, mode %o" % (st.st_uid, st.st_gid, st.st_mode))
        self.step("read", self.db.execute, "SELECT count(*) FROM t")
        self.step("sqlite write", self.insert)
        return self.faults

    def run(self):
        answers.serve(self.dir, self.verify, journal=self.mode)


parser = argparse.ArgumentParser()
parser.add_argument("--dir", required=True)
parser.add_argument("--journal", default="wal")
args = parser.parse_args()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
Work(args.dir, args.journal).run()
