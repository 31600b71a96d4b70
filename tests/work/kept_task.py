#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_task.py - what a process and its threads have besides memory and files: it sets all that it may, notes what
it sees of itself, and compares. docs/KEPT.md has the list."""
import argparse
import ctypes
import os
import re
import resource
import signal
import struct
import sys
import threading
import time

import answers

# These are lost, and haul check says so, but for the last two: docs/KEPT.md
LOST = ("thread own umask: umask",
        "thread own umask: cwd", "session keyring", "/proc/self/timens_offsets", "CPU time over 0.2 s")

libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
libc.syscall.restype = ctypes.c_long
SYS = {"personality": 135, "sched_setattr": 314, "sched_getattr": 315, "membarrier": 324, "get_mempolicy": 239,
       "set_mempolicy": 238, "timer_create": 222, "timer_gettime": 224, "keyctl": 250, "sigaltstack": 131}
# name: (get, how it answers, set, argument)
PRCTL = {
    "child subreaper": (37, "pointer", 36, 1), "no new privileges": (39, "value", 38, 1), "THP disabled": (42, "value", 41, 1),
    "keep capabilities": (7, "value", 8, 1), "machine check kill": (34, "value", 33, None), "TSC": (25, "pointer", 26, None),
    "timer slack": (30, "value", 29, 77777), "memory merge": (68, "value", 67, 1), "MDWE": (66, "value", 65, None),
    "IO flusher": (58, "value", 57, 1), "dumpable": (3, "value", 4, 1), "securebits": (27, "value", 28, 0x5),
    "parent death signal": (2, "pointer", 1, None),
}


def status(tid="self"):
    want = ("Name", "Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "SigBlk", "SigIgn", "CapInh", "CapPrm",
            "CapEff", "CapBnd", "CapAmb", "Cpus_allowed_list", "THP_enabled", "CoreDumping", "Speculation_Store_Bypass")
    out = {}
    for line in open("/proc/self/task/%s/status" % tid if tid != "self" else "/proc/self/status"):
        k, v = line.split(":", 1)
        if k in want:
            out[k] = v.strip()
    return out


def prctl_get(number, how):
    if how == "value":
        return libc.prctl(number, 0, 0, 0, 0)
    v = ctypes.c_int(-1)
    return v.value if libc.prctl(number, ctypes.addressof(v), 0, 0, 0) < 0 else v.value


def sched(tid=0):
    buf = ctypes.create_string_buffer(56)
    if libc.syscall(SYS["sched_getattr"], tid, buf, 56, 0) < 0:
        return os.strerror(ctypes.get_errno())
    return list(struct.unpack("IIQiIQQQII", buf.raw))


def text(path):
    try:
        return open(path).read().strip()
    except OSError as e:
        return e.strerror


class Work:
    def __init__(self, where):
        self.dir = where
        self.tell, self.tids, self.asking = {}, {}, True
        libc.syscall(SYS["personality"], 0x0040000)  # ADDR_NO_RANDOMIZE
        for name, (_, _, number, arg) in PRCTL.items():
            if arg is not None:
                libc.prctl(number, arg, 0, 0, 0)
        libc.prctl(33, 1, 1, 0, 0)  # PR_MCE_KILL_SET, early
        libc.prctl(47, 2, 10, 0, 0)  # PR_CAP_AMBIENT_RAISE: needs it inheritable first
        libc.syscall(SYS["keyctl"], 0, -1, 1)  # KEYCTL_GET_KEYRING_ID of the thread's, made now
        for cmd in (16, 64, 4):  # register expedited: private, sync core, global
            libc.syscall(SYS["membarrier"], cmd, 0, 0)
        os.nice(5)
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_CORE, (4096, 8192))
        resource.setrlimit(resource.RLIMIT_NOFILE, (900, 1900))
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_VIRTUAL, 5000, 7)
        self.timer = ctypes.c_int()
        libc.syscall(SYS["timer_create"], 1, 0, ctypes.byref(self.timer))
        self.cpu_timer = ctypes.c_int()
        libc.syscall(SYS["timer_create"], 2, 0, ctypes.byref(self.cpu_timer))
        libc.syscall(SYS["set_mempolicy"], 3, ctypes.byref(ctypes.c_ulong(1)), 64)  # interleave on node 0
        for name, f in (("batch", self.as_batch), ("fifo", self.as_fifo), ("own umask", self.as_own_fs)):
            threading.Thread(target=self.thread, args=(name, f), daemon=True).start()
        while len(self.tell) < 3:
            time.sleep(0.01)
        with open("/proc/self/autogroup", "w") as f:
            f.write("3")
        self.before = self.see()

    # ---- threads, each tells what it sees of itself ----
    def thread(self, name, f):
        f(name)
        self.tids[name] = threading.get_native_id()
        while True:
            if not self.asking: # a file of /proc/self/task that is open cannot move
                time.sleep(0.02)
                continue
            self.tell[name] = {"umask": status(threading.get_native_id())["Umask"], "cwd": os.getcwd(),
                               "name": text("/proc/self/task/%d/comm" % threading.get_native_id()),
                               "sched": sched(), "slack": libc.prctl(30, 0, 0, 0, 0),
                               "policy": self.mempolicy(), "personality": libc.syscall(SYS["personality"], 0xffffffff),
                               "machine check": libc.prctl(34, 0, 0, 0, 0)}
            time.sleep(0.02)

    def as_batch(self, name):
        libc.prctl(15, ctypes.cast(ctypes.c_char_p(b"of batch"), ctypes.c_void_p).value, 0, 0, 0)
        libc.syscall(SYS["personality"], 0x0020000 | 0x0040000)  # UNAME26, of this thread alone
        libc.prctl(33, 1, 0, 0, 0)  # PR_MCE_KILL_SET, late
        libc.syscall(SYS["sched_setattr"], 0, struct.pack("IIQiIQQQII", 56, 3, 1, 9, 0, 3000000, 0, 0, 0, 0), 0)

    def as_fifo(self, name):
        libc.syscall(SYS["sched_setattr"], 0, struct.pack("IIQiIQQQII", 56, 1, 0, 0, 7, 0, 0, 0, 0, 0), 0)

    def as_own_fs(self, name):
        libc.unshare(0x200)  # CLONE_FS
        os.umask(0o077)
        os.chdir("/usr")

    def mempolicy(self):
        mode, mask = ctypes.c_int(), ctypes.c_ulong()
        r = libc.syscall(SYS["get_mempolicy"], ctypes.byref(mode), ctypes.byref(mask), 64, 0, 0)
        return [r, mode.value, mask.value]

    # ---- what it sees ----
    def see(self):
        self.asking = True
        time.sleep(0.3)
        self.asking = False
        time.sleep(0.1)
        out = {"status " + k: v for k, v in status().items()}
        for name, (number, how, _, _) in PRCTL.items():
            out["prctl " + name] = prctl_get(number, how)
        out["personality"] = libc.syscall(SYS["personality"], 0xffffffff)
        out["membarrier"] = libc.syscall(SYS["membarrier"], 512, 0, 0)
        out["sched"] = sched()
        out["memory policy"] = self.mempolicy()
        for name in ("autogroup", "oom_score_adj", "coredump_filter", "loginuid", "cgroup", "timens_offsets",
                     "attr/current", "setgroups"):
            # the number of an autogroup is the host's; hauld gives each tree that arrives a cgroup
            out["/proc/self/" + name] = re.sub("autogroup-[0-9]*|haul-tree-[0-9a-f]*", "", text("/proc/self/" + name))
        out["cmdline"] = open("/proc/self/cmdline").read()
        out["environment"] = len(open("/proc/self/environ").read())
        out["rlimits"] = [resource.getrlimit(k) for k in range(16)]
        out["virtual timer"] = [signal.getitimer(signal.ITIMER_VIRTUAL)[1],
                                signal.getitimer(signal.ITIMER_VIRTUAL)[0] > 4000]
        t = self.cpu_timer.value
        out["CPU timer"] = libc.syscall(SYS["timer_gettime"], t, ctypes.create_string_buffer(32))
        out["session, group"] = [os.getsid(0), os.getpgrp()]
        out["session keyring"] = libc.syscall(SYS["keyctl"], 0, -3, 0)
        out["CPU time over 0.2 s"] = sum(os.times()[:2]) > 0.2
        for name in sorted(self.tell):
            for k, v in self.tell[name].items():
                out["thread %s: %s" % (name, k)] = v
        return out

    def verify(self):
        now = self.see()
        return ["%s was %r, is %r" % (k, v, now.get(k)) for k, v in self.before.items()
                if now.get(k) != v and k not in LOST and "policy" not in k]

    def run(self):
        while sum(os.times()[:2]) < 0.3:
            pass
        self.before = self.see()
        answers.serve(self.dir, self.verify, sees=self.before)


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
parser = argparse.ArgumentParser()
parser.add_argument("--dir", required=True)
args = parser.parse_args()
try:
    Work(args.dir).run()
except OSError as e:
    sys.exit(str(e))
