#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""freeze.py - how long a nearly idle program is stopped, against its memory, in parts.

  freeze.py --json FILE [--mib 64 1024 4096 8192] [--runs 5]    measure, append to FILE
  freeze.py --json FILE --draw docs/freeze.svg                  table and plot of FILE

The program is tests/work/writer: 1,000 page writes a second all over its memory, in pages of
4 KiB or in huge pages. Each run is one `haul --mode=pre-copy` between two hosts of tests/lab
without a limit on the link; the next run goes back. downtime is haul's own figure; gap is
the program's longest pause by CLOCK_REALTIME around the move. Everything is verified.
Both hosts share this machine's memory: twice the program's, and what haul needs for it.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time

from bench import HAUL, HAULD, LAB, WRITER, run, sh, spawn

PROGRAMS = {"small": ("pages of 4 KiB", "2"), "huge": ("huge pages", "1")}
WRITES = 1000
FAR_GIB = (24, 118, 512)
FIT_SIZES = 4  # fewer say nothing about what is far away

# (key, what is shown, colour), in the order of time
PARTS = [
    ("stop", "stop", "#4e79a7"),
    ("dump", "CRIU's dump (the scan beside it)", "#f28e2b"),
    ("scan", "classes of pages", "#e15759"),
    ("send", "last pages", "#76b7b2"),
    ("travel", "images on the way", "#59a14f"),
    ("images", "images written", "#edc948"),
    ("restore", "CRIU's restore to the gate", "#b07aa1"),
    ("gate", "gate, resume", "#ff9da7"),
    ("first", "to the program's first turn", "#9c755f"),
]


def lab_up(d):
    sh(LAB, "up")
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d + "/id")
    for h in "AB":
        run(h, "cp", d + "/id", "/etc/haul/id_ed25519")
        run(h, "cp", d + "/id.pub", "/etc/haul/authorized_keys")
        spawn(h, HAULD)
    time.sleep(0.5)
    for h, other in ("AB", "BA"):
        run(h, HAUL, "trust", "-y", "host" + other)


def verify(host, pid, wdir, n):
    """every page is right; the longest pause since the last time, in microseconds"""
    name = "%s/verify.%d" % (wdir, n)
    run(host, "kill", "-USR1", pid)
    for _ in range(2400):
        if os.path.exists(name):
            break
        time.sleep(0.05)
    v = json.load(open(name))
    if not v["ok"]:
        sys.exit("wrong pages: %s" % v)
    return v["max_gap_us"]


def parts(e, gap_us):
    p = {"stop": e["stop_us"], "dump": e["dump_us"], "scan": e["scan_us"], "send": e["send_us"],
         "images": e["dest_images_us"], "restore": e["dest_criu_us"], "gate": e["commit_us"]}
    p["travel"] = e["restore_us"] - e["dest_images_us"] - e["dest_criu_us"]
    p["first"] = max(0, gap_us - e["downtime_us"])
    return p


def measure(mib, program, runs, out):
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="haul-freeze.") as d:
        os.chmod(d, 0o755)
        try:
            lab_up(d)
            wdir = tempfile.mkdtemp(dir=d)
            pid = sh(LAB, "spawn", "A", "freeze", WRITER, "--dir", wdir, "--mib", str(mib), "--rate", str(WRITES),
                     "--thp", PROGRAMS[program][1]).strip()
            while not os.path.exists(wdir + "/ready"):
                run("A", "kill", "-0", pid)
                time.sleep(0.05)
            host, n = "A", 0
            for _ in range(runs):
                to = "B" if host == "A" else "A"
                n += 1
                verify(host, pid, wdir, n)
                time.sleep(1)
                text = run(host, HAUL, "--json", "--mode=pre-copy", pid, "host" + to)
                e = next(json.loads(l) for l in text.splitlines() if '"event":"done"' in l)
                time.sleep(1)
                n += 1
                gap = verify(to, pid, wdir, n)
                row = dict(program=program, mib=mib, rss_gib=e["rss_bytes"] / 2**30, downtime=e["downtime_us"],
                           gap=gap, look=e["look_us"], mode=e["freeze_mode"], parts=parts(e, gap))
                out.write(json.dumps(row) + "\n")
                out.flush()
                print("%5d MiB %-5s downtime %5.1f ms, gap %5.1f ms (%s)" %
                      (mib, program, row["downtime"] / 1e3, gap / 1e3, row["mode"]), flush=True)
                host = to
        finally:
            sh(LAB, "down", check=False)


# ---- what was measured ----

def medians(rows, program):
    """[(GiB, {part: ms}, downtime ms, lowest, highest, runs)] in order of size"""
    res = []
    for mib in sorted({r["mib"] for r in rows if r["program"] == program}):
        v = [r for r in rows if r["program"] == program and r["mib"] == mib]
        down = [r["downtime"] / 1e3 for r in v]
        res.append((mib / 1024, {k: statistics.median(r["parts"][k] for r in v) / 1e3 for k, _, _ in PARTS},
                    statistics.median(down), min(down), max(down), len(v)))
    return res


def fit(points):
    """least squares: (ms without memory, ms per GiB)"""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    mx, my = statistics.mean(xs), statistics.mean(ys)
    var = sum((x - mx) ** 2 for x in xs)
    slope = sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / var if var else 0.0
    return my - slope * mx, slope


