#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""names.py - UNIX sockets that are bound to paths, held with the rights of a user.

Usage: names.py DIR PLACE UID [WORKER]. Binds below PLACE as UID (fsuid only; UID 0: as it is); a child has all of them as user WORKER. DIR/ready appears then. SIGUSR1: looks at
and uses all of them, and writes what is wrong, a line each, to DIR/faults.N; N counts from 1."""
import ctypes
import os
import signal
import socket
import stat
import sys

there, place, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
STREAM, DGRAM, SEQ = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
turn, faults = [0], []
own = {}  # file: mode


def bound(kind, name, mode=0o755, whole=True):
    s = socket.socket(socket.AF_UNIX, kind)
    path = f"{place}/{name}"
    s.bind(path if whole else name)
    os.chmod(path, mode)
    own[path] = mode
    return s


def connected(kind, path):
    s = socket.socket(socket.AF_UNIX, kind)
    s.settimeout(10)
    s.connect(path)
    return s


def become(uid):
    libc = ctypes.CDLL(None)
    os.setgroups([])
    libc.setfsgid(uid)
    libc.setfsuid(uid)
    libc.prctl(4, 1, 0, 0, 0)  # a program that is started so may be dumped, too


def check(what, right):
    if not right:
        faults.append(what)


def fill():
    """Two connections that nobody has accepted, and a datagram whose sender is gone."""
    clients[:] = [connected(STREAM, f"{place}/listens") for _ in range(2)]
    gone = connected(DGRAM, f"{place}/datagrams")
    gone.send(b"queued")
    gone.close()
    sender.send(b"of the sender")


def use():
    for c in clients:
        c.send(b"late")
    for _ in clients:
        a = listens.accept()[0]
        check("an accepted connection", a.recv(9) == b"late")
        check("its peer's user", a.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[4:8] in
              (b"\0\0\0\0", uid.to_bytes(4, sys.byteorder)))
    got = [datagrams.recv(99), datagrams.recv(99)]
    check(f"datagrams: {got}", sorted(got) == [b"of the sender", b"queued"])
    sender.send(b"again")
    check("a datagram of the sender", datagrams.recv(99) == b"again")
    to_nameless.send(b"to a removed name")
    check("a datagram to a removed name", nameless.recv(99) == b"to a removed name")
    check("a connection of packets", connected(SEQ, f"{place}/packets") and packets.accept())
    here = connected(DGRAM, f"{place}/relative")
    here.send(b"x")
    check("a relative name", relative.recv(9) == b"x")
    for s, name in ((listens, f"{place}/listens"), (datagrams, f"{place}/datagrams"), (relative, "relative"),
                    (nameless, f"{place}/removed"), (unused, f"{place}/unused"), (renamed, None)):
        check(f"the name {name}: {s.getsockname()}", name is None or s.getsockname() == name)
    check("the removed name", not os.path.exists(f"{place}/removed"))
    for path, mode in own.items():
        st = os.stat(path)
        check(f"{path}: mode {st.st_mode:o} {st.st_uid}", stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == mode and st.st_uid == uid)
    check(f"files: {sorted(os.listdir(place))}", sorted(os.listdir(place)) == sorted(os.path.basename(p) for p in own))


def work(_signal, _frame):
    turn[0] += 1
    faults.clear()
    try:
        use()
        fill()
    except OSError as e:
        faults.append(repr(e))
    with open(f"{there}/faults.new", "w") as f:
        f.write("".join(x + "\n" for x in faults))
    os.rename(f"{there}/faults.new", f"{there}/faults.{turn[0]}")


if uid:
    become(uid)
os.chdir(place)
socket.setdefaulttimeout(10)
listens = bound(STREAM, "listens", 0o700)
listens.listen(5)
packets = bound(SEQ, "packets", 0o777)
packets.listen(1)
datagrams = bound(DGRAM, "datagrams")
sender = connected(DGRAM, f"{place}/datagrams")
relative = bound(DGRAM, "relative", whole=False)
unused = bound(STREAM, "unused")
renamed = bound(DGRAM, "renamed.tmp")
os.rename(f"{place}/renamed.tmp", f"{place}/renamed")
own[f"{place}/renamed"] = own.pop(f"{place}/renamed.tmp")
nameless = bound(DGRAM, "removed")
to_nameless = connected(DGRAM, f"{place}/removed")
os.unlink(f"{place}/removed")
del own[f"{place}/removed"]
clients = []
fill()
os.chdir("/")  # a working directory is a file, too
if len(sys.argv) > 4 and os.fork() == 0:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # it ends with its parent
    become(int(sys.argv[4]))
    while True:
        signal.pause()
signal.signal(signal.SIGUSR1, work)
open(f"{there}/ready", "w").close()
while True:
    signal.pause()
