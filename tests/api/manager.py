#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""manager.py HAULD DIR - does for hauld what systemd does, and looks at what it answers."""
import os
import signal
import socket
import subprocess
import sys
import time

from client import Api, SOCKET, expect

hauld, folder = sys.argv[1:3]
notify = folder + "/notify"
n = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
n.bind(notify)


def heard(limit_s=20):
    n.settimeout(limit_s)
    return n.recv(4096).decode()


def until(word, limit_s=20):
    """Messages up to one with @word."""
    end = time.time() + limit_s
    while time.time() < end:
        text = heard(max(0.1, end - time.time()))
        if word in text:
            return text
    raise SystemExit("FAIL: no %s" % word)


os.makedirs("/run/haul", exist_ok=True)
api_sock = socket.socket(socket.AF_UNIX)
api_sock.bind(SOCKET)
api_sock.listen(16)
peers = socket.socket()
peers.bind(("", 4999))
peers.listen(16)
log = open(folder + "/log", "ab")


def child():
    os.dup2(api_sock.fileno(), 3)
    os.dup2(peers.fileno(), 4)
    os.set_inheritable(3, True)
    os.set_inheritable(4, True)


# a client that comes before hauld does is served when it is there
early = socket.socket(socket.AF_UNIX)
early.connect(SOCKET)
early.sendall(b"GET /healthz HTTP/1.1\r\nHost: haul\r\nConnection: close\r\n\r\n")

env = dict(os.environ, NOTIFY_SOCKET=notify, LISTEN_FDS="2", LISTEN_FDNAMES="haul-api:haul-peers",
           WATCHDOG_USEC="3000000", JOURNAL_STREAM="1:1")
inode = os.stat(SOCKET).st_ino
own = "export LISTEN_PID=$$ WATCHDOG_PID=$$; exec " + hauld + " -v"
p = subprocess.Popen(["sh", "-c", own], stderr=log, env=env, preexec_fn=child, close_fds=False)
until("READY=1")
early.settimeout(10)
expect("a client that was there first", early.recv(4096).split(b"\r\n")[0], b"HTTP/1.1 200 OK")
expect("the API's socket is the one that was passed", os.stat(SOCKET).st_ino, inode)
c = socket.create_connection(("127.0.0.1", 4999))
c.close()
with open("/proc/%d/net/tcp" % p.pid) as f:
    expect("no port of its own", any(":10BD " in line and " 0A " in line for line in f), False)  # 4285
print("  sockets that were passed are served, also to who came first")

t = time.time()
for _ in range(5):
    until("WATCHDOG=1", 5)
expect("five beats for the watchdog within 3 s each", time.time() - t < 15, True)

for _ in range(5):
    p.send_signal(signal.SIGHUP)
    until("RELOADING=1")
    for _ in range(200):  # while one process goes and another comes: no request is lost
        expect("it serves meanwhile", Api().get("/healthz").status, 200)
    until("READY=1")
print("  READY, WATCHDOG, RELOADING")


def api_pid():
    out = subprocess.run(["pgrep", "-x", "hauld-api"], stdout=subprocess.PIPE, text=True).stdout.split()
    return int(out[0]) if len(out) == 1 else 0


hung = api_pid()
os.kill(hung, signal.SIGSTOP)
end = time.time() + 60
while time.time() < end and api_pid() in (hung, 0):
    time.sleep(0.5)  # meanwhile nobody reads what hauld notifies: it must not wait for that
expect("an API process that hangs is another one a while later", api_pid() not in (hung, 0), True)
expect("and serves", Api().get("/healthz").status, 200)
print("  an API process that hangs is killed and started again")

n.setblocking(False)
try:
    while n.recv(4096):
        pass
except BlockingIOError:
    pass
p.send_signal(signal.SIGTERM)
until("STOPPING=1")
expect("it ends", p.wait(20), 0)
log.flush()
lines = open(folder + "/log").read().splitlines()
kept = [l for l in lines if not l.startswith("hauld:")]
expect("lines for the journal begin with their level", [l for l in kept if not l.startswith("<")], [])
expect("some were written", len(kept) > 3, True)
print("  STOPPING; %d lines for the journal" % len(kept))
