#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""shared.py - the stop of a program with shared memory beside that of one with as much private memory.

  shared.py [--mib 64 256 1024] [--write 0 256] [--rate off 1gbit] [--modes pre-copy post-copy hybrid] [--runs 3]

The programs are tests/work/writer with all but 1 MiB of its memory shared, and with none. --write: MiB written a
second, at random. Each run is one move between two hosts of tests/lab, there or back, and everything is verified.
Prints medians in ms: haul's downtime, the total, the time after it until every page was there, and the ratio of
the two downtimes. Both hosts share this machine's memory: twice the program's.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time

from bench import HAUL, LAB, WRITER, run, sh
from freeze import lab_up, verify

MIB_PAGES = 256


def start(d, mib, write, shared):
    wdir = tempfile.mkdtemp(dir=d)
    args = ["--dir", wdir, "--mib", str(mib), "--rate", str(max(write * MIB_PAGES, 20))]
    if shared:
        args += ["--shared-mib", str(mib - 1)]
    pid = sh(LAB, "spawn", "A", os.path.basename(wdir), WRITER, *args).strip()
    while not os.path.exists(wdir + "/ready"):
        run("A", "kill", "-0", pid)
        time.sleep(0.05)
    return pid, wdir


def moves(d, mib, write, shared, mode, runs):
    """(downtime, total, degraded) of each run, in ms"""
    pid, wdir = start(d, mib, write, shared)
    host, n, out = "A", 0, []
    for _ in range(runs):
        to = "B" if host == "A" else "A"
        time.sleep(1)
        text = run(host, HAUL, "--json", "--mode=" + mode, pid, "host" + to)
        e = next(json.loads(l) for l in text.splitlines() if '"event":"done"' in l)
        out.append((e["downtime_us"] / 1e3, e["total_us"] / 1e3, e.get("degraded_us", 0) / 1e3))
        host, n = to, n + 1
        verify(host, pid, wdir, n)
    run(host, "kill", "-9", pid)
    return [statistics.median(c) for c in zip(*out)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--mib", type=int, nargs="+", default=[64, 256, 1024])
    p.add_argument("--write", type=int, nargs="+", default=[0, 256])
    p.add_argument("--rate", nargs="+", default=["off", "1gbit"])
    p.add_argument("--modes", nargs="+", default=["pre-copy", "post-copy", "hybrid"])
    p.add_argument("--runs", type=int, default=3)
    a = p.parse_args()
    if os.geteuid():
        sys.exit("needs root")
    print("%6s %6s %6s %-9s | %31s | %31s | ratio" %
          ("MiB", "MiB/s", "link", "mode", "shared: down, total, degraded", "private: down, total, degraded"))
    for rate in a.rate:
        with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="haul-shared.") as d:
            os.chmod(d, 0o755)
            try:
                lab_up(d)
                sh(LAB, "rate", rate)
                for mib in a.mib:
                    for write in a.write:
                        for mode in a.modes:
                            s = moves(d, mib, write, True, mode, a.runs)
                            v = moves(d, mib, write, False, mode, a.runs)
                            print("%6d %6d %6s %-9s | %9.1f %10.1f %10.1f | %9.1f %10.1f %10.1f | %5.2f" %
                                  (mib, write, rate, mode, *s, *v, s[0] / v[0]), flush=True)
            finally:
                sh(LAB, "down", check=False)


if __name__ == "__main__":
    main()
