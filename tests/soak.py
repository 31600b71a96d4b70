#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""soak.py [--rounds N] [--every K] [--redis-every R] - moves there and back, and nothing grows.

N times (300) there and back between two hosts of tests/lab, in changing modes; the process
checks all its memory after each. Every R rounds (10) a redis-server moves too, under load,
and every key that it has acknowledged must be there. After every K rounds (10), when all is
quiet, both hosts are counted: processes and zombies, their namespaces, mounts, tables of
nf_tables, cgroups, addresses, files in /run and /dev/shm; memory, descriptors and threads of
hauld; descriptors, mappings and threads of the process itself. A count that is higher than
the first one, or a hauld that has grown, ends it with status 1.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("HAUL_AGENT", "none")  # haul itself, not hauld for it
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("HAUL_BUILDDIR", TOP)
LAB = os.environ.get("HAUL_LAB", TOP + "/tests/lab")
MODES = ["stop-copy", "pre-copy", "post-copy", "hybrid", "auto"]
OTHER = {"A": "B", "B": "A"}
RSS_KIB_MAX = 1024  # what hauld may have grown, its allocator's mood included

# Prints key=value for one host, as root there; $1: the hauld, $2: the process, or 0
COUNT = r"""
shopt -s nullglob
echo processes=$(ls -d /proc/[0-9]* | wc -l)
echo zombies=$(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ')
echo namespaces=$(readlink /proc/[0-9]*/ns/* | sort -u | wc -l)
echo mounts=$(wc -l </proc/self/mountinfo)
echo nft_tables=$(nft list tables 2>/dev/null | wc -l)
echo addresses=$(ip -o addr | wc -l)
echo run_files=$(find /run /dev/shm | grep -v '^/run/user' | wc -l)
for who in hauld:$1 process:$2; do
	p=${who#*:} who=${who%:*}
	[ -d /proc/$p/fd ] && [ $p != 0 ] || continue
	echo ${who}_fds=$(ls /proc/$p/fd | wc -l)
	echo ${who}_maps=$(wc -l </proc/$p/maps)
	echo ${who}_threads=$(ls /proc/$p/task | wc -l)
	[ $who != hauld ] || echo hauld_rss_kib=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' /proc/$p/status)
done
"""


def sh(*cmd, check=True, **kw):
    r = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if check and r.returncode:
        raise RuntimeError("%s: %s" % (" ".join(cmd), r.stdout))
    return r.stdout


def on(host, *cmd, **kw):
    return sh(LAB, "run", host, *cmd, **kw)


