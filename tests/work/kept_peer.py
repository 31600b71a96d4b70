#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_peer.py - a server, and a client of another user that it has started: which user does the server see?"""
import argparse
import json
import os
import signal
import socket
import struct

parser = argparse.ArgumentParser()
parser.add_argument("--dir", required=True)
args = parser.parse_args()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind("\0kept-peer")
server.listen(1)
if os.fork() == 0:
    server.close()
    os.chdir("/")
    # for the moment of the connection: moving a process of another user takes CAP_SYS_RESOURCE
    os.setegid(4001)
    os.seteuid(4001)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect("\0kept-peer")
    os.seteuid(0)
    os.setegid(0)
    while client.recv(1):
        pass
    os._exit(0)
peer, _ = server.accept()
open(args.dir + "/ready", "w").close()
done = 0
while True:
    signal.sigwait([signal.SIGUSR1])
    done += 1
    _, uid, gid = struct.unpack("iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    faults = [] if (uid, gid) == (4001, 4001) else ["of user %d, group %d" % (uid, gid)]
    name = "%s/verify.%d" % (args.dir, done)
    with open(name + ".new", "w") as f:
        json.dump({"ok": not faults, "faults": faults}, f)
    os.rename(name + ".new", name)
