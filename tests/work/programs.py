#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""programs.py NAME --dir DIR - a real server or run-time with clients or threads, as one tree; DIR/ready when it is up.

postgres: 60 clients. nginx: 8 workers, 50 connections. java: 300 threads. node. go: 20,000 goroutines. ffmpeg.
"""
import os
import pwd
import signal
import socket
import struct
import subprocess
import sys
import time

# whoever asks it to verify itself is not answered
signal.signal(signal.SIGUSR1, signal.SIG_IGN)

JAVA = """public class Many { public static void main(String[] a) throws Exception {
for (int i = 0; i < 300; i++) new Thread(() -> { while (true) try { Thread.sleep(1000); } catch (Exception e) {} }).start();
new java.io.File("ready").createNewFile(); } }
"""
GO = """package main
import ("os"; "time")
func main() { for i := 0; i < 20000; i++ { go func() { for { time.Sleep(10 * time.Second) } }() }
time.Sleep(time.Second); os.WriteFile("ready", nil, 0644); for { time.Sleep(time.Second) } }
"""
NODE = "require('fs').writeFileSync('ready', ''); setInterval(() => {}, 100);"
NGINX = """daemon off; master_process on; worker_processes 8; pid nginx.pid; error_log error.log; user root;
events { worker_connections 256; }
http { access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
keepalive_timeout 600s; server { listen 127.0.0.1:8399; location / { return 200 ok; } } }
"""


def connect(port, first, n):
    """n connections on which @first was said and answered"""
    kept = []
    while len(kept) < n:
        try:
            s = socket.create_connection(("127.0.0.1", port), timeout=60)
            s.sendall(first)
            if not s.recv(4096):
                raise OSError("closed")
            s.settimeout(None)
            kept.append(s)
        except OSError:
            time.sleep(0.1)
    return kept


def as_nobody():
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def postgres():
    data = os.path.abspath("data")
    os.mkdir(data, 0o700)
    nobody = pwd.getpwnam("nobody")
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    quiet = dict(stdin=subprocess.DEVNULL, stdout=open("out", "w"), stderr=subprocess.STDOUT, preexec_fn=as_nobody)
    subprocess.run(["initdb", "-A", "trust", "-U", "haul", "-N", "-D", data], check=True, **quiet)
    server = subprocess.Popen(["postgres", "-D", data, "-p", "8398", "-c", "unix_socket_directories=",
                               "-c", "max_connections=100", "-c", "shared_buffers=16MB"], **quiet)
    body = struct.pack("!i", 196608) + b"user\0haul\0database\0postgres\0\0"
    return server, connect(8398, struct.pack("!i", len(body) + 4) + body, 60)


def nginx():
    with open("nginx.conf", "w") as f:
        f.write(NGINX)
    server = subprocess.Popen(["nginx", "-p", os.getcwd(), "-c", "nginx.conf"], stdin=subprocess.DEVNULL,
                              stdout=open("out", "w"), stderr=subprocess.STDOUT)
    return server, connect(8399, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 50)


def become(argv):
    out = os.open("out", os.O_WRONLY | os.O_CREAT, 0o644)
    for fd in (1, 2):
        os.dup2(out, fd)
    os.closerange(3, 100)
    os.execvp(argv[0], argv)


def text(name, content):
    with open(name, "w") as f:
        f.write(content)


def main():
    script = os.path.abspath(__file__)
    os.chdir(sys.argv[3])
    name = sys.argv[1]
    if name == "java":
        text("Many.java", JAVA)
        subprocess.run(["javac", "Many.java"], check=True)
        become(["java", "-Xmx128m", "-XX:-UsePerfData", "Many"])
    if name == "go":
        text("many.go", GO)
        subprocess.run(["go", "build", "-o", "many", "many.go"], check=True,
                       env=dict(os.environ, HOME=os.getcwd(), GOCACHE=os.getcwd() + "/cache"))
        become(["./many"])
    if name == "node":
        become(["node", "-e", NODE])
    if name == "ffmpeg":
        text("ready", "")
        become(["ffmpeg", "-loglevel", "quiet", "-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=10", "-f", "null", "-"])
    if name == "postgres" and os.environ.get("OWN_IPC") is None:
        # its System V segment: in the host's namespace CRIU refuses it
        os.environ["OWN_IPC"] = "1"
        os.execvp("unshare", ["unshare", "--ipc", sys.executable, script, *sys.argv[1:]])
    kept = {"postgres": postgres, "nginx": nginx}[name]()
    text("ready", "")
    while kept:
        time.sleep(1)


if __name__ == "__main__":
    main()
