#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""heavy.py - starts a program with everything unusual that a child has from its parent, and a session keyring with a key.

Usage: heavy.py PROGRAM ARG..."""
import ctypes
import os
import resource
import signal
import sys

libc = ctypes.CDLL(None, use_errno=True)


def must(r, what):
    if r < 0:
        sys.exit(f"heavy.py: {what}: {os.strerror(ctypes.get_errno())}")


must(libc.syscall(250, 1, None), "a session keyring")
must(libc.syscall(248, b"user", b"hauld's", b"secret", 6, -3), "a key")
os.umask(0o077)
os.nice(7)
must(libc.prctl(29, 999999, 0, 0, 0), "timer slack")
must(libc.prctl(33, 1, 1, 0, 0), "machine checks")
must(libc.prctl(36, 1, 0, 0, 0), "subreaper")
must(libc.syscall(238, 1, ctypes.byref(ctypes.c_ulong(1)), 64), "memory policy")
must(libc.personality(0x40000), "personality")
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGALRM])
signal.signal(signal.SIGQUIT, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
with open("/proc/self/oom_score_adj", "w") as f:
    f.write("200")
os.environ["HAULD_SECRET"] = "secret"
os.open("/etc/haul", os.O_RDONLY)
os.set_inheritable(3, True)
os.execv(sys.argv[1], sys.argv[1:])
