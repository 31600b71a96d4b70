#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""archive.py - haul save and haul load beside criu dump, criu restore and criu lazy-pages: one program, one run.

The program is tests/work/writer: random page writes, a tenth of its memory; it records its own speed every 10 ms.

  freeze   its longest gap while it was saved
  save     from the command to its end, the state on the disk
  answers  from the command that loads it to its first write; archive and images are in the page cache
  back     from there until 100 ms at 90 % of its former speed
  size     of archive or images, on the disk
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import bench
from bench import CRIU, HAUL, LAB, run, sh


def start(d, a):
    wdir = tempfile.mkdtemp(dir=d)
    pid = sh(LAB, "spawn", "A", os.path.basename(wdir), bench.WRITER, "--dir", wdir, "--mib", str(a.mib), "--rate",
             str(a.rate), "--hot-percent", "10", "--stats", "stats").strip()
    while not os.path.exists(wdir + "/ready"):
        time.sleep(0.05)
    time.sleep(3)
    return pid, wdir


def verify(pid, wdir, n):
    """It checks every page, and writes down its speed; n: how often it was asked before it was saved, and once more."""
    for name in ("verify", "stats"):
        if os.path.exists("%s/%s.%d" % (wdir, name, n)):
            os.unlink("%s/%s.%d" % (wdir, name, n))
    run("A", "kill", "-USR1", pid)
    until = time.time() + 120
    while not os.path.exists("%s/verify.%d" % (wdir, n)):
        if time.time() > until:
            sys.exit("no answer from process %s" % pid)
        time.sleep(0.05)
    v = json.load(open("%s/verify.%d" % (wdir, n)))
    if not v["ok"]:
        sys.exit("wrong pages: %s" % v)


def gone(pid):
    run("A", "kill", "-9", pid, check=False)
    while run("A", "sh", "-c", "test -e /proc/%s && echo y" % pid, check=False).strip() == "y":
        time.sleep(0.02)


def du(path):
    return int(sh("du", "-s", "--block-size=1", path).split()[0])


def into_cache(path):
    sh("sh", "-c", "find '%s' -type f -exec cat {} + >/dev/null" % path)


def save(pid, ar, *options):
    t_real, t0 = time.time() * 1e6, time.monotonic()
    out = run("A", HAUL, "--json", "save", *options, pid, ar)
    rep = next(json.loads(l) for l in out.splitlines() if '"event":"done"' in l)
    return t_real, time.monotonic() - t0, rep


def load(ar, *options):
    run("A", HAUL, "-q", "load", *options, ar)


def restore(img, *options):
    run("A", "sh", "-c", f"cd /; setsid {CRIU} restore -d -D {img} -v1 -o r.log {' '.join(options)} </dev/null >/dev/null 2>&1")


def restore_lazily(img):
    lazy = subprocess.Popen([LAB, "run", "A", "sh", "-c", f"cd /; exec {CRIU} lazy-pages -D {img} -v1 -o l.log >/dev/null 2>&1"],
                            stdin=subprocess.DEVNULL)
    while not os.path.exists(img + "/lazy-pages.socket"):
        if lazy.poll() is not None:
            sys.exit("criu lazy-pages: see %s/l.log" % img)
        time.sleep(0.005)
    restore(img, "--lazy-pages")
    lazy.wait(timeout=600)


def loaded(pid, wdir, t_saved, n, how):
    """Seconds until its first write, until all is loaded, and until it is back at 90 % of its speed."""
    t_load = time.time() * 1e6
    how()
    whole = time.time() * 1e6 - t_load
    time.sleep(3)
    verify(pid, wdir, n)
    r = bench.analyse(wdir, t_saved)
    rows = bench.read_stats(wdir)
    longest = max((x for x in rows if x[0] + x[1] >= t_saved), key=lambda x: x[3])
    return {"answers_s": (longest[0] + longest[1] - t_load) / 1e6, "back_s": r["back_s"], "whole_s": whole / 1e6}