def table(rows):
    for program, (title, _) in PROGRAMS.items():
        m = medians(rows, program)
        if not m:
            continue
        print("\n%s: median of the runs, ms" % title)
        print("%8s %4s %9s %15s" % ("GiB", "runs", "downtime", "(low..high)") +
              "".join("%9s" % k for k, _, _ in PARTS))
        for gib, p, down, low, high, n in m:
            print("%8.4g %4d %9.1f %15s" % (gib, n, down, "(%.1f..%.1f)" % (low, high)) +
                  "".join("%9.1f" % p[k] for k, _, _ in PARTS))
        if len(m) < FIT_SIZES:
            print("%d sizes: too few to extrapolate" % len(m))
            continue
        base, slope = fit([(x[0], x[2]) for x in m])
        print("fit: %.1f ms + %.2f ms for each GiB; EXTRAPOLATED, not measured: %s" %
              (base, slope, ", ".join("%d GiB %.0f ms" % (g, base + slope * g) for g in FAR_GIB)))
    print("\nmodes:", ", ".join(sorted({r["mode"] for r in rows})))


# ---- the plot ----

class Svg:
    def __init__(self, width, height):
        self.out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
                    'font-family="sans-serif" font-size="12">' % (width, height),
                    '<rect width="%d" height="%d" fill="white"/>' % (width, height)]

    def rect(self, x, y, w, h, fill):
        self.out.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>' % (x, y, w, h, fill))

    def line(self, x1, y1, x2, y2, stroke="#888", dash=""):
        self.out.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"%s/>' %
                        (x1, y1, x2, y2, stroke, ' stroke-dasharray="%s"' % dash if dash else ""))

    def text(self, x, y, s, anchor="middle", size=12):
        self.out.append('<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d">%s</text>' % (x, y, anchor, size, s))

    def write(self, name):
        with open(name, "w") as f:
            f.write("\n".join(self.out + ["</svg>", ""]))


def axis(svg, x, top, height, limit, width):
    step = next(s for s in (5, 10, 20, 25, 50, 100, 200, 500, 1000, 2000, 5000, 10000) if limit / s <= 8)
    for v in range(0, int(limit) + 1, step):
        y = top + height - v / limit * height
        svg.line(x, y, x + width, y, "#ddd")
        svg.text(x - 6, y + 4, str(v), "end")


def bars(svg, rows, x0, top, width, height, limit, program, goals):
    m = medians(rows, program)
    axis(svg, x0, top, height, limit, width)
    for i, (gib, p, _, _, _, _) in enumerate(m):
        slot = width / len(m)
        x, y = x0 + i * slot + slot * 0.2, top + height
        for key, _, colour in PARTS:
            h = p[key] / limit * height
            y -= h
            svg.rect(x, y, slot * 0.6, h, colour)
        svg.text(x + slot * 0.3, y - 5, "%.0f ms" % sum(p.values()))
        svg.text(x + slot * 0.3, top + height + 16, "%g GiB" % gib if gib >= 1 else "%g MiB" % (gib * 1024))
        if gib in goals:
            gy = top + height - goals[gib] / limit * height
            svg.line(x - slot * 0.1, gy, x + slot * 0.7, gy, "#c00", "4 3")
            svg.text(x + slot * 0.3, gy - 4, "goal %d ms" % goals[gib], size=10)
    svg.text(x0 + width / 2, top - 14, "measured: " + PROGRAMS[program][0], size=14)


def far(svg, rows, x0, top, width, height):
    fits = {p: fit([(x[0], x[2]) for x in medians(rows, p)]) for p in PROGRAMS if len(medians(rows, p)) >= FIT_SIZES}
    if not fits:
        return
    limit = max(max(b + s * FAR_GIB[-1] for b, s in fits.values()) * 1.1, 100)
    axis(svg, x0, top, height, limit, width)
    svg.text(x0 + width / 2, top - 14, "EXTRAPOLATED from the measured sizes, ms", size=14)
    for i, gib in enumerate(FAR_GIB):
        slot = width / len(FAR_GIB)
        svg.text(x0 + (i + 0.5) * slot, top + height + 16, "%d GiB" % gib)
        for k, (p, (base, slope)) in enumerate(fits.items()):
            v = max(0, base + slope * gib)
            x, h = x0 + i * slot + slot * (0.12 + 0.4 * k), v / limit * height
            svg.rect(x, top + height - h, slot * 0.34, h, "#ccc" if k else "#999")
            svg.text(x + slot * 0.17, top + height - h - 5, "%.0f" % v)
    svg.text(x0 + width / 2, top + height + 34, "dark: pages of 4 KiB, light: huge pages", size=11)


def draw(rows, name):
    svg = Svg(1120, 470)
    top = max(sum(p.values()) for prog in PROGRAMS for _, p, _, _, _, _ in medians(rows, prog))
    limit = max(110.0, top * 1.1)
    bars(svg, rows, 50, 50, 330, 290, limit, "small", {1: 80, 8: 100})
    bars(svg, rows, 430, 50, 330, 290, limit, "huge", {1: 80, 8: 100})
    far(svg, rows, 820, 50, 270, 290)
    for i, (_, title, colour) in enumerate(PARTS):
        x, y = 50 + (i % 4) * 260, 400 + (i // 4) * 20
        svg.rect(x, y - 10, 12, 12, colour)
        svg.text(x + 18, y, title, "start")
    svg.text(14, 40, "ms", "start")
    svg.write(name)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--json", required=True, metavar="FILE", help="one line for each run")
    ap.add_argument("--mib", type=int, nargs="+", default=[64, 1024, 4096, 8192])
    ap.add_argument("--program", nargs="+", default=list(PROGRAMS), choices=list(PROGRAMS))
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--draw", metavar="SVG", help="measure nothing, draw what FILE has")
    a = ap.parse_args()
    if not a.draw:
        os.environ.setdefault("LAB", "freeze")
        with open(a.json, "a") as out:
            for program in a.program:
                for mib in a.mib:
                    measure(mib, program, a.runs, out)
    with open(a.json) as f:
        rows = [json.loads(l) for l in f]
    table(rows)
    if a.draw:
        draw(rows, a.draw)


if __name__ == "__main__":
    main()