class Soak:
    def __init__(self, d):
        self.d = d
        self.hauld = {}
        self.routes = []
        self.verified = 0
        sh(LAB, "up")
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d + "/id")
        for h in "AB":
            on(h, "cp", d + "/id", "/etc/haul/id_ed25519")
            on(h, "cp", d + "/id.pub", "/etc/haul/authorized_keys")
            log = open("%s/hauld.%s.log" % (d, h), "w")
            subprocess.Popen([LAB, "run", h, "setsid", BUILD + "/hauld", "-v"], stdin=subprocess.DEVNULL, stdout=log,
                             stderr=log)
            self.hauld[h] = self.listener(h)
        for h in "AB":
            on(h, BUILD + "/haul", "trust", "-y", "host" + OTHER[h])
        self.wdir = d + "/writer"
        os.mkdir(self.wdir)
        os.chmod(self.wdir, 0o777)
        self.pid = sh(LAB, "spawn", "A", "writer", BUILD + "/tests/work/writer", "--dir", self.wdir, "--mib", "8",
                      "--rate", "2000").strip()
        self.wait(lambda: os.path.exists(self.wdir + "/ready"), "the writer is not ready")
        self.redis = None

    @staticmethod
    def wait(what, why, seconds=120):
        for _ in range(seconds * 50):
            r = what()
            if r:
                return r
            time.sleep(0.02)
        raise RuntimeError(why)

    def listener(self, host):
        def look():
            m = re.search(r"pid=(\d+)", on(host, "ss", "-Hltnp", "sport = :4285", check=False))
            return m and m.group(1)
        return self.wait(look, "hauld on %s does not listen" % host)

    # ---- moving

    def move(self, pid, src, mode):
        text = on(src, BUILD + "/haul", "--json", "--mode=" + mode, *os.environ.get("HAUL_OPTIONS", "").split(), pid,
                  "host" + OTHER[src])
        m = re.search(r'"migration": *"([0-9a-f]{16})"', text) if '"event":"done"' in text else None
        if not m:
            raise RuntimeError("no report of success: " + text)
        self.routes.append(m.group(1))

    def verify(self, host):
        self.verified += 1
        path = "%s/verify.%d" % (self.wdir, self.verified)
        on(host, "kill", "-USR1", self.pid)
        self.wait(lambda: os.path.exists(path) and os.path.getsize(path), "no answer from the writer on " + host)
        v = json.load(open(path))
        os.unlink(path)
        if not v["ok"] or os.path.exists(self.wdir + "/failed"):
            raise RuntimeError("wrong pages on %s: %s" % (host, v))

    def there_and_back(self, i):
        for k, src in enumerate("AB"):
            self.move(self.pid, src, MODES[(2 * i + k) % len(MODES)])
            self.verify(OTHER[src])

    def redis_there_and_back(self, i):
        load, data = TOP + "/tests/work/redis-load.py", self.d + "/redis"
        args = ["--host", "127.0.0.1", "--port", "6379", "--record", self.d + "/acked"]
        os.makedirs(data, exist_ok=True)
        os.chmod(data, 0o777)
        pid = sh(LAB, "spawn", "A", "redis", "redis-server", "--port", "6379", "--save", "", "--appendonly", "no",
                 "--dir", data, "--protected-mode", "no").strip()
        self.wait(lambda: "PONG" in on("A", "redis-cli", "ping", check=False), "redis does not answer")
        for k, src in enumerate("AB"):
            client = subprocess.Popen([LAB, "run", src, sys.executable, load, "load", *args],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(1)
            self.move(pid, src, MODES[(i + k) % len(MODES)])
            client.wait()
            on(OTHER[src], sys.executable, load, "check", *args)
        on("A", "kill", "-9", pid)

    # ---- counting

    def count(self):
        out = {}
        # the way to a process that was moved leads through its old host's init, which reaps it
        for h in "AB":
            text = on(h, "bash", "-c", COUNT, "count", self.hauld[h], self.pid if h == "A" else "0")
            for line in text.split():
                key, v = line.split("=")
                out["%s %s" % (h, key)] = int(v)
        cgroups = sh("find", "/sys/fs/cgroup", "-name", "haul-*", check=False)
        out["cgroups"] = sum(r in cgroups for r in self.routes)
        return out

    def quiet(self, first):
        """the last worker ends a moment after haul does, on a busy machine a longer one"""
        last = None
        for _ in range(100):
            now = self.count()
            if last == now and not (first and compare(first, now)):
                return now
            last = now
            time.sleep(0.3)
        return last


def compare(first, now):
    worse = []
    for key, v in sorted(now.items()):
        room = RSS_KIB_MAX if key.endswith("rss_kib") else 0
        if v > first.get(key, 0) + room:
            worse.append("%s: %d, was %d" % (key, v, first.get(key, 0)))
    return worse


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--rounds", type=int, default=300)
    a.add_argument("--every", type=int, default=10)
    a.add_argument("--redis-every", type=int, default=10)
    o = a.parse_args()
    os.environ.setdefault("LAB", "soak%d" % os.getpid())
    d = tempfile.mkdtemp(prefix="haul-soak.", dir="/var/tmp")
    os.chmod(d, 0o755)
    first, worse = None, []
    try:
        s = Soak(d)
        for i in range(1, o.rounds + 1):
            s.there_and_back(i)
            if o.redis_every and i % o.redis_every == 0:
                s.redis_there_and_back(i)
            if i % o.every and i != o.rounds:
                continue
            now = s.quiet(first)
            # what is made once is there after the first rounds
            first = first or now
            worse = compare(first, now)
            print("%4d there and back: %s%s" % (i, " ".join("%s=%d" % (k.replace(" ", "."), v) for k, v in
                                                             sorted(now.items())), "" if not worse else "  GROWN"),
                  flush=True)
            if worse:
                break
        print("%d migrations, every page verified after each" % len(s.routes))
    finally:
        sh(LAB, "down", check=False)
        if first is None or worse:
            for h in "AB":
                print(sh("tail", "-5", "%s/hauld.%s.log" % (d, h), check=False))
        sh("rm", "-rf", d)
    for w in worse:
        print("GROWN " + w)
    return 1 if worse else 0


sys.exit(main())
