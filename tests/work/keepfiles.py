#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""keepfiles.py - files under the hands of a process: a log that grows at full speed, blocks
written in place, a shared mapping, files without a name, offsets, locks; all with a copy in memory."""
import argparse
import fcntl
import hashlib
import json
import mmap
import os
import random
import signal
import struct
import time

BLOCK = 4096
MAP_BLOCKS = 256
DATA_BLOCKS = 2048
LINE = "%012d a line of the log\n"


class Work:
    def __init__(self, args):
        self.args = args
        self.asked = self.done = self.lines = self.turns = 0
        self.ending = False
        self.rand = random.Random(7)
        signal.signal(signal.SIGUSR1, self.on_verify)
        signal.signal(signal.SIGTERM, self.on_end)
        where = args.data
        self.log = os.open(f"{where}/log/app.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self.data = os.open(f"{where}/data", os.O_RDWR | os.O_CREAT, 0o600)
        self.data_copy = bytearray(DATA_BLOCKS * BLOCK)
        os.ftruncate(self.data, len(self.data_copy))
        self.map_fd = os.open(args.map or f"{where}/map", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self.map_fd, MAP_BLOCKS * BLOCK)
        self.map = mmap.mmap(self.map_fd, MAP_BLOCKS * BLOCK)
        self.map_copy = bytearray(MAP_BLOCKS * BLOCK)
        self.conf = os.open(f"{where}/conf", os.O_RDONLY)
        self.conf_copy = os.read(self.conf, 5)
        self.gone, self.gone_sum = self.nameless(f"{where}/gone", args.gone_mib)
        self.tmp, self.tmp_sum = self.nameless(None, 1)
        self.sparse = os.open(f"{where}/sparse", os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(self.sparse, 1 << 30)
        os.pwrite(self.sparse, b"middle", 700 << 20)
        self.locks(where)

    def nameless(self, path, mib):
        """A file with bytes and without a name, and the digest of what is in it."""
        if path:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            os.unlink(path)
        else:
            fd = os.open(self.args.data, os.O_RDWR | os.O_TMPFILE, 0o600)
        total = hashlib.sha256()
        for _ in range(mib):
            piece = self.rand.randbytes(1 << 20)
            total.update(piece)
            os.write(fd, piece)
        os.lseek(fd, 4711, os.SEEK_SET)
        return fd, total.digest()

    def locks(self, where):
        self.lock_fds = [os.open(f"{where}/lock.{k}", os.O_RDWR | os.O_CREAT, 0o600)
                         for k in ("flock", "posix", "ofd")]
        fcntl.flock(self.lock_fds[0], fcntl.LOCK_EX)
        for fd, command, start, length in ((self.lock_fds[1], fcntl.F_SETLK, 10, 10),
                                           (self.lock_fds[2], fcntl.F_OFD_SETLK, 0, 100)):
            fcntl.fcntl(fd, command, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start,
                                                 length, 0))

    def on_verify(self, _sig, _frame):
        self.asked += 1

    def on_end(self, _sig, _frame):
        self.ending = True

    def turn(self):
        for _ in range(200):
            os.write(self.log, (LINE % self.lines).encode())
            self.lines += 1
        for fd, copy, blocks in ((self.data, self.data_copy, DATA_BLOCKS),
                                 (None, self.map_copy, MAP_BLOCKS)):
            b = self.rand.randrange(blocks) * BLOCK
            piece = self.rand.randbytes(BLOCK)
            copy[b:b + BLOCK] = piece
            if fd is None:
                self.map[b:b + BLOCK] = piece
            else:
                os.pwrite(fd, piece, b)
        self.turns += 1

    @staticmethod
    def read_all(fd, size):
        out = bytearray()
        while len(out) < size + 1:
            piece = os.pread(fd, min(1 << 20, size + 1 - len(out)), len(out))
            if not piece:
                break
            out += piece
        return bytes(out)

    def faults(self):
        where = self.args.data
        with open(f"{where}/log/app.log", "rb") as f:
            text = f.read()
        if text != "".join(LINE % i for i in range(self.lines)).encode():
            yield f"the log has {len(text)} bytes, and {self.lines} lines were written"
        if not os.path.samestat(os.fstat(self.log), os.stat(f"{where}/log/app.log")):
            yield "the log under its name is another one"
        if self.read_all(self.data, len(self.data_copy)) != bytes(self.data_copy):
            yield "data differs"
        if self.map[:] != bytes(self.map_copy):
            yield "the mapping differs"
        if self.read_all(self.map_fd, len(self.map_copy)) != bytes(self.map_copy):
            yield "the mapped file differs"
        with open(self.args.map or f"{where}/map", "rb") as f:
            if f.read() != bytes(self.map_copy):
                yield "the mapped file differs under its name"
        if os.lseek(self.conf, 0, os.SEEK_CUR) != 5 or os.pread(self.conf, 5, 0) != self.conf_copy:
            yield "conf differs"
        for name, fd, total, mib in (("deleted file", self.gone, self.gone_sum, self.args.gone_mib),
                                     ("O_TMPFILE", self.tmp, self.tmp_sum, 1)):
            if os.lseek(fd, 0, os.SEEK_CUR) != 4711 or os.fstat(fd).st_nlink != 0:
                yield f"{name}: offset {os.lseek(fd, 0, os.SEEK_CUR)}, {os.fstat(fd).st_nlink} links"
            if hashlib.sha256(self.read_all(fd, mib << 20)).digest() != total:
                yield f"{name} differs"
        if os.fstat(self.sparse).st_size != 1 << 30 or os.pread(self.sparse, 6, 700 << 20) != b"middle":
            yield "the sparse file differs"
        if os.fstat(self.sparse).st_blocks > 4096:
            yield f"the sparse file takes {os.fstat(self.sparse).st_blocks} blocks"

    def verify(self):
        self.done += 1
        faults = list(self.faults())
        name = f"{self.args.dir}/verify.{self.done}"
        with open(name + ".new", "w", encoding="utf-8") as f:
            json.dump({"ok": not faults, "faults": faults, "lines": self.lines,
                       "turns": self.turns}, f)
        os.rename(name + ".new", name)

    def run(self):
        with open(f"{self.args.dir}/ready", "w", encoding="utf-8"):
            pass
        while not self.ending:
            self.turn()
            if self.done < self.asked:
                self.verify()
            time.sleep(0.001)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--dir", required=True)
    p.add_argument("--data", required=True)
    p.add_argument("--map", help="the mapped file; default: in the data directory")
    p.add_argument("--gone-mib", type=int, default=3)
    Work(p.parse_args()).run()


if __name__ == "__main__":
    main()
