#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""memcached-load.py - kvload for a memcached server."""
import sys

sys.dont_write_bytecode = True     # leaves nothing beside the sources
import kvload


class Memcached:
    @staticmethod
    def encode_set(key, value):
        return b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value)

    @staticmethod
    def read_ack(conn):
        line = conn.line()
        if line != b"STORED":
            raise kvload.Broken(line.decode(errors="replace"))

    @staticmethod
    def get(conn, keys):
        conn.send(b"get " + b" ".join(keys) + b"\r\n")
        found = {}
        while True:
            part = conn.line().split()
            if part == [b"END"]:
                return found
            if len(part) < 4 or part[0] != b"VALUE":
                raise kvload.Broken(b" ".join(part).decode(errors="replace"))
            found[part[1]] = conn.block(int(part[3]))


if __name__ == "__main__":
    kvload.main(Memcached, 11211)
