#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""redis-load.py - kvload for a Redis server."""
import sys

sys.dont_write_bytecode = True     # leaves nothing beside the sources
import kvload


def command(*parts):
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class Redis:
    @staticmethod
    def encode_set(key, value):
        return command(b"SET", key, value)

    @staticmethod
    def read_ack(conn):
        line = conn.line()
        if line != b"+OK":
            raise kvload.Broken(line.decode(errors="replace"))

    @staticmethod
    def get(conn, keys):
        conn.send(command(b"MGET", *keys))
        head = conn.line()
        if head != b"*%d" % len(keys):
            raise kvload.Broken(head.decode(errors="replace"))
        found = {}
        for key in keys:
            size = int(conn.line()[1:])
            if size >= 0:
                found[key] = conn.block(size)
        return found


if __name__ == "__main__":
    kvload.main(Redis, 6379)
