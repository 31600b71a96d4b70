#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""phases.py - one program that initialises, computes and is idle, migrated in each phase:
without pre-copy (stop-copy), with it (pre-copy), and as haul decides (auto).

The program (tests/work/writer --phases) fills its memory in order, faster than the link carries
it; then writes pages of a small part at random; then next to nothing. It is migrated 2 s after
the phase began.

  downtime   the program's longest gap around the move
  lost       writes that were not done at the program's own pace, as time: the downtime and
             whatever made it slower, until 2 s after the move
  total      from the command to its end, all pages in place
  cost       lost + 0.2 x total: what the default policy makes small (there: downtime, and half
             of the time in post-copy), here measured at the program
  /better    cost over that of the better of stop-copy and pre-copy
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench  # noqa: E402

TOTAL_WEIGHT = 0.2
PHASES = ("initialise", "compute", "idle")
MODES = ("stop-copy", "pre-copy", "auto")
WORST = 1.10


def start(d, a, phase):
    """The writer, 2 s into @phase."""
    wdir = tempfile.mkdtemp(dir=d)
    pages = a.mib * 256
    compute = 2 if phase == "idle" else a.compute_s
    pid = bench.sh(bench.LAB, "spawn", "A", os.path.basename(wdir), bench.WRITER, "--dir", wdir, "--mib", str(a.mib),
                   "--rate", str(a.writes), "--hot-percent", str(a.hot_percent), "--phases", str(compute * a.writes),
                   "--stats", "stats").strip()
    while not os.path.exists(wdir + "/ready"):
        time.sleep(0.05)
    time.sleep(2 + (0 if phase == "initialise" else pages / a.writes * 1.1) + (compute * 1.1 if phase == "idle" else 0))
    return pid, wdir


def lost_s(rows, start_us, end_us, longest_us):
    """Of the writes at the pace of the 1.5 s before."""
    base = bench.speed(rows, start_us - 1_500_000, start_us - 10_000)
    if base < 1000:  # idle: nothing but the gap can be seen
        return longest_us / 1e6
    return max((end_us - start_us) / 1e6 - sum(r[2] for r in rows if start_us <= r[0] < end_us) / base, 0)


def one(d, a, phase, mode):
    pid, wdir = start(d, a, phase)
    start_us = time.time() * 1e6
    rx0, t0 = bench.rx_bytes("B"), time.monotonic()
    rep = bench.haul(mode, pid, d, "--freeze-limit-ms=120000")
    total = time.monotonic() - t0
    wire = bench.rx_bytes("B") - rx0
    time.sleep(2.2)
    bench.verify("B", pid, wdir)
    rows = bench.read_stats(wdir)
    down = max(r[3] for r in rows if r[0] + r[1] >= start_us)
    lost = lost_s(rows, start_us, start_us + (total + 2) * 1e6, down)
    bench.run("B", "kill", "-9", pid, check=False)
    time.sleep(0.5)
    return {"phase": phase, "mode": mode, "downtime_s": down / 1e6, "lost_s": lost, "total_s": total, "wire": wire,
            "rounds": rep.get("rounds", 0), "post_copy_pages": rep.get("remote_pages", 0),
            "cost_s": lost + TOTAL_WEIGHT * total}


def table(d, a, phase, out):
    rows = {m: [] for m in MODES}
    for _ in range(a.runs):
        for m in MODES:  # in turns: the machine has its moods
            rows[m].append(one(d, a, phase, m))
    out += [r for m in MODES for r in rows[m]]
    cost = {m: statistics.median(r["cost_s"] for r in rows[m]) for m in MODES}
    better = min(cost["stop-copy"], cost["pre-copy"])
    for m in MODES:
        med = {k: statistics.median(r[k] for r in rows[m]) for k in rows[m][0] if k not in ("phase", "mode")}
        print("%-11s %-10s %8.3f s %7.2f s %7.2f s %7.0f %7.0f %9.0f %8.2f s %8.2f" %
              (phase if m == MODES[0] else "", m, med["downtime_s"], med["lost_s"], med["total_s"], med["wire"] / 1048576,
               med["rounds"], med["post_copy_pages"], cost[m], cost[m] / better), flush=True)
    return cost["auto"] / better


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--mib", type=int, default=512)
    ap.add_argument("--link", default="200mbit")
    ap.add_argument("--writes", type=int, default=20000, help="pages a second")
    ap.add_argument("--hot-percent", type=int, default=4)
    ap.add_argument("--compute-s", type=int, default=60)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--phases", nargs="+", default=list(PHASES), choices=PHASES)
    ap.add_argument("--json", help="write all single results to this file")
    a = ap.parse_args()
    os.environ["LAB"] = "phases"
    out, worst = [], 0
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="haul-bench.") as d:
        os.chmod(d, 0o755)
        try:
            bench.lab_up(d)
            bench.sh(bench.LAB, "rate", a.link)
            print("%d MiB at %d pages a second, link %s, median of %d" % (a.mib, a.writes, a.link, a.runs))
            print("%-11s %-10s %10s %9s %9s %7s %7s %9s %10s %8s" %
                  ("phase", "", "downtime", "lost", "total", "MiB", "rounds", "post-copy", "cost", "/better"), flush=True)
            for phase in a.phases:
                worst = max(worst, table(d, a, phase, out))
        finally:
            bench.sh(bench.LAB, "down", check=False)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(out, f, indent=1)
    print("auto at worst: %.2f times the better of the two (%s)" % (worst, "good" if worst <= WORST else "MISSED: more than 1.10"))


if __name__ == "__main__":
    main()
