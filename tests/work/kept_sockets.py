#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_sockets.py - sockets with options and multicast groups that CRIU does not restore. It notes all that it can
see of them at its start, and compares. --iface=NAME is where the groups are."""
import argparse
import ctypes
import fcntl
import os
import signal
import socket
import struct

import answers

MCAST_JOIN_GROUP, MCAST_MSFILTER, MCAST_JOIN_SOURCE_GROUP = 42, 48, 46
GROUP, SOURCED, SIX = "239.7.7.7", "232.7.7.7", "ff05::77"
SOURCE = "10.99.0.9"
IP, IP6, TCP, UDP, SOL = (socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.IPPROTO_TCP, socket.IPPROTO_UDP,
                          socket.SOL_SOCKET)
# (name, level, option, value)
OPTIONS = {
    "listening": [("DEFER_ACCEPT", TCP, 9, 7), ("USER_TIMEOUT", TCP, 18, 12345), ("FASTOPEN", TCP, 23, 16),
                  ("SYNCNT", TCP, 7, 3), ("LINGER2", TCP, 8, 17), ("NOTSENT_LOWAT", TCP, 25, 4096),
                  ("MAXSEG", TCP, 2, 1000), ("CONGESTION", TCP, 13, b"reno"),
                  ("INCOMING_CPU", SOL, 49, 1), ("FASTOPEN_KEY", TCP, 33, b"sixteen octets! "), ("TOS", IP, 1, 0x10),
                  ("TTL", IP, 2, 33), ("RECVERR", IP, 11, 1), ("MTU_DISCOVER", IP, 10, 0)],
    "udp": [("MULTICAST_TTL", IP, 33, 7), ("MULTICAST_LOOP", IP, 34, 1), ("MULTICAST_ALL", IP, 49, 0),
            ("RECVTOS", IP, 13, 1), ("RECVTTL", IP, 12, 1), ("PKTINFO", IP, 8, 1), ("TIMESTAMPNS", SOL, 35, 1),
            ("RXQ_OVFL", SOL, 40, 1),
            ("OPTIONS", IP, 4, b"\x94\x04\0\0"), ("GRO", UDP, 104, 1), ("TIMESTAMPING", SOL, 37, 16),
            ("MAX_PACING_RATE", SOL, 47, 1000000)],
    "udp6": [("MULTICAST_HOPS", IP6, 18, 9), ("UNICAST_HOPS", IP6, 16, 44), ("RECVPKTINFO", IP6, 49, 1),
             ("TCLASS", IP6, 67, 0x20), ("RECVTCLASS", IP6, 66, 1), ("DONTFRAG", IP6, 62, 1),
             ("MTU_DISCOVER", IP6, 23, 2),
             ("DSTOPTS", IP6, 59, bytes([0, 0, 1, 4, 0, 0, 0, 0])), ("FLOWINFO", IP6, 11, 1)],
    "unix": [("PEEK_OFF", SOL, 42, 3)],
}


def address(text):
    if ":" in text:
        return struct.pack("HHI16sI", socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, text), 0).ljust(128, b"\0")
    return struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(text)).ljust(128, b"\0")


class Work:
    def __init__(self, where, iface):
        self.dir, self.index = where, socket.if_nametoindex(iface)
        self.iface = iface
        self.socks = {
            "listening": socket.socket(socket.AF_INET, socket.SOCK_STREAM),
            "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "udp6": socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
            "unix": socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        }
        self.socks["udp"].bind(("", 5007))
        self.socks["udp6"].bind(("::", 5008))
        for kind, options in OPTIONS.items():
            for name, level, option, value in options:
                self.socks[kind].setsockopt(level, option, value)
        self.socks["listening"].bind(("127.0.0.1", 5009))
        self.socks["listening"].listen(5)
        udp, six = self.socks["udp"], self.socks["udp6"]
        # by its address: the kernel does not tell an interface that was chosen by number
        own = fcntl.ioctl(udp, 0x8915, struct.pack("256s", iface.encode()))[20:24]  # SIOCGIFADDR
        udp.setsockopt(IP, 32, own)
        udp.setsockopt(IP, MCAST_JOIN_GROUP, struct.pack("I4x", self.index) + address(GROUP))
        udp.setsockopt(IP, MCAST_JOIN_SOURCE_GROUP, struct.pack("I4x", self.index) + address(SOURCED) + address(SOURCE))
        six.setsockopt(IP6, 17, self.index)
        udp.setsockopt(IP, 50, struct.pack("!I", self.index))  # IP_UNICAST_IF
        six.setsockopt(IP6, MCAST_JOIN_GROUP, struct.pack("I4x", self.index) + address(SIX))
        self.before = self.see()

    def filter(self, sock, level, group):
        """Mode and sources of a group that the socket is in."""
        index = socket.if_nametoindex(self.iface)
        # the group is named by the buffer: Python's getsockopt() cannot do that
        buf = ctypes.create_string_buffer(struct.pack("I4x", index) + address(group) + struct.pack("II", 0, 4) + bytes(512))
        n = ctypes.c_uint32(len(buf))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.getsockopt(sock.fileno(), level, MCAST_MSFILTER, buf, ctypes.byref(n)) < 0:
            return "not a member: " + os.strerror(ctypes.get_errno())
        mode, sources = struct.unpack_from("II", buf.raw, 136)
        return [mode, sources, buf.raw[148:152].hex() if sources else ""]

    def see(self):
        out = {}
        for kind, options in OPTIONS.items():
            for name, level, option, _ in options:
                out[kind + " " + name] = self.socks[kind].getsockopt(level, option, 16).hex()
        udp, six = self.socks["udp"], self.socks["udp6"]
        out["group"] = self.filter(udp, IP, GROUP)
        out["group of one source"] = self.filter(udp, IP, SOURCED)
        out["group of IPv6"] = self.filter(six, IP6, SIX)
        out["interface of unicasts"] = socket.if_indextoname(struct.unpack("!I", udp.getsockopt(IP, 50, 4))[0])
        out["interface of IPv6"] = socket.if_indextoname(six.getsockopt(IP6, 17))
        return out

    def hears(self):
        """A multicast of our own by that interface comes back."""
        udp = self.socks["udp"]
        udp.settimeout(5)
        udp.sendto(b"hello", (GROUP, 5007))
        return udp.recv(100) == b"hello"

    def verify(self):
        now, faults = self.see(), []
        for k, v in self.before.items():
            if now[k] != v:
                faults.append("%s was %s, is %s" % (k, v, now[k]))
        try:
            if not self.hears():
                faults.append("another multicast")
        except OSError as e:
            faults.append("no multicast: %s" % e)
        if self.socks["udp"].getsockopt(IP, 32, 4) == bytes(4):
            faults.append("multicasts go by no interface of their own")
        return faults

    def run(self):
        answers.serve(self.dir, self.verify, sees=self.before)


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
parser = argparse.ArgumentParser()
parser.add_argument("--dir", required=True)
parser.add_argument("--iface", required=True)
args = parser.parse_args()
Work(args.dir, args.iface).run()
