#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""filekeeper.py - keeps files in --tree DIR busy: a log at full speed, SQLite in WAL mode, a
mapping, an unlinked file, an O_TMPFILE, a lock, names that come and go. SIGUSR1: verify all."""
import argparse, ctypes, fcntl, json, mmap, os, signal, sqlite3, struct, subprocess, sys, time

LOOK = """import sqlite3
db = sqlite3.connect("state.db")
print(db.execute("pragma integrity_check").fetchone()[0], end=" ")
print(*db.execute("select count(*), max(n) from t").fetchone())"""

p = argparse.ArgumentParser()
p.add_argument("--dir", required=True)
p.add_argument("--tree", required=True)
p.add_argument("--aio", action="store_true", help="write by native AIO, too; no event tells of it")
p.add_argument("--full", action="store_true", help="never rest; nearly all is the log")
a = p.parse_args()
os.makedirs(a.tree, exist_ok=True)
os.chdir(a.tree)
verifies = 0
asked = False


def ask(*_):
    global asked
    asked = True


signal.signal(signal.SIGUSR1, ask)

log = os.open("append.log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
log_n = 0
db = sqlite3.connect("state.db", isolation_level=None)
db.execute("pragma journal_mode=wal")
db.execute("pragma synchronous=normal")
db.execute("create table if not exists t (n integer primary key, v text)")
row = 0
fd_map = os.open("mapped", os.O_RDWR | os.O_CREAT, 0o600)
os.ftruncate(fd_map, 1 << 20)
area = mmap.mmap(fd_map, 1 << 20)
area_want = bytearray(1 << 20)
area[:] = bytes(area_want)  # no page faults from now on, which would set the time
mark = 0
gone = os.open("deleted", os.O_RDWR | os.O_CREAT, 0o600)
os.write(gone, b"still here" * 1000)
os.unlink("deleted")
temp = os.open(".", os.O_RDWR | os.O_TMPFILE, 0o600)
os.write(temp, b"never had a name" * 1000)
lock = os.open("lock", os.O_RDWR | os.O_CREAT, 0o600)
fcntl.lockf(lock, fcntl.LOCK_EX, 10)
half = os.open("offset", os.O_RDWR | os.O_CREAT, 0o600)
os.write(half, bytes(range(256)) * 64)
os.lseek(half, 777, os.SEEK_SET)
turn = 0
aio = os.open("aio", os.O_RDWR | os.O_CREAT, 0o600)
AIO_BYTES = 16 << 20
aio_want = bytearray(AIO_BYTES)
os.write(aio, aio_want)
libc = ctypes.CDLL(None, use_errno=True)
ring = ctypes.c_ulong(0)
if a.aio and libc.syscall(206, 8, ctypes.byref(ring)):  # io_setup
    raise OSError(ctypes.get_errno(), "io_setup")


def aio_write(data, at):
    buf = ctypes.create_string_buffer(data, len(data))
    # struct iocb: data, key, flags, opcode 1 (PWRITE), priority, fd, buffer, bytes, offset
    cb = ctypes.create_string_buffer(struct.pack("=QIIHhIQQq16x", 0, 0, 0, 1, 0, aio, ctypes.addressof(buf), len(data), at), 64)
    list_of = (ctypes.c_void_p * 1)(ctypes.addressof(cb))
    events = ctypes.create_string_buffer(64)
    if libc.syscall(209, ring, ctypes.c_long(1), list_of) != 1 or libc.syscall(208, ring, ctypes.c_long(1), ctypes.c_long(1), events, None) != 1:
        raise OSError(ctypes.get_errno(), "io_submit")


def line(n):
    return b"%015d\n" % n


def faults():
    bad = []
    data = open("append.log", "rb").read()
    if data != b"".join(line(n) for n in range(log_n)):
        bad.append(f"append.log: {len(data)} bytes, expected {log_n * 16}")
    # by another process: SQLite knows a file by its inode number, which is another one now, and
    # the locks of a process do not keep it from itself
    got = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True)
    if got.stdout.split() != ["ok", str(row), str(row)]:
        bad.append(f"state.db: {got.stdout} {got.stderr}, committed {row}")
    if area[:] != area_want:
        bad.append("memory of the mapping")
    with open("mapped", "rb") as f:
        if f.read() != area[:]:
            bad.append("mapped: file and memory differ")
    if os.pread(gone, 20000, 0) != b"still here" * 1000 or os.fstat(gone).st_nlink:
        bad.append("deleted file")
    if os.pread(temp, 20000, 0) != b"never had a name" * 1000:
        bad.append("O_TMPFILE")
    pid = os.fork()
    if pid == 0:
        try:
            fcntl.lockf(os.open("lock", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 10)
        except OSError:
            os._exit(0)
        os._exit(1)
    if os.waitpid(pid, 0)[1]:
        bad.append("lock is lost")
    if os.pread(aio, 2 * AIO_BYTES, 0) != aio_want:
        bad.append("what was written by AIO")
    if os.lseek(half, 0, os.SEEK_CUR) != 777:
        bad.append("offset is lost")
    if os.fstat(log).st_ino != os.stat("append.log").st_ino:
        bad.append("append.log is another file than the open one")
    names = {n for n in os.listdir("names")}
    if names != {f"n{k % 7}" for k in range(max(0, turn - 3), turn)}:
        bad.append(f"names: {sorted(names)} at turn {turn}")
    return bad


os.makedirs("names", exist_ok=True)
open(a.dir + "/ready", "w").close()
while True:
    for _ in range(1000 if a.full else 50):
        os.write(log, line(log_n))
        log_n += 1
    row += 1
    db.execute("insert into t values (?, ?)", (row, "x" * (row % 200)))
    mark += 1
    at = mark * 8 % (1 << 20)
    area[at : at + 8] = area_want[at : at + 8] = mark.to_bytes(8, "little")
    if a.aio:
        at = mark * 40503 * 8 % AIO_BYTES
        aio_write(mark.to_bytes(8, "little"), at)
        aio_want[at : at + 8] = mark.to_bytes(8, "little")
    with open("names/fresh", "w") as f:
        f.write(str(turn) * 100)
    os.rename("names/fresh", f"names/n{turn % 7}")
    if turn >= 3:
        os.unlink(f"names/n{(turn - 3) % 7}")
    turn += 1
    if asked:
        asked = False
        verifies += 1
        bad = faults()
        out = f"{a.dir}/verify.{verifies}"
        with open(out + ".new", "w") as f:
            json.dump({"ok": not bad, "faults": bad, "lines": log_n, "rows": row}, f)
        os.rename(out + ".new", out)
    if not a.full:
        time.sleep(0.001)
