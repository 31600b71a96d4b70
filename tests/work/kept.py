#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept.py - a program that has what CRIU does not restore: threads with attributes of their own, sleeping
system calls (made by libc, for Python would try again by itself), timerfds of all kinds."""
import argparse
import ctypes
import json
import os
import signal
import struct
import threading
import time

SYS_IOPRIO_SET, SYS_IOPRIO_GET, SYS_FUTEX = 251, 252, 202
PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 29, 30
IO_PRIORITY = 2 << 13 | 6
TFD_NONBLOCK, TFD_ABSTIME = 0o4000, 1
FUTEX_WAIT_BITSET_PRIVATE = 9 | 128
NS = 10 ** 9

libc = ctypes.CDLL(None, use_errno=True)


class Timespec(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]


class Timer:
    def __init__(self, first, interval, absolute=False):
        self.fd = libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK)
        at = first + (time.monotonic() if absolute else 0)
        self.settime(TFD_ABSTIME if absolute else 0, at, interval)

    def settime(self, flags, first, interval):
        v = (ctypes.c_long * 4)(int(interval), int(interval % 1 * NS), int(first), int(first % 1 * NS))
        if libc.timerfd_settime(self.fd, flags, v, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def ticks(self):
        try:
            return struct.unpack("Q", os.read(self.fd, 8))[0]
        except BlockingIOError:
            return 0


class Work:
    def __init__(self, where, seconds):
        # before there are threads: one that does not block the signal would die of it
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        self.dir, self.seconds, self.asked, self.ending = where, seconds, 0, False
        self.slept, self.lock, self.ticks = {}, threading.Lock(), 0
        self.often, self.unread = Timer(0.001, 0.001), Timer(0.01, 0.2)
        self.once, self.late = Timer(0.01, 0), Timer(seconds, 0, absolute=True)
        self.late_at = time.monotonic() + seconds
        self.cpu = max(os.sched_getaffinity(0))
        for f in (self.count, self.bound):
            threading.Thread(target=f, daemon=True).start()
        for name in ("nanosleep", "nanosleep_rem", "poll", "futex"):
            threading.Thread(target=self.sleep, args=(name,), daemon=True).start()
        signal.signal(signal.SIGTERM, self.on_end)
        with open("/proc/self/coredump_filter", "w") as f:
            f.write("0x13")
        with open("/proc/self/oom_score_adj", "w") as f:
            f.write("0")

    def on_end(self, *_):
        self.ending = True

    def count(self):
        while True:
            self.ticks += self.often.ticks()
            time.sleep(0.001)

    def bound(self):
        os.sched_setaffinity(0, {self.cpu})
        libc.prctl(PR_SET_TIMERSLACK, 123456)
        libc.syscall(SYS_IOPRIO_SET, 1, 0, IO_PRIORITY)
        self.bound_tid = threading.get_native_id()
        while True:
            self.seen = (sorted(os.sched_getaffinity(0)), libc.prctl(PR_GET_TIMERSLACK),
                         libc.syscall(SYS_IOPRIO_GET, 1, 0))
            time.sleep(0.01)

    # ---- sleeps ----
    def sleep(self, name):
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
        t = Timespec(self.seconds, 0)
        begin = time.monotonic()
        if name == "nanosleep":
            r = libc.nanosleep(ctypes.byref(t), None)
        elif name == "nanosleep_rem":
            r = libc.nanosleep(ctypes.byref(t), ctypes.byref(t))
        elif name == "poll":
            r = libc.poll(None, 0, self.seconds * 1000)
        elif name == "futex":
            word = ctypes.c_uint32(7)
            t = Timespec(int(begin) + self.seconds, 0)
            r = libc.syscall(SYS_FUTEX, ctypes.byref(word), FUTEX_WAIT_BITSET_PRIVATE, 7, ctypes.byref(t), None,
                             0xffffffff)
            r = 0 if r == -1 and ctypes.get_errno() == 110 else r  # ETIMEDOUT
        with self.lock:
            self.slept[name] = [r, ctypes.get_errno(), round(time.monotonic() - begin, 2)]

    # ---- the answer ----
    def faults(self):
        out = []
        if self.seen != ([self.cpu], 123456, IO_PRIORITY):
            out.append("attributes of the thread: %r" % (self.seen,))
        before = self.ticks
        time.sleep(0.5)
        if self.ticks - before < 100:
            out.append("the timer of 1 ms fired %d times in half a second" % (self.ticks - before))
        if open("/proc/self/oom_score_adj").read().strip() != "0":
            out.append("oom_score_adj " + open("/proc/self/oom_score_adj").read())
        if int(open("/proc/self/coredump_filter").read(), 16) != 0x13:
            out.append("coredump_filter " + open("/proc/self/coredump_filter").read())
        with self.lock:
            for name, (r, error, took) in self.slept.items():
                if r != 0 or not self.seconds - 1.1 <= took <= self.seconds + 20:
                    out.append("%s: %d, error %d, after %s s" % (name, r, error, took))
        return out

    def last_faults(self):
        out = []
        if self.unread.ticks() < 2:
            out.append("the unread periodic timer has no ticks")
        time.sleep(0.5)
        if self.unread.ticks() < 1:
            out.append("the unread periodic timer is off")
        if self.once.ticks() != 1:
            out.append("the one that had expired once")
        while time.monotonic() < self.late_at + 20 and not (t := self.late.ticks()):
            time.sleep(0.01)
        if t != 1 or time.monotonic() < self.late_at - 0.1:
            out.append("the absolute one fired %.2f s too early, or never" % (self.late_at - time.monotonic()))
        with self.lock:
            if sorted(self.slept) != ["futex", "nanosleep", "nanosleep_rem", "poll"]:
                out.append("these sleeps have ended: %r" % self.slept)
        return out

    def answer(self, name, faults):
        with open("%s/%s.new" % (self.dir, name), "w") as f:
            json.dump({"ok": not faults, "faults": faults, "slept": self.slept, "ticks": self.ticks,
                       "tid": self.bound_tid}, f)
        os.rename("%s/%s.new" % (self.dir, name), "%s/%s" % (self.dir, name))

    def run(self):
        until = time.monotonic() + self.seconds + 25
        time.sleep(0.2)
        open(self.dir + "/ready", "w").close()
        done = 0
        while not self.ending:
            if signal.sigtimedwait([signal.SIGUSR1], 0.05):
                done += 1
                self.answer("verify.%d" % done, self.faults())
            with self.lock:
                over = len(self.slept) >= 4 or time.monotonic() > until
            if over:
                self.answer("last", self.faults() + self.last_faults())
                until += 10 ** 9
                while not self.ending:
                    time.sleep(0.05)


parser = argparse.ArgumentParser()
parser.add_argument("--dir", required=True)
parser.add_argument("--seconds", type=int, default=40)
args = parser.parse_args()
work = Work(args.dir, args.seconds)
work.run()
