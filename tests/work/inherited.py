#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""inherited.py - a process that writes down, at each SIGUSR1, everything about itself that a child has from its parent.

Usage: inherited.py DIR default|unusual. DIR/has.N is the list, N counts from 1; with "unusual" it first changes what
it may change."""
import ctypes
import json
import os
import resource
import signal
import sys

libc = ctypes.CDLL(None, use_errno=True)
where, kind = sys.argv[1:]
times = 0

# asked by prctl(number): the answer is its return value, or is stored where its first argument points
BY_VALUE = {"timer slack": 30, "dumpable": 3, "keep capabilities": 7, "securebits": 27, "no new privileges": 39,
            "machine checks": 34, "huge pages off": 42, "MDWE": 66}
BY_POINTER = {"parent's death": 2, "subreaper": 37, "time stamp counter": 25}
SESSION = -3


def prctl(*a):
    return libc.prctl(*(list(a) + [0] * (5 - len(a))))


def text(name):
    try:
        with open("/proc/self/" + name) as f:
            return f.read().strip()
    except OSError as e:
        return str(e)


def pointed(number):
    v = ctypes.c_int(-1)
    prctl(number, ctypes.byref(v))
    return v.value


def keys():
    """May the keys of this host's hauld be used? -> the answers to its name"""
    session = libc.syscall(250, 0, SESSION, 0)
    found = libc.syscall(250, 10, SESSION, b"user", b"hauld's", 0)
    linked = libc.syscall(249, b"user", b"hauld's", None, 0)
    return {"found": found >= 0, "requested": linked >= 0, "session": session}


def report():
    status = dict(line.split(":", 1) for line in text("status").splitlines())
    stat = text("stat").rsplit(")", 1)[1].split()
    has = {k: status[k].strip() for k in status if k.startswith(("Umask", "Uid", "Gid", "Groups", "Sig", "Cap", "NoNew",
           "Seccomp", "Specul", "THP", "Mems_allowed_list"))and k != "SigQ" and k != "SigPnd"}
    has.update({"priority": stat[15], "nice": stat[16], "rt priority": stat[37], "policy": stat[38]})
    for f in ("limits", "oom_score_adj", "loginuid", "personality", "timerslack_ns", "cgroup", "attr/current", "setgroups"):
        has[f] = text(f)
    has.update({k: prctl(n) for k, n in BY_VALUE.items()})
    has.update({k: pointed(n) for k, n in BY_POINTER.items()})
    mode, mask = ctypes.c_int(-1), (ctypes.c_ulong * 16)()
    libc.syscall(239, ctypes.byref(mode), mask, 1024, 0, 0)
    has["memory policy"] = [mode.value, list(mask)]
    has["descriptors"] = {n: os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n)}
    has["environment"] = text("environ")
    has["keys"] = keys()
    return has


def write(_signal, _frame):
    global times
    times += 1
    with open(f"{where}/has.new", "w") as f:
        json.dump(report(), f, indent=1, sort_keys=True)
    os.rename(f"{where}/has.new", f"{where}/has.{times}")


if kind == "unusual":
    os.umask(0o137)
    os.nice(3)
    prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGHUP])
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
    resource.setrlimit(resource.RLIMIT_CORE, (4096, 8192))
    prctl(24, 25)  # PR_CAPBSET_DROP CAP_SYS_TIME
    prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
    with open("/proc/self/oom_score_adj", "w") as f:
        f.write("321")
signal.signal(signal.SIGUSR1, write)
open(where + "/ready", "w").close()
while True:
    signal.pause()
