#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""ipc.py - a program in an IPC namespace of its own, with System V shared memory, semaphores and a
queue, which a child uses, too; and with 8 TiB of addresses reserved, as databases have them."""
import argparse
import ctypes
import json
import os
import random
import signal
import time

CLONE_NEWIPC = 0x08000000
IPC_PRIVATE, IPC_CREAT, IPC_NOWAIT = 0, 0o1000, 0o4000
GETVAL, SETVAL = 12, 16
SHM_BYTES = 4 << 20
RESERVED = 8 << 40
PROT_NONE, MAP_PRIVATE_ANON = 0, 0x22

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = libc.mmap.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.msgsnd.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.msgrcv.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long, ctypes.c_int]


def ok(what, r):
    if r in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), what)
    return r


class Message(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_long), ("text", ctypes.c_char * 32)]


class Work:
    def __init__(self, where):
        self.dir, self.asked, self.done, self.ending = where, 0, 0, False
        ok("unshare", libc.unshare(CLONE_NEWIPC))
        ok("mmap", libc.mmap(None, RESERVED, PROT_NONE, MAP_PRIVATE_ANON, -1, 0))
        self.shm = ok("shmget", libc.shmget(0x4841, SHM_BYTES, IPC_CREAT | 0o600))
        self.sem = ok("semget", libc.semget(0x4842, 2, IPC_CREAT | 0o600))
        self.queue = ok("msgget", libc.msgget(0x4843, IPC_CREAT | 0o600))
        at = ok("shmat", libc.shmat(self.shm, None, 0))
        self.mem = (ctypes.c_char * SHM_BYTES).from_address(at)
        self.copy = bytearray(random.Random(5).randbytes(SHM_BYTES))
        self.mem[:] = bytes(self.copy)
        ok("semctl", libc.semctl(self.sem, 0, SETVAL, 17))
        self.texts = [b"first in the queue", b"second"]
        for i, t in enumerate(self.texts):
            m = Message(i + 1, t)
            ok("msgsnd", libc.msgsnd(self.queue, ctypes.byref(m), 32, 0))
        signal.signal(signal.SIGUSR1, self.on_verify)
        signal.signal(signal.SIGTERM, self.on_end)
        self.turns = 0
        self.child = os.fork()
        if self.child == 0:
            self.count()

    def count(self):
        """the child: a semaphore goes up and down, and a number in the memory only up"""
        parent = os.getppid()
        number = ctypes.c_uint64.from_buffer(self.mem)
        while os.getppid() == parent:
            number.value += 1
            libc.semctl(self.sem, 1, SETVAL, number.value & 1023)
            time.sleep(0.001)
        os._exit(0)

    def on_verify(self, *_):
        self.asked += 1

    def on_end(self, *_):
        self.ending = True

    def write(self):
        at = 4096 + 64 * (self.turns * 7919 % ((SHM_BYTES - 4096) // 64))
        piece = b"%063d\n" % self.turns
        self.mem[at:at + 64] = piece
        self.copy[at:at + 64] = piece
        self.turns += 1

    def faults(self):
        out = []
        if self.mem[4096:] != bytes(self.copy[4096:]):
            out.append("shared memory differs")
        if libc.shmget(0x4841, 0, 0) != self.shm or libc.semget(0x4842, 0, 0) != self.sem:
            out.append("the keys lead elsewhere")
        if libc.semctl(self.sem, 0, GETVAL) != 17:
            out.append("the semaphore is %d" % libc.semctl(self.sem, 0, GETVAL))
        for i, t in enumerate(self.texts):
            m = Message()
            if libc.msgrcv(self.queue, ctypes.byref(m), 32, i + 1, IPC_NOWAIT) < 0 or m.text != t:
                out.append("message %d: %r" % (i, m.text))
            libc.msgsnd(self.queue, ctypes.byref(m), 32, 0)
        before = ctypes.c_uint64.from_buffer(self.mem).value
        time.sleep(0.1)
        if ctypes.c_uint64.from_buffer(self.mem).value == before:
            out.append("the child does not count")
        return out

    def run(self):
        open(self.dir + "/ready", "w").close()
        while not self.ending:
            self.write()
            if self.done < self.asked:
                faults = self.faults()
                self.done += 1
                name = "%s/verify.%d" % (self.dir, self.done)
                with open(name + ".new", "w") as f:
                    json.dump({"ok": not faults, "faults": faults, "turns": self.turns}, f)
                os.rename(name + ".new", name)
            time.sleep(0.0005)


parser = argparse.ArgumentParser()
parser.add_argument("--dir", required=True)
Work(parser.parse_args().dir).run()
