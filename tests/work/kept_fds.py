#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_fds.py - descriptors of kinds that are seldom: a symbolic link itself, memory shared with a child, a pidfd of
a process that has ended, seals, the size of a pipe, who gets a descriptor's signals, locks; an eventfd and an inotify
queue, of which a part is lost. --thread: also a pidfd of a thread, which cannot move."""
import argparse
import ctypes
import fcntl
import mmap
import os
import select
import signal
import struct
import threading

import answers

libc = ctypes.CDLL(None, use_errno=True)
F_SETSIG, F_GETSIG, F_GETOWN_EX, F_ADD_SEALS, F_GET_SEALS, F_SETPIPE_SZ, F_GETPIPE_SZ = 10, 11, 16, 1033, 1034, 1031, 1032
F_OFD_SETLK, F_OFD_GETLK = 37, 36
EFD_SEMAPHORE, PIDFD_THREAD = 1, 0o200


class Work:
    def __init__(self, where, thread):
        self.dir = where
        os.makedirs("/srv/kept", exist_ok=True)
        self.fds = {}
        if not os.path.lexists("/srv/kept/link"):
            os.symlink("/etc/passwd", "/srv/kept/link")
        self.link = os.open("/srv/kept/link", os.O_PATH | os.O_NOFOLLOW)
        self.memfd = os.memfd_create("shared", os.MFD_ALLOW_SEALING)
        os.ftruncate(self.memfd, 4096)
        self.map = mmap.mmap(self.memfd, 4096)
        fcntl.fcntl(self.memfd, F_ADD_SEALS, 6)  # neither shrink nor grow
        self.child = os.fork()
        if self.child == 0:
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            while True:
                signal.sigwait([signal.SIGUSR2])
                self.map[0] = (self.map[0] + 1) % 256
        ended = os.fork()
        if ended == 0:
            os._exit(0)
        self.ended = os.pidfd_open(ended)
        self.of_ended = os.open("/proc/%d/status" % ended, os.O_RDONLY), os.open("/proc/%d" % ended, os.O_RDONLY)
        os.waitpid(ended, 0)
        self.pidfd = os.pidfd_open(self.child)
        self.pipe = os.pipe()
        fcntl.fcntl(self.pipe[1], F_SETPIPE_SZ, 1 << 17)
        fcntl.fcntl(self.pipe[0], F_SETSIG, 40)
        fcntl.fcntl(self.pipe[0], fcntl.F_SETOWN, os.getpid())
        self.locked = os.open("/srv/kept/locked", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self.locked, 100)
        fcntl.lockf(self.locked, fcntl.LOCK_EX, 10, 0)
        fcntl.flock(self.locked, fcntl.LOCK_EX)
        self.appends = os.open("/srv/kept/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600)
        self.eventfd = libc.eventfd(3, EFD_SEMAPHORE)
        self.inotify = libc.inotify_init1(os.O_NONBLOCK)
        libc.inotify_add_watch(self.inotify, b"/srv/kept", 0x100)  # IN_CREATE
        # IN_ONESHOT, IN_EXCL_UNLINK, IN_MODIFY
        libc.inotify_add_watch(self.inotify, b"/srv/kept/locked", 0x80000000 | 0x4000000 | 2)
        self.great = libc.eventfd(5, os.O_NONBLOCK)
        os.write(self.great, struct.pack("Q", 2**64 - 7))  # 2^64 - 2, the most that one can hold
        self.make("waits")
        self.moved = False
        if thread:
            self.thread = threading.Thread(target=signal.pause, daemon=True)
            self.thread.start()
            if libc.syscall(434, self.thread.native_id, PIDFD_THREAD) < 0:
                raise OSError(ctypes.get_errno(), "pidfd_open")
        self.before = self.see()

    def make(self, name):
        path = "/srv/kept/" + name
        if os.path.exists(path):
            os.unlink(path)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))

    @staticmethod
    def error(call, *args):
        try:
            return repr(call(*args))
        except OSError as e:
            return e.errno

    @staticmethod
    def info(fd, first, *words):
        """Of the lines of fdinfo that begin with FIRST: what follows each of WORDS."""
        lines = [line for line in open("/proc/self/fdinfo/%d" % fd) if line.startswith(first)]
        return sorted([line.split(w)[1].split()[0] for w in words] for line in lines)

    def see(self):
        owner = ctypes.create_string_buffer(8)
        locks = sorted(line.split()[1:4] for line in open("/proc/locks") if line.split()[4] == str(os.getpid()))
        libc.fcntl(self.pipe[0], F_GETOWN_EX, owner)
        return {
            "link": os.readlink("/proc/self/fd/%d" % self.link), "link's target": os.readlink("", dir_fd=self.link),
            "seals": fcntl.fcntl(self.memfd, F_GET_SEALS), "pipe": fcntl.fcntl(self.pipe[1], F_GETPIPE_SZ),
            "signal": fcntl.fcntl(self.pipe[0], F_GETSIG), "owner": owner.raw.hex(),
            "flags": [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (self.appends, self.memfd, self.pipe[0], self.eventfd)],
            "close on exec": [fcntl.fcntl(fd, fcntl.F_GETFD) for fd in (self.appends, self.eventfd)],
            "locks": locks, "watches": self.info(self.inotify, "inotify", "wd:", "mask:"),
            "great count": self.info(self.great, "eventfd-count", "eventfd-count:"),
            "ended": select.select([self.ended], [], [], 0)[0] != [],
            "files of the ended": [self.error(os.read, self.of_ended[0], 10), self.error(os.listdir, self.of_ended[1])],
            "child lives": select.select([self.pidfd], [], [], 0)[0] == [],
        }

    def verify(self):
        now = self.see()
        faults = ["%s was %r, is %r" % (k, v, now[k]) for k, v in self.before.items() if now[k] != v]
        count, signal_to = self.map[0], self.child
        os.kill(signal_to, signal.SIGUSR2)
        for _ in range(500):
            if self.map[0] == (count + 1) % 256:
                break
            select.select([], [], [], 0.01)
        else:
            faults.append("memory is not shared with the child")
        self.make("new")
        # an event that waited is lost, as haul check says; a new one comes
        select.select([self.inotify], [], [], 5)
        if b"new" not in os.read(self.inotify, 4096):
            faults.append("no event")
        self.make("waits again")
        return faults

    def run(self):
        answers.serve(self.dir, self.verify, sees=self.before)


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
parser = argparse.ArgumentParser()
parser.add_argument("--dir", required=True)
parser.add_argument("--thread", action="store_true")
args = parser.parse_args()
Work(args.dir, args.thread).run()
