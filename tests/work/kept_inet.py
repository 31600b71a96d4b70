#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_inet.py - what sockets keep: data held back by TCP_CORK, a locked filter, a bound device, a peer of UDP, netlink
groups. --with=bpf|md5|urgent|device:NAME adds what cannot move; DIR/read makes it read the urgent data."""
import argparse
import ctypes
import os
import signal
import socket
import struct
import threading
import time

import answers

SOL, TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP
ATTACH_FILTER, GET_FILTER, LOCK_FILTER, ATTACH_BPF, BINDTODEVICE, CORK, MD5SIG = 26, 26, 44, 50, 25, 3, 14
libc = ctypes.CDLL(None, use_errno=True)


def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    a = socket.create_connection(listener.getsockname())
    b = listener.accept()[0]
    listener.close()
    return a, b


def attach(s):
    """A classic filter of one instruction: take everything."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0xffffffff))
    s.setsockopt(SOL, ATTACH_FILTER, struct.pack("H6xQ", 1, ctypes.addressof(code)))
    s.setsockopt(SOL, LOCK_FILTER, 1)


def filter_of(s):
    n = ctypes.c_uint32(1)
    code = ctypes.create_string_buffer(8)
    if libc.getsockopt(s.fileno(), SOL, GET_FILTER, code, ctypes.byref(n)) < 0:
        return os.strerror(ctypes.get_errno())
    return "%d %s" % (n.value, code.raw.hex())


def attach_bpf(s):
    code = ctypes.create_string_buffer(bytes([0xb7, 0, 0, 0, 0xff, 0xff, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]))
    licence = ctypes.create_string_buffer(b"GPL")
    attr = ctypes.create_string_buffer(struct.pack("IIQQ", 1, 2, ctypes.addressof(code), ctypes.addressof(licence)).ljust(120, b"\0"))
    fd = libc.syscall(321, 5, attr, 120)
    s.setsockopt(SOL, ATTACH_BPF, fd)
    os.close(fd)


class Work:
    def __init__(self, where, more):
        self.dir = where
        self.corked, self.reader = pair()
        self.corked.setsockopt(TCP, CORK, 1)
        self.udp, self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for s in (self.udp, self.peer):
            s.bind(("127.0.0.1", 0))
            s.settimeout(10)
        self.udp.connect(self.peer.getsockname())
        attach(self.udp)
        self.bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.bound.setsockopt(SOL, BINDTODEVICE, b"eth0")
        self.route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.route.bind((0, 0x11))  # links and addresses
        self.add(more)
        self.turn = 0
        self.arm()
        self.before = self.see()

    def add(self, more):
        if more == "bpf":
            self.more = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            attach_bpf(self.more)
        elif more == "md5":
            self.more = socket.create_server(("127.0.0.1", 0))
            self.more.setsockopt(TCP, MD5SIG, struct.pack("128sBBHIi80s", struct.pack(
                "HH4s", 2, 0, socket.inet_aton("127.0.0.9")), 0, 0, 4, 0, 0, b"abcd"))
        elif more == "urgent":
            self.sender, self.more = pair()
            self.sender.sendall(b"before")
            self.sender.send(b"!", socket.MSG_OOB)
            self.sender.sendall(b"after")
            threading.Thread(target=self.read_urgent, daemon=True).start()
        elif more.startswith("device:"):
            self.more = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.more.setsockopt(SOL, BINDTODEVICE, more[7:].encode())

    def read_urgent(self):
        while not os.path.exists(self.dir + "/read"):
            time.sleep(0.05)
        got = self.more.recv(6), self.more.recv(1, socket.MSG_OOB), self.more.recv(5)
        with open(self.dir + "/got", "w") as f:
            f.write("%r\n" % (got,))

    def arm(self):
        """Less than a segment waits in the corked socket."""
        self.turn += 1
        self.due = b"held back %d" % self.turn
        self.corked.sendall(self.due)

    def see(self):
        return {"cork": self.corked.getsockopt(TCP, CORK), "filter": filter_of(self.udp),
                "locked": self.udp.getsockopt(SOL, LOCK_FILTER), "peer": self.udp.getpeername(),
                "device": self.bound.getsockopt(SOL, BINDTODEVICE, 16).split(b"\0")[0].decode(),
                "netlink": self.route.getsockname()[1]}

    def verify(self):
        now = self.see()
        faults = ["%s was %s, is %s" % (k, v, now[k]) for k, v in self.before.items() if now[k] != v]
        try:
            self.corked.setsockopt(TCP, CORK, 0)
            got = self.reader.recv(100)
            if got != self.due:
                faults.append("held back: %r, wanted %r" % (got, self.due))
            self.corked.setsockopt(TCP, CORK, 1)
            self.arm()
            self.udp.send(b"to the peer")
            if self.peer.recv(100) != b"to the peer":
                faults.append("another datagram")
        except OSError as e:
            faults.append(str(e))
        return faults

    def run(self):
        answers.serve(self.dir, self.verify, sees=self.before)


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
parser = argparse.ArgumentParser()
parser.add_argument("--dir", required=True)
parser.add_argument("--with", dest="more", default="")
args = parser.parse_args()
Work(args.dir, args.more).run()
