#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""treezoo.py - make DIR: a directory with every kind of file and attribute, or change it: --change SEED."""
import argparse, os, random, socket, stat, struct, subprocess, sys

p = argparse.ArgumentParser()
p.add_argument("dir")
p.add_argument("--change", type=int)
p.add_argument("--files", type=int, default=300)
a = p.parse_args()
os.makedirs(a.dir, exist_ok=True)
os.chdir(a.dir)
os.umask(0)


def put(name, data, mode=0o644):
    with open(name, "wb") as f:
        f.write(data)
    os.chmod(name, mode)


def acl(tag_mode):
    out = struct.pack("<I", 2)
    for tag, perm, who in tag_mode:
        out += struct.pack("<HHI", tag, perm, who)
    return out


ACL = acl([(1, 6, 0xFFFFFFFF), (2, 4, 1234), (4, 4, 0xFFFFFFFF), (16, 6, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)])


def make():
    put("plain", b"hello\n")
    put("empty", b"")
    put("setuid", b"#!/bin/sh\n", 0o4755)
    put("setgid", b"x", 0o2711)
    os.mkdir("sticky", 0o1777)
    put("owned", b"another user's", 0o600)
    os.chown("owned", 1234, 4321)
    put(b"bytes \xff\xfe\n\t*?[\\'\" \xc3\xa9", b"any bytes")
    put("n" * 255, b"long name")
    put("old", b"old")
    os.utime("old", ns=(1_000_000_001, 86_400_123_456_789))
    put("before 1970", b"x")
    os.utime("before 1970", ns=(-1_000_000_001, -86_400_123_456_789))
    put("attrs", b"x")
    os.setxattr("attrs", "user.empty", b"")
    os.setxattr("attrs", "user.binary", bytes(range(256)))
    os.setxattr("attrs", "trusted.haul", b"root only")
    put("caps", b"x", 0o755)
    os.setxattr("caps", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    put("acl", b"x", 0o660)
    os.setxattr("acl", "system.posix_acl_access", ACL)
    os.mkdir("acl.d")
    os.setxattr("acl.d", "system.posix_acl_default", ACL)
    put("acl.d/inherits", b"x")
    put("acl.d/plain", b"x")
    for n in ("acl.d/plain",):
        os.removexattr(n, "system.posix_acl_access")
    put("linked", b"three names")
    os.mkdir("deep")
    os.link("linked", "linked too")
    os.link("linked", "deep/linked")
    os.symlink("plain", "link")
    os.symlink("/etc/passwd", "link out")
    os.symlink("../../../../nowhere", "link up")
    os.symlink("x" * 3000, "link long")
    os.lchown("link", 77, 88)
    os.utime("link", ns=(5, 7_000_000_007), follow_symlinks=False)
    os.mkfifo("fifo", 0o640)
    s = socket.socket(socket.AF_UNIX)
    s.bind("socket")
    os.mknod("chr", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod("blk", stat.S_IFBLK | 0o660, os.makedev(7, 200))
    os.chown("blk", 0, 6)
    with open("holes", "wb") as f:
        f.truncate(64 << 20)
        for at in (0, 5 << 20, (64 << 20) - 4096):
            f.seek(at)
            f.write(os.urandom(4096))
    with open("all hole", "wb") as f:
        f.truncate((1 << 30) + 17)
    put("big", os.urandom(3 << 20) + bytes(1 << 20))
    d = "deep"
    for k in range(60):
        d += f"/level{k}"
        os.mkdir(d)
    put(d + "/bottom", b"deep down")
    os.mkdir("many")
    for k in range(a.files):
        put(f"many/f{k}", (b"%d " % k) * (k % 3000))
    os.mkdir("no access", 0)
    os.utime("deep", ns=(11, 12_000_000_013))


def change(seed):
    r = random.Random(seed)
    names = [os.path.join(t, n) for t, _, fs in os.walk("many") for n in fs]
    for k in range(60):
        what = r.randrange(12)
        n = r.choice(names) if names else None
        if what in (0, 1) or not n:
            n = f"many/new{seed}-{k}"
            put(n, r.randbytes(r.randrange(200000)))
            names.append(n)
        elif what == 2:
            os.unlink(n)
            names.remove(n)
        elif what == 3:
            to = r.choice(names)
            if to != n:
                os.rename(n, to)
                names.remove(n)
        elif what == 4:
            with open(n, "r+b") as f:
                f.truncate(r.randrange(100000))
        elif what == 5:
            with open(n, "r+b") as f:
                f.seek(r.randrange(300000))
                f.write(r.randbytes(r.randrange(70000)))
        elif what == 6:
            os.chmod(n, r.randrange(0o10000))
            os.chown(n, r.randrange(5000), r.randrange(5000))
        elif what == 7:
            os.setxattr(n, f"user.k{r.randrange(3)}", r.randbytes(9))
        elif what == 8:
            if not os.path.exists(n + "+"):
                os.link(n, n + "+")
                names.append(n + "+")
        elif what == 9:  # a directory is renamed, or exchanged with a file's name
            d = f"many/d{r.randrange(3)}"
            to = f"many/d{r.randrange(3)}"
            if not os.path.isdir(d):
                os.mkdir(d)
                put(d + "/in", r.randbytes(1000))
            elif d != to and not os.path.exists(to):
                os.rename(d, to)
                names = [x for x in names if not x.startswith(d + "/")]
        elif what == 10:  # two names are exchanged
            o = r.choice(names)
            if o != n:
                os.rename(n, "many/between")
                os.rename(o, n)
                os.rename("many/between", o)
        else:  # the same name, another kind
            os.unlink(n)
            names.remove(n)
            r.choice([lambda: os.mkdir(n), lambda: os.symlink("x", n), lambda: os.mkfifo(n)])()
        names = [x for x in names if os.path.isfile(x) and not os.path.islink(x)]
    with open("big", "r+b") as f:
        for _ in range(20):
            f.seek(r.randrange(4 << 20))
            f.write(r.randbytes(100))
    with open("holes", "r+b") as f:
        subprocess.run(["fallocate", "-p", "-o", str(5 << 20), "-l", "65536", "holes"], check=True)
        f.seek(r.randrange(60 << 20))
        f.write(b"in a hole")


make() if a.change is None else change(a.change)
