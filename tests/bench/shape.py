#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""shape.py - how long programs of many shapes are stopped: haul beside plain CRIU, the goal, and what haul predicted.

  shape.py --json FILE [--runs 3] [--groups processes files ...] [--most N]    measure, append to FILE
  shape.py --json FILE --draw docs/shape.svg                                   table and plot of FILE
  shape.py --profile [--groups processes files ...]                            CRIU's system calls, by kind

Each row is one program between two hosts of tests/lab, moved there and back --runs times; the link has no limit. Then
the same program is dumped and restored by hand (criu dump, criu restore, images on the local disk, nothing carried),
as often. downtime is haul's own figure, plain the time of both commands; all in ms, medians. predicted is what haul
expected before the stop. goal is what docs/FREEZE.md wants for such a shape. Programs of tests/work verify
themselves after the last move; of the others it is checked that they run. A program that is not installed is left out.
Wants a quiet machine; all of it takes about an hour.
"""
import argparse
import collections
import json
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from bench import CRIU, HAUL, LAB, TOP, run, sh
from freeze import Svg, lab_up

SHAPE = os.path.join(TOP, "tests/work/shape")
PROGRAMS = os.path.join(TOP, "tests/work/programs.py")
LIMIT_MS = 300000
OPTIONS = ["--tcp-established", "--file-locks", "--link-remap"]

# what is made, and the sizes
SHAPES = {
    "processes": (lambda n: ["--children", n - 1], [1, 8, 32, 128, 500]),
    "processes-20": (lambda n: ["--children", n - 1, "--threads", 20], [1, 8, 32, 128]),
    "threads": (lambda n: ["--threads", n], [1, 64, 512, 2000, 5000]),
    # in processes of at most 10,000 each: hosts limit them
    "files": (lambda n: ["--files", min(n, 10000), "--children", max(0, n // 10000 - 1)], [10, 1000, 10000, 50000]),
    "mappings": (lambda n: ["--mappings", n], [100, 5000, 20000, 60000]),
    "connections": (lambda n: ["--connections", n], [2, 100, 2000, 5000]),
}
REAL = ["postgres", "nginx", "java", "node", "go", "ffmpeg"]
# ms: a program, and each process, thread, file, mapping, socket of it
GOAL = dict(base=40, tasks=1.5, threads=0.15, files=0.01, maps=0.005, tcp=0.05)
NEEDS = {"postgres": "initdb", "nginx": "nginx", "java": "javac", "node": "node", "go": "go", "ffmpeg": "ffmpeg"}


# ---- what a program is made of ----

def tree(pid):
    pids = [pid]
    for p in pids:
        for t in os.listdir("/proc/%d/task" % p):
            with open("/proc/%d/task/%s/children" % (p, t)) as f:
                pids += [int(c) for c in f.read().split()]
    return pids


def count(host, pid):
    """processes, threads besides the first of each, descriptors, mappings, TCP sockets"""
    c = collections.Counter()
    for p in tree(int(sh(LAB, "pid", host, str(pid)))):
        c["tasks"] += 1
        c["threads"] += len(os.listdir("/proc/%d/task" % p)) - 1
        with open("/proc/%d/maps" % p) as f:
            c["maps"] += sum(1 for _ in f)
        fds = os.listdir("/proc/%d/fd" % p)
        c["files"] += len(fds)
    established = run(host, "ss", "-Htn", "state", "established")
    c["tcp"] = len([l for l in established.splitlines() if l and ":4285" not in l])
    return dict(c)


def goal(c):
    return GOAL["base"] + sum(GOAL[k] * c.get(k, 0) for k in GOAL if k != "base")


# ---- one program ----

def wait_for(name, what):
    for _ in range(6000):
        if os.path.exists(name):
            return
        if what and what():
            sys.exit("%s: the program has ended" % name)
        time.sleep(0.05)
    sys.exit("%s does not come" % name)


def start(argv, d):
    """in host A. Return: (pid there, its folder)"""
    wdir = tempfile.mkdtemp(dir=d)
    os.chmod(wdir, 0o755)  # what others could swap hauld opens itself
    pid = sh(LAB, "spawn", "A", "shape", *[str(a) for a in argv], "--dir", wdir).strip()
    wait_for(wdir + "/ready", lambda: subprocess.call([LAB, "run", "A", "kill", "-0", pid],
                                                      stderr=subprocess.DEVNULL) != 0)
    return pid, wdir


def moved(host, pid):
    """to the other host. Return: (that host, what haul says); (host, None): refused"""
    to = "B" if host == "A" else "A"
    text = run(host, HAUL, "--json", "--mode=pre-copy", "--tcp=move", "--freeze-limit-ms=%d" % LIMIT_MS, pid, "host" + to,
               check=False)
    events = [json.loads(l) for l in text.splitlines() if l.startswith("{")]
    e = next((x for x in events if x.get("event") == "done"), None)
    if not e:
        why = [x["text"] for x in events if x.get("severity") == "blocker"] + text.splitlines()[-1:]
        print("  not moved: %s" % why[0], flush=True)
        return host, None
    said = [x["predicted_downtime_us"] for x in events if x.get("predicted_downtime_us")]
    return to, dict(downtime=e["downtime_us"] / 1e3, predicted=said[-1] / 1e3 if said else None, stop=e["stop_us"] / 1e3,
                    dump=e["dump_us"] / 1e3, restore=e["restore_us"] / 1e3, commit=e["commit_us"] / 1e3,
                    mode=e["freeze_mode"])


def timed(host, *cmd):
    t0 = time.monotonic()
    r = subprocess.run([LAB, "run", host, *cmd], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    return (time.monotonic() - t0) * 1e3, r.returncode == 0


def plain(host, pid, d):
    """dump and restore by hand. Return: ms; None: CRIU cannot"""
    images = tempfile.mkdtemp(dir=d)
    start_ms = min(timed(host, "true")[0] for _ in range(3))
    a, dumped = timed(host, CRIU, "dump", "-t", pid, "-D", images, "-o", "dump.log", *OPTIONS)
    b, restored = timed(host, CRIU, "restore", "-d", "-D", images, "-o", "restore.log", *OPTIONS) if dumped else (0, False)
    shutil.rmtree(images)
    return a + b - 2 * start_ms if restored else None


def verify(host, pid, wdir):
    name = wdir + "/verify.1"
    run(host, "kill", "-USR1", pid)
    wait_for(name, None)
    v = json.load(open(name))
    if not v["ok"]:
        sys.exit("%s: %s" % (wdir, v))


def measure(group, n, argv, runs, out, d):
    pid, wdir = start(argv, d)
    host, c, moves, by_hand = "A", count("A", pid), [], []
    for _ in range(runs):
        host, m = moved(host, pid)
        if not m:
            break
        moves.append(m)
    if moves and argv[0] == SHAPE:
        verify(host, pid, wdir)
    run(host, "kill", "-0", pid)
    for _ in range(len(moves)):
        ms = plain(host, pid, d)
        if ms is None:
            break
        by_hand.append(ms)
    for h in "AB":
        run(h, "pkill", "-9", "-s", pid, check=False)
        run(h, "kill", "-9", pid, check=False)
    shutil.rmtree(wdir, ignore_errors=True)
    if not moves:
        return
    row = dict(group=group, n=n, shape=c, moves=moves, plain=by_hand, goal=goal(c))
    out.write(json.dumps(row) + "\n")
    out.flush()
    print(line(row), flush=True)


# ---- the table ----

def mid(v):
    v = [x for x in v if x is not None]
    return statistics.median(v) if v else None


def show(v, f="%.0f"):
    return "-" if v is None else f % v


def figures(row):
    return {k: mid([m[k] for m in row["moves"]]) for k in ("downtime", "predicted", "stop", "dump", "restore", "commit")}


def line(row):
    f, c = figures(row), row["shape"]
    name = "%s %s" % (row["group"], row["n"] if row["n"] is not None else "")
    return "| %s | %d, %d, %d, %d, %d | %s | %s | %s | %s | %s | %s |" % (
        name.strip(), c.get("tasks", 0), c.get("tasks", 0) + c.get("threads", 0), c.get("files", 0), c.get("maps", 0),
        c.get("tcp", 0), show(f["downtime"]), " / ".join(show(f[k]) for k in ("stop", "dump", "restore", "commit")),
        show(mid(row["plain"])), show(row["goal"]), show(f["predicted"]), row["moves"][-1]["mode"])


def table(rows):
    print("| shape | processes, threads, files, mappings, sockets | downtime | stop / dump / restore / commit | plain CRIU "
          "| goal | predicted | mode |\n|---|---|---|---|---|---|---|---|")
    for r in rows:
        print(line(r))
    near = [(f["predicted"], f["downtime"]) for f in map(figures, rows) if f["predicted"]]
    good = sum(abs(p - d) <= 0.3 * d for p, d in near)
    slower = [r["group"] + " " + str(r["n"]) for r in rows if r["plain"] and figures(r)["downtime"] > mid(r["plain"])]
    missed = [r["group"] + " " + str(r["n"]) for r in rows if figures(r)["downtime"] > r["goal"]]
    print("\npredicted within 30 %%: %d of %d; slower than plain CRIU: %s; goal missed: %s" % (
        good, len(near), ", ".join(slower) or "none", ", ".join(missed) or "none"))


# ---- the plot ----

def draw(rows, name):
    groups = [g for g in SHAPES if any(r["group"] == g for r in rows)]
    w, h = 330, 240
    svg = Svg(40 + 3 * (w + 40), 40 + ((len(groups) + 2) // 3) * (h + 80))
    for i, g in enumerate(groups):
        v = sorted((r for r in rows if r["group"] == g), key=lambda r: r["n"])
        x0, y0 = 60 + (i % 3) * (w + 40), 50 + (i // 3) * (h + 80)
        low, high = math.log10(5), math.log10(20000)
        n_low, n_high = math.log10(v[0]["n"]), max(math.log10(v[-1]["n"]), math.log10(v[0]["n"]) + 0.1)
        at = lambda n, ms: (x0 + (math.log10(n) - n_low) / (n_high - n_low) * w,
                            y0 + h - (math.log10(min(max(ms, 5), 20000)) - low) / (high - low) * h)
        for ms in (10, 100, 1000, 10000):
            y = at(v[0]["n"], ms)[1]
            svg.line(x0, y, x0 + w, y, "#ddd")
            svg.text(x0 - 4, y + 4, "%d ms" % ms if i % 3 == 0 else "%d" % ms, "end", 10)
        svg.text(x0 + w / 2, y0 - 12, g, size=14)
        for colour, dash, of in (("#4e79a7", "", lambda r: figures(r)["downtime"]),
                                 ("#e15759", "", lambda r: mid(r["plain"])),
                                 ("#59a14f", "4 3", lambda r: r["goal"])):
            points = [at(r["n"], of(r)) for r in v if of(r) is not None]
            for a, b in zip(points, points[1:]):
                svg.line(a[0], a[1], b[0], b[1], colour, dash)
            for x, y in points:
                svg.rect(x - 2, y - 2, 4, 4, colour)
        for r in v:
            svg.text(at(r["n"], 5)[0], y0 + h + 16, str(r["n"]), size=10)
    svg.text(60, 20, "blue: haul's downtime; red: criu dump + criu restore; green: the goal", "start")
    svg.write(name)


# ---- the profile ----

CALL = re.compile(r"^\s*[\d.?]+ \([^)]*\):\s+criu/\d+\s+(?:\.\.\. \[continued\]: )?(\w+)\(")
# sizes of which the difference is taken
SPANS = {"processes": (1, 33), "threads": (1, 129), "files": (10, 1010), "mappings": (100, 2100), "connections": (2, 202)}
HAULS = ["--file-validation", "filesize", "--network-lock", "skip"]  # as haul tells CRIU


def calls_of_dump(pid, images, options):
    """of CRIU, by kind"""
    name = images + "/calls"
    run("A", "strace", "-f", "-c", "-o", name, CRIU, "dump", "-t", pid, "-D", images, "-o", "dump.log", *OPTIONS, *options)
    return collections.Counter({f[-1]: int(f[3]) for f in (l.split() for l in open(name))
                                if len(f) >= 5 and f[3].isdigit() and f[-1] != "total"})


def calls_of_restore(images, options):
    """of all that is called criu: its main process, and tasks until they have the names of their programs"""
    name = images + "/calls"
    perf = subprocess.Popen(["perf", "trace", "-a", "-m", "4096", "-o", name], stderr=subprocess.DEVNULL)
    time.sleep(1)
    run("A", CRIU, "restore", "-d", "-D", images, "-o", "restore.log", *OPTIONS, *options)
    perf.send_signal(signal.SIGINT)
    perf.wait()
    with open(name, errors="replace") as f:
        return collections.Counter(m.group(1) for m in map(CALL.match, f) if m)


def calls(group, n, d, options):
    pid, wdir = start([SHAPE, *SHAPES[group][0](n)], d)
    images = tempfile.mkdtemp(dir=d)
    both = calls_of_dump(pid, images, options), calls_of_restore(images, options)
    run("A", "kill", "-9", pid, check=False)
    shutil.rmtree(wdir)
    shutil.rmtree(images)
    return both


def profile(groups, d):
    """CRIU's system calls for each process, thread, ...: the difference of two sizes"""
    print("| for each of | step | calls | by kind |\n|---|---|---|---|")
    for g in (g for g in groups if g in SPANS):
        low, high = SPANS[g]
        for options in ([], HAULS) if g == "files" else (HAULS,):
            small, large = calls(g, low, d, options), calls(g, high, d, options)
            for step, x, y in zip(("dump", "restore"), small, large):
                each = {k: (y[k] - x[k]) / (high - low) for k in y}
                shown = sorted((k for k in each if each[k] >= 0.3), key=lambda k: -each[k])[:12]
                print("| %s%s | %s | %.1f | %s |" % (g, "" if options else ", CRIU's default", step, sum(each.values()),
                                                     ", ".join("%s %.1f" % (k, each[k]) for k in shown)), flush=True)


