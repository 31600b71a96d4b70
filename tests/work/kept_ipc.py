#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_ipc.py - processes that multiprocessing makes (--how spawn, forkserver), with its queues, a lock, a value in
shared memory; a named semaphore of its own; a file that was opened by a name which it has lost, but has another."""
import argparse
import ctypes
import mmap
import multiprocessing as mp
import os
import signal

import answers

libc = ctypes.CDLL(None, use_errno=True)
libc.sem_open.restype = ctypes.c_void_p


def work(todo, done, lock, total):
    while True:
        n = todo.get()
        with lock:
            total.value += n
        done.put(n * n)


class Crew:
    def __init__(self, where, how):
        self.todo, self.done, self.lock, self.total = mp.Queue(), mp.Queue(), mp.Lock(), mp.Value("q")
        self.crew = [mp.Process(target=work, args=(self.todo, self.done, self.lock, self.total), daemon=True) for _ in range(2)]
        for p in self.crew:
            p.start()
        self.n, self.want = 0, 0
        self.name = b"/kept-%d" % os.getpid()
        self.sem = ctypes.c_void_p(libc.sem_open(self.name, os.O_CREAT, 0o600, 3))
        if not self.sem.value:
            raise OSError(ctypes.get_errno(), "sem_open")
        self.count = 3
        os.makedirs(where, exist_ok=True)
        with open(where + "/first", "w+b") as f:
            f.write(b"one" + b"\0" * 4093)
            f.flush()
            os.link(where + "/first", where + "/second")
            os.unlink(where + "/first")
            self.file = os.dup(f.fileno())
            self.map = mmap.mmap(f.fileno(), 4096)
        self.where = where

    def value(self):
        v = ctypes.c_int()
        libc.sem_getvalue(self.sem, ctypes.byref(v))
        return v.value

    def verify(self):
        faults = []
        for _ in range(20):
            self.n += 1
            self.want += self.n
            self.todo.put(self.n)
        got = sorted(self.done.get(timeout=30) for _ in range(20))
        if got != [k * k for k in range(self.n - 19, self.n + 1)]:
            faults.append("the crew answers %s" % got)
        if self.total.value != self.want:
            faults.append("the sum is %d, not %d" % (self.total.value, self.want))
        if self.value() != self.count:
            faults.append("the semaphore is %d, not %d" % (self.value(), self.count))
        other = ctypes.c_void_p(libc.sem_open(self.name, 0))
        if other.value:
            libc.sem_post(other)
            self.count += 1
        if not other.value or self.value() != self.count:
            faults.append("the semaphore's name leads elsewhere")
        if bytes(self.map[:3]) != b"one" or not os.path.samestat(os.fstat(self.file), os.stat(self.where + "/second")):
            faults.append("the file's other name leads elsewhere")
        if os.path.exists(self.where + "/first"):
            faults.append("the file has its first name again")
        return faults


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--dir", required=True)
    p.add_argument("--files", required=True)
    p.add_argument("--how", required=True)
    a = p.parse_args()
    mp.set_start_method(a.how)
    crew = Crew(a.files, a.how)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    answers.serve(a.dir, crew.verify)
