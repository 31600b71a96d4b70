#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""sockets - a program with every kind of socket whose other end is its own: data waits in all of them.

At SIGUSR1 it takes what waits and compares it, writes DIR/verify.N, and makes new data wait. What a
socket lost is named in DIR/failed.
"""
import argparse, array, json, os, signal, socket, struct, time, traceback

p = argparse.ArgumentParser()
p.add_argument("--dir", required=True)
p.add_argument("--without", default="", help="names, with commas between")
o = p.parse_args()
TCP, SOL = socket.IPPROTO_TCP, socket.SOL_SOCKET
parts, rounds = {}, [0]


def part(cls):
    parts[cls.__name__] = cls
    return cls


def same(got, want, what):
    if got != want:
        raise AssertionError("%s: got %.60r (%d), wanted %.60r (%d)" % (
            what, got, len(got) if hasattr(got, "__len__") else -1, want, len(want) if hasattr(want, "__len__") else -1))


def blob(name, n=1000):
    return (("%s %d " % (name, rounds[0])) * (n // 4 + 1)).encode()[:n]


def take(s, n):
    out = b""
    while len(out) < n:
        d = s.recv(n - len(out))
        if not d:
            break
        out += d
    return out


def datagrams(s, want, what):
    s.setblocking(False)
    got = []
    try:
        while True:
            got.append(s.recv(70000))
    except BlockingIOError:
        pass
    s.setblocking(True)
    same(len(got), len(want), what + ": how many")
    for g, w in zip(got, want):
        same(g, w, what)


class Datagrams:
    """What waits in b was sent by a."""
    big = 60000

    def arm(self):
        self.due = [blob("one"), b"", blob("big", self.big), b"last %d" % rounds[0]]
        for d in self.due:
            self.a.send(d)

    def check(self):
        datagrams(self.b, self.due, type(self).__name__)


@part
class udp4(Datagrams):
    def __init__(self):
        self.a, self.b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.b.bind(("127.0.0.1", 0))
        self.a.connect(self.b.getsockname())


@part
class udp6_any(Datagrams):
    def __init__(self):
        self.a, self.b = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.b.bind(("::", 0))
        self.a.connect(("::1", self.b.getsockname()[1]))


@part
class udp_mapped(Datagrams):
    """IPv4 in IPv6, each connected to the other."""
    def __init__(self):
        self.a, self.b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.a.bind(("127.0.0.1", 0))
        self.b.bind(("::ffff:127.0.0.1", 0))
        self.b.connect(("::ffff:127.0.0.1", self.a.getsockname()[1]))
        self.a.connect(("127.0.0.1", self.b.getsockname()[1]))


@part
class unix_dgram(Datagrams):
    def __init__(self):
        self.a, self.b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def arm(self):  # CRIU takes an empty datagram of a UNIX socket for the end
        self.due = [blob("one"), blob("big", self.big), b"last %d" % rounds[0]]
        for d in self.due:
            self.a.send(d)


@part
class unix_dgram_named(unix_dgram):
    def __init__(self):
        self.a, self.b = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.b.bind(os.path.join(o.dir, "dgram"))
        self.a.connect(os.path.join(o.dir, "dgram"))


@part
class unix_seqpacket(unix_dgram):
    big = 30000

    def __init__(self):
        self.a, self.b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Streams:
    """Data waits in both directions."""
    def arm(self):
        self.to_a, self.to_b = blob("to a", 50000), blob("to b", 30000)
        self.b.sendall(self.to_a)
        self.a.sendall(self.to_b)

    def check(self):
        same(take(self.a, len(self.to_a)), self.to_a, "to a")
        same(take(self.b, len(self.to_b)), self.to_b, "to b")


@part
class unix_stream(Streams):
    def __init__(self):
        self.a, self.b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


@part
class unix_stream_named(Streams):
    def __init__(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(o.dir, "stream"))
        self.listener.listen(5)
        self.a = socket.socket(socket.AF_UNIX)
        self.a.connect(os.path.join(o.dir, "stream"))
        self.b = self.listener.accept()[0]

    def check(self):
        super().check()
        late = socket.socket(socket.AF_UNIX)
        late.connect(os.path.join(o.dir, "stream"))
        self.listener.accept()[0].close()
        late.close()


@part
class unix_backlog:
    """A connection that nobody has accepted yet."""
    def __init__(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(o.dir, "backlog"))
        self.listener.listen(5)

    def arm(self):
        self.a = socket.socket(socket.AF_UNIX)
        self.a.connect(os.path.join(o.dir, "backlog"))

    def check(self):
        b = self.listener.accept()[0]
        self.a.sendall(b"hello")
        same(take(b, 5), b"hello", "accepted after the move")
        b.close()
        self.a.close()


@part
class unix_passed:
    """Descriptors that wait in a queue: a file and a pipe's end."""
    def __init__(self):
        self.a, self.b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def arm(self):
        self.r, w = os.pipe()
        f = os.open(os.path.join(o.dir, "passed.%d" % rounds[0]), os.O_RDWR | os.O_CREAT)
        os.write(f, blob("file"))
        socket.send_fds(self.a, [b"two"], [f, w])
        os.close(f)
        os.close(w)

    def check(self):
        data, fds, _, _ = socket.recv_fds(self.b, 10, 4)
        same(data, b"two", "the data with them")
        same(len(fds), 2, "passed descriptors")
        os.lseek(fds[0], 0, 0)
        same(os.read(fds[0], 2000), blob("file"), "the passed file")
        os.write(fds[1], b"through")
        same(os.read(self.r, 10), b"through", "the passed pipe")
        for f in fds + [self.r]:
            os.close(f)


