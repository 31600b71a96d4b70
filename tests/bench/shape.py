#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""shape.py - how long programs of many shapes are stopped: haul beside plain CRIU, the goal, and what haul predicted.

  shape.py --json FILE [--runs 3] [--groups processes files ...] [--most N]    measure, append to FILE
  shape.py --json FILE --draw docs/shape.svg [--write docs/FREEZE.md]          table and plot of FILE
  shape.py --profile [--groups processes files ...]                            CRIU's system calls, by kind

Each row is one program between two hosts of tests/lab, moved there and back --runs times; the link has no limit. Then
the same program is dumped and restored by hand (criu dump, criu restore, images on the local disk, nothing carried,
connections locked by nftables: by iptables CRIU needs minutes for 2,000), as often, if both take less than two minutes.
downtime is haul's own figure, plain the time of both commands; all in ms, medians. pages: the last scan, and the last
pages on their way. In brackets: what of the restore and of the commit CRIU took at the destination. predicted is what
haul expected before the stop. goal is what docs/FREEZE.md wants for such a shape. Programs of tests/work verify
themselves after the last move; of the others it is checked that they run. A program that is not installed, or that
cannot be moved, is named and left out. A run that was interrupted goes on when it is started again: rows of the same
haul and hauld with as many moves stay. --write puts the table between the two marks of a document.
Wants a quiet machine; all of it takes about half an hour.
"""
import argparse
import collections
import hashlib
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
import textwrap
import time

from bench import CRIU, HAUL, HAULD, LAB, TOP, run, sh
from freeze import Svg, lab_up

SHAPE = os.path.join(TOP, "tests/work/shape")
PROGRAMS = os.path.join(TOP, "tests/work/programs.py")
LIMIT_MS = 300000
PLAIN_LIMIT_S = 120
LOCK = ["--network-lock", "nftables"]
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
TIMES = ["downtime", "stop", "dump", "look", "scan", "send", "restore", "dest_images", "dest_criu", "commit",
         "dest_resume"]
MARKS = "<!-- shape.py: table -->", "<!-- shape.py: end -->"
# ms: a program, and each process, thread, file, mapping, socket of it
GOAL = dict(base=40, tasks=1.5, threads=0.15, files=0.01, maps=0.005, tcp=0.05)
NEEDS = {"postgres": "initdb", "nginx": "nginx", "java": "javac", "node": "node", "go": "go", "ffmpeg": "ffmpeg"}


class Failed(Exception):
    """of one program; the others go on"""


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

def wait_for(file, what):
    for _ in range(6000):
        if os.path.exists(file):
            return
        if what and what():
            raise Failed("%s: the program has ended" % file)
        time.sleep(0.05)
    raise Failed("%s does not come" % file)


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
    return to, dict({k: e.get(k + "_us", 0) / 1e3 for k in TIMES}, predicted=said[-1] / 1e3 if said else None,
                    mode=e["freeze_mode"])


def timed(host, *cmd):
    t0 = time.monotonic()
    # a CRIU that is killed lets the program run
    r = subprocess.run([LAB, "run", host, "timeout", "-s", "KILL", str(PLAIN_LIMIT_S), *cmd], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.monotonic() - t0) * 1e3, r.returncode == 0


def plain(host, pid, d):
    """dump and restore by hand. Return: ms; None: CRIU cannot"""
    images = tempfile.mkdtemp(dir=d)
    start_ms = min(timed(host, "true")[0] for _ in range(3))
    a, dumped = timed(host, CRIU, "dump", "-t", pid, "-D", images, "-o", "dump.log", *OPTIONS, *LOCK)
    b, restored = timed(host, CRIU, "restore", "-d", "-D", images, "-o", "restore.log", *OPTIONS) \
        if dumped else (0, False)
    shutil.rmtree(images)
    return a + b - 2 * start_ms if restored else None


def verify(host, pid, wdir):
    said = wdir + "/verify.1"
    run(host, "kill", "-USR1", pid)
    wait_for(said, None)
    v = json.load(open(said))
    if not v["ok"]:
        raise Failed("%s: %s" % (wdir, v))


def moves_and_plain(argv, runs, d, pid, wdir):
    """Return: (what it is made of, moves, ms by hand)"""
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
    return c, moves, by_hand


def measure(argv, runs, d):
    pid, wdir = start(argv, d)
    try:
        c, moves, by_hand = moves_and_plain(argv, runs, d, pid, wdir)
    finally:
        for h in "AB":
            run(h, "pkill", "-9", "-s", pid, check=False)
            run(h, "kill", "-9", pid, check=False)
        shutil.rmtree(wdir, ignore_errors=True)
    if not moves:
        raise Failed("not moved")
    return dict(shape=c, moves=moves, plain=by_hand, goal=goal(c))


def measure_all(a, d):
    """Return: programs that failed"""
    at, failed = programs(), []
    done = {name(r) for r in load(a.json) if r.get("at") == at and len(r["moves"]) >= a.runs}
    lab_up(d)
    for group, n, argv in rows_to_measure(a):
        row = dict(group=group, n=n, at=at)
        if name(row) in done:
            print("%s: measured already" % name(row), flush=True)
            continue
        try:
            row.update(measure(argv, a.runs, d))
        except (Failed, SystemExit, OSError) as why:
            print("%s: %s" % (name(row), why), flush=True)
            failed.append(name(row))
            continue
        with open(a.json, "a") as out:
            out.write(json.dumps(row) + "\n")
        print(line(row), flush=True)
    return failed


# ---- the table ----

def mid(v):
    v = [x for x in v if x is not None]
    return statistics.median(v) if v else None


def show(v, f="%.0f"):
    return "-" if v is None else f % v


def name(row):
    return "%s %s" % (row["group"], row["n"]) if row["n"] is not None else row["group"]


def programs():
    """a word for haul and hauld as they are"""
    h = hashlib.sha256()
    for file in (HAUL, HAULD):
        with open(file, "rb") as f:
            h.update(f.read())
    return h.hexdigest()[:12]


def load(file):
    """the last row of each program, in the order of SHAPES and REAL"""
    rows = {}
    if os.path.exists(file):
        with open(file) as f:
            for r in map(json.loads, f):
                rows[name(r)] = r
    order = list(SHAPES) + REAL
    return sorted(rows.values(), key=lambda r: (order.index(r["group"]), r["n"] or 0))


def figures(row):
    return {k: mid([m.get(k) for m in row["moves"]]) for k in [*TIMES, "predicted"]}


def parts(f):
    """where the time goes"""
    pages = (f["scan"] or 0) + (f["send"] or 0)
    return "%s / %s / %.0f / %s (%s) / %s (%s)" % (
        show(f["stop"]), show(f["dump"]), pages, show(f["restore"]), show(f["dest_criu"]), show(f["commit"]),
        show(f["dest_resume"]))


def line(row):
    f, c = figures(row), row["shape"]
    return "| %s | %d, %d, %d, %d, %d | %s | %s | %s | %s | %s | %s |" % (
        name(row), c.get("tasks", 0), c.get("tasks", 0) + c.get("threads", 0), c.get("files", 0), c.get("maps", 0),
        c.get("tcp", 0), show(f["downtime"]), parts(f), show(mid(row["plain"])), show(row["goal"]), show(f["predicted"]),
        row["moves"][-1]["mode"])


def over(rows, most):
    """those whose downtime is more than @most(row) says, by how much"""
    v = [(r, figures(r)["downtime"], most(r)) for r in rows]
    return ["%s (%.0f for %.0f)" % (name(r), ms, limit) for r, ms, limit in v if limit is not None and ms > limit]


def summary(rows):
    missed, slower = over(rows, lambda r: r["goal"]), over(rows, lambda r: mid(r["plain"]))
    by_hand = sum(bool(r["plain"]) for r in rows)
    said = [(name(r), f["predicted"], f["downtime"]) for r, f in ((r, figures(r)) for r in rows) if f["predicted"]]
    far = ["%s (%.0f for %.0f)" % x for x in said if abs(x[1] - x[2]) > 0.3 * x[2]]
    return ["Goal met in %d of %d rows; missed: %s." % (len(rows) - len(missed), len(rows), ", ".join(missed) or "none"),
            "Predicted within 30 %% in %d of %d rows (wanted: %d); not: %s." % (
                len(said) - len(far), len(said), math.ceil(0.9 * len(said)), ", ".join(far) or "none"),
            "Slower than plain CRIU in %d of %d rows: %s." % (len(slower), by_hand, ", ".join(slower) or "none")]


def table(rows):
    head = ["| shape | processes, threads, files, mappings, sockets | downtime | stop / dump / pages / restore (CRIU's) / "
            "commit (CRIU's) | plain CRIU | goal | predicted | mode |", "|---|---|---|---|---|---|---|---|"]
    return head + [line(r) for r in rows] + [""] + [x for s in summary(rows) for x in textwrap.wrap(s, 118)]


def write_into(document, lines):
    with open(document) as f:
        text = f.read()
    first, last = (text.find(m) for m in MARKS)
    if first < 0 or last < first:
        sys.exit("%s has no two lines %s, %s" % (document, *MARKS))
    with open(document, "w") as f:
        f.write(text[:first + len(MARKS[0])] + "\n" + "\n".join(lines) + "\n" + text[last:])


# ---- the plot ----

def draw(rows, file):
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
    svg.write(file)


# ---- the profile ----

CALL = re.compile(r"^\s*[\d.?]+ \([^)]*\):\s+criu/\d+\s+(?:\.\.\. \[continued\]: )?(\w+)\(")
# sizes of which the difference is taken
SPANS = {"processes": (1, 33), "threads": (1, 129), "files": (10, 1010), "mappings": (100, 2100), "connections": (2, 202)}
HAULS = ["--file-validation", "filesize", "--network-lock", "skip"]  # as haul tells CRIU


def calls_of_dump(pid, images, options):
    """of CRIU, by kind"""
    out = images + "/calls"
    run("A", "strace", "-f", "-c", "-o", out, CRIU, "dump", "-t", pid, "-D", images, "-o", "dump.log", *OPTIONS, *options)
    return collections.Counter({f[-1]: int(f[3]) for f in (l.split() for l in open(out))
                                if len(f) >= 5 and f[3].isdigit() and f[-1] != "total"})


def calls_of_restore(images, options):
    """of all that is called criu: its main process, and tasks until they have the names of their programs"""
    out = images + "/calls"
    perf = subprocess.Popen(["perf", "trace", "-a", "-m", "4096", "-o", out], stderr=subprocess.DEVNULL)
    time.sleep(1)
    run("A", CRIU, "restore", "-d", "-D", images, "-o", "restore.log", *OPTIONS, *options)
    perf.send_signal(signal.SIGINT)
    perf.wait()
    with open(out, errors="replace") as f:
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
    for g in (g for g in REAL if g in a.groups):
        if shutil.which(NEEDS[g]):
            yield g, None, [PROGRAMS, g]
        else:
            print("%s: left out, there is no %s here" % (g, NEEDS[g]), flush=True)


def in_lab(a):
    """Return: programs that failed"""
    os.environ.setdefault("LAB", "shape")
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="haul-shape.") as d:
        os.chmod(d, 0o755)
        try:
            if not a.profile:
                return measure_all(a, d)
            lab_up(d)
            run("A", CRIU, "check", check=False)  # it keeps what it finds; that does not work under strace
            profile(a.groups, d)
            return []
        finally:
            sh(LAB, "down", check=False)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--json", metavar="FILE", help="one line for each program")
    ap.add_argument("--groups", nargs="+", default=list(SHAPES) + REAL, choices=list(SHAPES) + REAL)
    ap.add_argument("--most", type=int, default=0, help="leave out larger sizes")
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--draw", metavar="SVG", help="measure nothing, draw what FILE has")
    ap.add_argument("--write", metavar="DOCUMENT", help="measure nothing, put the table of FILE between its marks")
    ap.add_argument("--profile", action="store_true", help="count CRIU's system calls (strace, perf trace)")
    a = ap.parse_args()
    if not a.json and not a.profile:
        ap.error("--json FILE, or --profile")
    failed = [] if a.draw or a.write else in_lab(a)
    if a.profile:
        return
    rows = load(a.json)
    lines = table(rows)
    print("\n" + "\n".join(lines))
    if a.draw:
        draw(rows, a.draw)
    if a.write:
        write_into(a.write, lines)
    if failed:
        sys.exit("not measured: %s" % ", ".join(failed))


if __name__ == "__main__":
    main()