def speed_of_zstd(img, mib):
    pages = [os.path.join(img, f) for f in os.listdir(img) if f.startswith("pages-")]
    t0 = time.monotonic()
    sh("sh", "-c", "zstd -1 -q -c %s >/dev/null" % " ".join(pages))
    return mib / (time.monotonic() - t0)


def speed_of_disk(d, size, mib):
    """MiB of memory a second, if only the bytes of the archive had to be written"""
    t0 = time.monotonic()
    sh("dd", "if=/dev/zero", "of=%s/dd" % d, "bs=1M", "count=%d" % (size >> 20), "conv=fdatasync")
    seconds = time.monotonic() - t0
    os.unlink(d + "/dd")
    return mib / seconds


def measure(a, d):
    r = {}
    moved = bench.one("haul pre-copy", d, a.mib, a.rate)
    r["haul PID HOST"] = {"freeze_s": moved["downtime_s"], "save_s": moved["total_s"]}
    pid, wdir = start(d, a)
    bench.warm(2 * a.mib)
    ar, img = d + "/w.haul", d + "/img"
    t_real, seconds, rep = save(pid, ar)
    time.sleep(3)
    verify(pid, wdir, 1)
    r["haul save, runs on"] = {"freeze_s": bench.analyse(wdir, t_real)["downtime_s"], "save_s": seconds,
                              "size": du(ar), "reported_s": rep.get("downtime_us", 0) / 1e6}
    t_saved, seconds, _ = save(pid, ar, "--end")
    gone(pid)
    r["haul save --end, second state"] = {"save_s": seconds, "size": du(ar)}
    into_cache(ar)
    r["haul load"] = loaded(pid, wdir, t_saved, 2, lambda: load(ar))
    os.mkdir(img)
    t_saved = time.time() * 1e6
    t0 = time.monotonic()
    run("A", "sh", "-c", f"cd /; {CRIU} dump -t {pid} -D {img} -v1 -o d.log >/dev/null 2>&1")
    seconds = time.monotonic() - t0
    gone(pid)
    r["criu dump"] = {"freeze_s": seconds, "save_s": seconds, "size": du(img)}
    into_cache(img)
    r["criu restore"] = loaded(pid, wdir, t_saved, 3, lambda: restore(img))
    gone(pid)
    r["criu lazy-pages"] = loaded(pid, wdir, t_saved, 3, lambda: restore_lazily(img))
    gone(pid)
    r["zstd -1"] = {"mib_s": speed_of_zstd(img, a.mib)}
    r["disk"] = {"mib_s": speed_of_disk(d, du(ar), a.mib)}
    return r


def table(a, r):
    columns = ("freeze_s", "save_s", "answers_s", "back_s", "whole_s", "size")
    print("%d MiB, %d writes a second" % (a.mib, a.rate))
    print("%-30s" % "" + "".join("%11s" % c for c in columns))
    for name, row in r.items():
        if "mib_s" not in row:
            print("%-30s" % name + "".join(
                "%11s" % ("-" if row.get(c) is None else "%d MiB" % (row[c] >> 20) if c == "size" else "%.3f" % row[c])
                for c in columns))
    own = a.mib / r["haul save, runs on"]["save_s"]
    least = min(r["zstd -1"]["mib_s"], r["disk"]["mib_s"])
    print("save: %.0f MiB/s; zstd -1: %.0f, disk: %.0f: %.0f %% of the slower one (goal: 80)" %
          (own, r["zstd -1"]["mib_s"], r["disk"]["mib_s"], 100 * own / least))
    print("load answers within %.3f s (goal: 0.1)" % r["haul load"]["answers_s"])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--mib", type=int, default=4096)
    p.add_argument("--rate", type=int, default=50000)
    p.add_argument("--json", metavar="FILE")
    a = p.parse_args()
    d = tempfile.mkdtemp(dir="/var/tmp", prefix="haul-bench.")
    os.chmod(d, 0o755)
    try:
        bench.lab_up(d)
        r = measure(a, d)
        table(a, r)
        if a.json:
            json.dump(r, open(a.json, "w", encoding="utf-8"), indent=1)
    finally:
        sh(LAB, "down", check=False)
        shutil.rmtree(d, ignore_errors=True)


if __name__ == "__main__":
    main()