def tcp_pair(family=socket.AF_INET, addr="127.0.0.1", to=None):
    listener = socket.socket(family)
    listener.bind((addr, 0))
    listener.listen(5)
    a = socket.socket(family)
    a.connect((to or addr, listener.getsockname()[1]))
    b = listener.accept()[0]
    listener.close()
    return a, b


@part
class tcp4(Streams):
    def __init__(self):
        self.a, self.b = tcp_pair()


@part
class tcp6(Streams):
    def __init__(self):
        self.a, self.b = tcp_pair(socket.AF_INET6, "::1")


@part
class tcp_mapped(Streams):
    def __init__(self):
        self.a, self.b = tcp_pair(socket.AF_INET6, "::ffff:127.0.0.1")


@part
class tcp_half_closed(Streams):
    """One direction is closed, data waits in the other; both ways round."""
    def arm(self):
        self.pairs = [tcp_pair(), tcp_pair()]
        for (a, b), side in zip(self.pairs, (0, 1)):
            closer, other = (a, b) if side == 0 else (b, a)
            closer.sendall(blob("closing"))
            closer.shutdown(socket.SHUT_WR)
            other.sendall(blob("other", 5000))

    def check(self):
        for (a, b), side in zip(self.pairs, (0, 1)):
            closer, other = (a, b) if side == 0 else (b, a)
            same(take(other, 1001), blob("closing"), "what was sent before the close, and the end")
            same(take(closer, 5000), blob("other", 5000), "to the one that has closed")
            other.sendall(b"more")
            same(take(closer, 4), b"more", "after the move")
            other.shutdown(socket.SHUT_WR)
            same(closer.recv(1), b"", "the end")
            a.close()
            b.close()


OPTIONS = [  # level, name, value to set
    (SOL, "SO_KEEPALIVE", 1), (SOL, "SO_OOBINLINE", 1), (SOL, "SO_SNDBUF", 100000), (SOL, "SO_RCVBUF", 120000),
    (SOL, "SO_PRIORITY", 3), (SOL, "SO_RCVLOWAT", 7),
    (TCP, "TCP_NODELAY", 1), (TCP, "TCP_KEEPIDLE", 77), (TCP, "TCP_KEEPINTVL", 13), (TCP, "TCP_KEEPCNT", 5),
    (TCP, "TCP_USER_TIMEOUT", 12345), (TCP, "TCP_LINGER2", 9), (TCP, "TCP_SYNCNT", 4),
    (TCP, "TCP_NOTSENT_LOWAT", 16384), (socket.IPPROTO_IP, "IP_TOS", 0x10), (socket.IPPROTO_IP, "IP_TTL", 33),
    (socket.IPPROTO_IP, "IP_FREEBIND", 1), (socket.IPPROTO_IP, "IP_MTU_DISCOVER", 2),
]
TEXTS = [(TCP, getattr(socket, "TCP_CONGESTION", 13))]
TIMES = ["SO_RCVTIMEO", "SO_SNDTIMEO"]


