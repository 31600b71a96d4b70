#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tcpeach.py - both sides of t-tcp-each.

program ADDR:PORT...   listens on port 7000 of all addresses, echoes; holds one connection within itself, and one to
                       each ADDR:PORT. DIR/state has a line for each connection that was made, and how each one ended.
connect ADDR [idle]    a client of it: says how its connection ended; until DIR/enough exists it asks again and again
serve ADDR PORT        accepts connections, and says how they end
"""
import argparse
import os
import signal
import socket
import threading

import answers


def how(e):
    return "reset" if isinstance(e, ConnectionError) else "error %s" % e


def until_end(s):
    """Blocked in a read, as most programs are."""
    try:
        while s.recv(4096):
            pass
        return "end"
    except OSError as e:
        return how(e)


class Program:
    def __init__(self, where, peers):
        self.dir, self.lock, self.incoming = where, threading.Lock(), 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("", 7000))
        self.listener.listen(16)
        inner = socket.create_server(("127.0.0.1", 0))
        self.a = socket.create_connection(inner.getsockname())
        self.b = inner.accept()[0]
        inner.close()
        for p in peers:
            host, port = p.rsplit(":", 1)
            s = socket.create_connection((host, int(port)))
            threading.Thread(target=self.watch, args=(s, "to " + port), daemon=True).start()
        threading.Thread(target=self.accept, daemon=True).start()

    def say(self, text):
        with self.lock, open(self.dir + "/state", "a") as f:
            f.write(text + "\n")

    def watch(self, s, name):
        self.say("made " + name)
        self.say("%s: %s" % (name, until_end(s)))

    def accept(self):
        while True:
            s = self.listener.accept()[0]
            threading.Thread(target=self.echo, args=(s,), daemon=True).start()
            self.incoming += 1
            self.say("incoming %d" % self.incoming)

    def echo(self, s):
        name = "at " + s.getsockname()[0]
        try:
            while True:
                d = s.recv(4096)
                if not d:
                    return self.say(name + ": end")
                s.sendall(d)
        except OSError as e:
            self.say("%s: %s" % (name, how(e)))

    def verify(self):
        try:
            self.a.sendall(b"across")
            if self.b.recv(100) != b"across":
                return ["within: another text"]
            return []
        except OSError as e:
            return ["within: %s" % how(e)]


def connect(where, addr, idle):
    s = socket.create_connection((addr, 7000))
    print("ready", flush=True)
    if idle:
        return print(until_end(s), flush=True)
    n = 0
    while not os.path.exists(where + "/enough"):
        n += 1
        try:
            s.sendall(b"%d\n" % n)
            d = s.recv(100)
        except OSError as e:
            return print(how(e), flush=True)
        if d != b"%d\n" % n:
            return print("end" if not d else "another answer", flush=True)
    print("fine", flush=True)


def serve(addr, port):
    listener = socket.create_server((addr, port))
    print("ready", flush=True)
    while True:
        s = listener.accept()[0]
        print("accepted", flush=True)
        threading.Thread(target=lambda c=s: print(until_end(c), flush=True), daemon=True).start()


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
parser = argparse.ArgumentParser()
parser.add_argument("--dir")
parser.add_argument("what")
parser.add_argument("args", nargs="*")
o = parser.parse_args()
if o.what == "program":
    p = Program(o.dir, o.args)
    answers.serve(o.dir, p.verify)
elif o.what == "connect":
    connect(o.dir, o.args[0], "idle" in o.args)
else:
    serve(o.args[0], int(o.args[1]))