def rows_to_measure(a):
    for g, (argv, sizes) in SHAPES.items():
        for n in sizes:
            if g in a.groups and (not a.most or n <= a.most):
                yield g, n, [SHAPE, *argv(n)]
    for g in REAL:
        if g in a.groups and shutil.which(NEEDS[g]):
            yield g, None, [PROGRAMS, g]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--json", metavar="FILE", help="one line for each program")
    ap.add_argument("--groups", nargs="+", default=list(SHAPES) + REAL, choices=list(SHAPES) + REAL)
    ap.add_argument("--most", type=int, default=0, help="leave out larger sizes")
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--draw", metavar="SVG", help="measure nothing, draw what FILE has")
    ap.add_argument("--profile", action="store_true", help="count CRIU's system calls (strace, perf trace)")
    a = ap.parse_args()
    if not a.draw:
        os.environ.setdefault("LAB", "shape")
        with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="haul-shape.") as d:
            os.chmod(d, 0o755)
            try:
                lab_up(d)
                if a.profile:
                    run("A", CRIU, "check", check=False)  # it keeps what it finds; that does not work under strace
                    return profile(a.groups, d)
                with open(a.json, "a") as out:
                    for group, n, argv in rows_to_measure(a):
                        measure(group, n, argv, a.runs, out, d)
            finally:
                sh(LAB, "down", check=False)
    with open(a.json) as f:
        rows = [json.loads(l) for l in f]
    table(rows)
    if a.draw:
        draw(rows, a.draw)


if __name__ == "__main__":
    main()
