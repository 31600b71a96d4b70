#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tcp.py - what clients on a third host notice of a move, beside the downtime that haul reports.

  downtime   haul's: from the stop to the word that it runs
  pause      the longest time without an answer, of each client; the median and the longest of them
  over       the median pause of a move less its downtime; the aim is 50 ms at most, at the median
  timeouts   retransmission time-outs on the clients' host (TcpExt TCPTimeouts)

Each move is there or back, with clients of its own. Nothing else should run meanwhile.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("HAUL_AGENT", "none")  # haul itself, not hauld for it
LAB = os.path.join(TOP, "tests/lab")
HAUL, HAULD = os.path.join(TOP, "haul"), os.path.join(TOP, "hauld")
SERVER, CLIENT = (os.path.join(TOP, "tests/work", p) for p in ("netserve.py", "netclient.py"))

# name, server, arguments of the clients
LOADS = {
    "echo-1": ("echo", ["--clients", "1", "--depth", "1"]),
    "echo-50": ("echo", ["--clients", "50", "--depth", "1", "--every", "0.002"]),
    "redis-20": ("redis", ["--clients", "20", "--depth", "16", "--every", "0.002"]),
    "redis-200": ("redis", ["--clients", "200", "--depth", "16", "--every", "0.005"]),
    "redis-2000": ("redis", ["--clients", "2000", "--depth", "1", "--every", "0.02"]),
}


def sh(*cmd):
    r = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode:
        sys.exit("%s: %s" % (" ".join(cmd), r.stdout))
    return r.stdout


def run(host, *cmd):
    return sh(LAB, "run", host, *cmd)


def lab_up(d):
    sh(LAB, "up", "--hosts", "3")
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d + "/id")
    for h in "AB":
        run(h, "cp", d + "/id", "/etc/haul/id_ed25519")
        run(h, "cp", d + "/id.pub", "/etc/haul/authorized_keys")
        subprocess.Popen([LAB, "run", h, "setsid", HAULD], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.7)
    run("A", HAUL, "trust", "-y", "hostB")
    run("B", HAUL, "trust", "-y", "hostA")
    address = sh(LAB, "addr", "A").rsplit(".", 1)[0] + ".99"
    run("A", "ip", "addr", "add", address + "/24", "dev", "eth0")
    return address


def serve(d, kind, address):
    if kind == "redis":
        cmd = ["redis-server", "--port", "6379", "--bind", address, "--save", "", "--appendonly", "no",
               "--dir", d, "--protected-mode", "no", "--maxclients", "15000"]
    else:
        cmd = [SERVER, "--address", address, "--dir", d]
    pid = sh(LAB, "spawn", "A", kind, *cmd).strip()
    time.sleep(1)
    return pid


def timeouts():
    lines = [l.split() for l in run("C", "cat", "/proc/net/netstat").splitlines() if l.startswith("TcpExt:")]
    return int(lines[1][lines[0].index("TCPTimeouts")])


def move(pid, src, dst, address, kind, args, mode, seconds):
    """One move under load: downtime and pauses in ms"""
    before = timeouts()
    c = subprocess.Popen([LAB, "run", "C", "python3", CLIENT, kind, address, "--port",
                          "6379" if kind == "redis" else "7000", "--seconds", str(seconds), *args],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    time.sleep(seconds / 2)
    out = run(src, HAUL, "--json", "--mode", mode, "--move-address", address, pid, "host" + dst)
    done = next(e for e in map(json.loads, out.splitlines()) if e.get("event") == "done")
    seen = json.loads(c.communicate()[0].splitlines()[-1])
    if not seen["ok"]:
        sys.exit("a client noticed: %s" % seen)
    return done["downtime_us"] / 1e3, seen["pause_p50_ms"], seen["pause_ms"], timeouts() - before


def measure(d, o, name, mode):
    kind, args = LOADS[name]
    address = lab_up(d)
    rows, here, there = [], "A", "B"
    try:
        pid = serve(d, kind, address)
        for _ in range(o.moves):
            rows.append(move(pid, here, there, address, kind, args, mode, o.seconds))
            here, there = there, here
    finally:
        sh(LAB, "down")
        for f in ("id", "id.pub"):
            os.unlink(os.path.join(d, f))
    med = statistics.median
    print("%-11s %-10s %8.1f %10.1f %10.1f %8.1f %9d" % (
        name, mode, med(r[0] for r in rows), med(r[1] for r in rows), max(r[2] for r in rows),
        med(r[1] - r[0] for r in rows), sum(r[3] for r in rows)), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--moves", type=int, default=6)
    p.add_argument("--seconds", type=float, default=4, help="of load for each move")
    p.add_argument("--modes", nargs="+", default=["stop-copy", "auto"])
    p.add_argument("--loads", nargs="+", default=list(LOADS), choices=list(LOADS))
    o = p.parse_args()
    os.environ.setdefault("LAB", "tcpbench")
    d = tempfile.mkdtemp(prefix="haul-tcp-bench.", dir="/var/tmp")
    os.chmod(d, 0o777)
    print("%-11s %-10s %8s %10s %10s %8s %9s" % ("load", "mode", "downtime", "pause", "longest", "over", "timeouts"))
    print("%-11s %-10s %8s %10s %10s %8s" % ("", "", "ms, med.", "ms, med.", "ms", "ms, med."))
    try:
        for name in o.loads:
            for mode in o.modes:
                measure(d, o, name, mode)
    finally:
        shutil.rmtree(d)


if __name__ == "__main__":
    main()
