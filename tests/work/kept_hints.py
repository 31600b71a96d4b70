#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_hints.py - a program with all that is lost and of which only the kernel's memory tells: haul check names each.
--with=NAME makes one that is refused: deadline, ports, ldt, sysv."""
import argparse
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys

import answers

libc = ctypes.CDLL(None, use_errno=True)
SOL, IP, IP6 = socket.SOL_SOCKET, socket.IPPROTO_IP, socket.IPPROTO_IPV6
F_NOTIFY, F_SET_RW_HINT, DN_CREATE, DN_MULTISHOT = 1026, 1036, 4, 0x80000000 - (1 << 32)
ATTACH_REUSEPORT_CBPF, REUSEPORT, FLOWLABEL_MGR = 51, 15, 32
PR_SET_TSC, PR_TSC_SIGSEGV, O_TMPFILE, EPIOCSPARAMS = 26, 2, 0o20200000, 0x40088a01
SYS = {"clone": 56, "semget": 64, "semop": 65, "modify_ldt": 154, "iopl": 172, "sched_setattr": 314}


def asked(r, what):
    """What the kernel refuses would leave the test without its subject."""
    if r < 0:
        sys.exit("%s: %s" % (what, os.strerror(ctypes.get_errno())))
    return r


def child(set_up, call=os.fork):
    pid = call()
    if pid == 0:
        set_up()
        while True: # without a clock: one of them may not read it
            signal.sigwait([signal.SIGUSR2])
    return pid


def filter_of_port():
    """Two sockets of one port, and a program of one instruction that chooses the first."""
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for s in socks:
        s.setsockopt(SOL, REUSEPORT, 1)
        s.bind(("127.0.0.1", 7013))
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    socks[0].setsockopt(SOL, ATTACH_REUSEPORT_CBPF, struct.pack("H6xQ", 1, ctypes.addressof(code)))
    return socks


def by_number():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", bytes(4), bytes(4), socket.if_nametoindex("eth0")))
    return s


def labelled():
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(IP6, FLOWLABEL_MGR, struct.pack("!16sIBBHHHI", bytes(15) + b"\1", 0x10000 + os.getpid(), 0, 1, 0, 0, 0, 0)[:20] +
                 struct.pack("BBHHHI", 0, 1, 1, 0, 0, 0))
    return s


class Work:
    def __init__(self, where, more):
        self.dir = where
        self.watched = os.open(where, os.O_RDONLY)
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        fcntl.fcntl(self.watched, F_NOTIFY, DN_CREATE | DN_MULTISHOT)
        self.hinted = os.open(where + "/hinted", os.O_RDWR | os.O_CREAT)
        fcntl.fcntl(self.hinted, F_SET_RW_HINT, struct.pack("Q", 4))
        os.posix_fadvise(self.hinted, 0, 0, os.POSIX_FADV_RANDOM)
        self.nameless = os.open(where, os.O_RDWR | O_TMPFILE)
        os.write(self.nameless, b"nameless")
        self.socks = filter_of_port() + [by_number(), labelled()]
        self.busy = asked(libc.epoll_create1(0), "epoll_create1")
        self.busies = libc.ioctl(self.busy, EPIOCSPARAMS, struct.pack("IHBB", 60, 8, 0, 0)) == 0
        self.children = [child(lambda: asked(libc.prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0), "PR_SET_TSC")),
                         child(lambda: None, lambda: libc.syscall(SYS["clone"], signal.SIGUSR2, 0, 0, 0, 0))]
        if more:
            self.children.append(child(getattr(self, more)))

    # ---- what is refused ----
    def deadline(self):
        attr = struct.pack("IIQiIQQQ", 48, 6, 0, 0, 0, 10**6, 10**7, 10**7)
        asked(libc.syscall(SYS["sched_setattr"], 0, attr, 0), "SCHED_DEADLINE")

    def alarm(self):
        asked(libc.timerfd_create(9, 0), "timerfd_create")

    def ports(self):
        asked(libc.syscall(SYS["iopl"], 3), "iopl")

    def ldt(self):
        asked(libc.syscall(SYS["modify_ldt"], 1, struct.pack("IIII", 3, 0x1000, 0xfff, 0x51), 16), "modify_ldt")

    def sysv(self):
        asked(libc.syscall(SYS["semop"], asked(libc.syscall(SYS["semget"], 0, 1, 0o1600), "semget"),
                           struct.pack("Hhh", 0, 1, 0x1000), 1), "semop")

    def verify(self):
        return [] if os.pread(self.nameless, 8, 0) == b"nameless" else ["the file without a name"]

    def run(self):
        answers.serve(self.dir, self.verify, busies=self.busies)


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
parser = argparse.ArgumentParser()
parser.add_argument("--dir", default=".")
parser.add_argument("--probe", action="store_true", help="does this kernel let a process do what --with names?")
parser.add_argument("--with", dest="more", choices=("deadline", "alarm", "ports", "ldt", "sysv"))
args = parser.parse_args()
if args.probe:
    getattr(Work, args.more)(None)
else:
    Work(args.dir, args.more).run()