def options_of(s):
    out = {n: s.getsockopt(level, getattr(socket, n, {"TCP_USER_TIMEOUT": 18, "TCP_NOTSENT_LOWAT": 25, "IP_MTU_DISCOVER": 10, "IP_FREEBIND": 15}.get(n)))
           for level, n, _ in OPTIONS}
    out["TCP_CONGESTION"] = s.getsockopt(TCP, 13, 16).split(b"\0")[0].decode()
    out["SO_LINGER"] = struct.unpack("ii", s.getsockopt(SOL, socket.SO_LINGER, 8))
    for n in TIMES:
        out[n] = struct.unpack("ll", s.getsockopt(SOL, getattr(socket, n), 16))
    info = s.getsockopt(TCP, socket.TCP_INFO, 104)
    out["state"], out["options"], out["wscale"] = info[0], info[5] & 7, info[6]
    out["segments are large"] = struct.unpack_from("I", info, 16)[0] > 1400
    return out


@part
class tcp_options(Streams):
    def __init__(self):
        self.a, self.b = tcp_pair()
        self.a.sendall(b"x")
        self.b.recv(1)
        for level, n, v in OPTIONS:
            self.a.setsockopt(level, getattr(socket, n, {"TCP_USER_TIMEOUT": 18, "TCP_NOTSENT_LOWAT": 25, "IP_MTU_DISCOVER": 10, "IP_FREEBIND": 15}.get(n)), v)
        self.a.setsockopt(TCP, 13, b"reno")
        self.a.setsockopt(SOL, socket.SO_LINGER, struct.pack("ii", 1, 3))
        for n in TIMES:
            self.a.setsockopt(SOL, getattr(socket, n), struct.pack("ll", 5, 250000))

    def arm(self):
        super().arm()
        self.was = options_of(self.a)

    def check(self):
        lost = {k: (v, options_of(self.a)[k]) for k, v in self.was.items() if options_of(self.a)[k] != v}
        super().check()
        if lost:
            raise AssertionError("options (before, after): %s" % lost)


@part
class tcp_timers:
    """A keep-alive that comes due after the move: the connection stays. A busy machine may take seconds for the stop."""
    def __init__(self):
        self.a, self.b = tcp_pair()
        for s in (self.a, self.b):
            s.setsockopt(SOL, socket.SO_KEEPALIVE, 1)
            s.setsockopt(TCP, socket.TCP_KEEPIDLE, 1)
            s.setsockopt(TCP, socket.TCP_KEEPINTVL, 1)
            s.setsockopt(TCP, socket.TCP_KEEPCNT, 15)

    def arm(self):
        pass

    def check(self):
        time.sleep(2.5)
        self.a.sendall(b"alive")
        same(take(self.b, 5), b"alive", "after idle time")


@part
class tcp_listening:
    def __init__(self):
        self.s = socket.socket(socket.AF_INET6)
        self.s.setsockopt(SOL, socket.SO_REUSEADDR, 1)
        self.s.bind(("::", 0))
        self.s.listen(7)

    def arm(self):
        pass

    def check(self):
        for family, to in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            c = socket.socket(family)
            c.connect((to, self.s.getsockname()[1]))
            self.s.accept()[0].close()
            c.close()


@part
class other_process(Streams):
    """The other end is a child's, which sends back what it gets."""
    def __init__(self):
        self.a, b = socket.socketpair(socket.AF_UNIX)
        self.t, u = tcp_pair()
        if os.fork() == 0:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            self.a.close()
            self.t.close()
            while True:
                d = take(b, 1000)
                if not d:
                    os._exit(0)
                u.sendall(d)
        b.close()
        u.close()

    def arm(self):
        self.a.sendall(blob("echo"))

    def check(self):
        same(take(self.t, 1000), blob("echo"), "there and back")


live = {n: c() for n, c in parts.items() if n not in o.without.split(",")}


def arm():
    rounds[0] += 1
    for x in live.values():
        x.arm()


def verify(*_):
    bad = []
    for n, x in live.items():
        try:
            x.check()
        except Exception as e:
            bad.append("%s: %s: %s" % (n, type(e).__name__, e))
    k = rounds[0]
    if bad:
        with open(os.path.join(o.dir, "failed"), "a") as f:
            f.write("\n".join(bad) + "\n")
    else:
        arm()
    with open(os.path.join(o.dir, "tmp"), "w") as f:
        json.dump({"ok": not bad, "bad": bad, "parts": len(live)}, f)
    os.rename(os.path.join(o.dir, "tmp"), os.path.join(o.dir, "verify.%d" % k))


signal.signal(signal.SIGUSR1, verify)
arm()
open(os.path.join(o.dir, "ready"), "w").close()
while True:
    signal.pause()
