#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench.py - haul beside the recipes by hand and beside the wire, same workload, one run.

The workload is tests/work/writer: 50,000 random page writes a second. It records its own
speed every 10 ms and its longest gap, by CLOCK_REALTIME (CRIU keeps CLOCK_MONOTONIC going).

  downtime   the writer's longest gap around the move
  total      from the command to its end, all pages in place
  back       from the first write after the gap until 100 ms at 90 % of its own former speed
  slow       speed lost during pre-copy
  bytes/RSS  on the wire (interface counter of the destination)
  memory     destination: page store + process, at most, over the process's RSS at the end
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

os.environ.setdefault("HAUL_AGENT", "none")  # haul itself, not hauld for it
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAB = os.path.join(TOP, "tests/lab")
HAUL, HAULD, WRITER = (os.path.join(TOP, p) for p in ("haul", "hauld", "tests/work/writer"))
SLOT_US = 10000
PIPE_MAX = "/proc/sys/fs/pipe-max-size"
CRIU = open("/var/lib/haul/criu/chosen").readline().strip()


def sh(*cmd, check=True, **kw):
    r = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if check and r.returncode:
        sys.exit("%s: %s" % (" ".join(cmd), r.stdout))
    return r.stdout


def run(host, *cmd, check=True):
    return sh(LAB, "run", host, *cmd, check=check)


def spawn(host, *cmd):
    return subprocess.Popen([LAB, "run", host, "setsid", *cmd], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def lab_up(d, *options):
    sh(LAB, "up", *options)
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d + "/id")
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d + "/hostkey")
    run("A", "cp", d + "/id", "/etc/haul/id_ed25519")
    run("B", "cp", d + "/id.pub", "/etc/haul/authorized_keys")
    spawn("B", HAULD)
    time.sleep(0.5)
    run("A", HAUL, "trust", "-y", "hostB")
    # for the recipes by hand only: sshd on B
    sh("cp", d + "/id.pub", d + "/sshd_keys")
    with open(d + "/sshd_config", "w") as f:
        f.write("Port 2222\nHostKey %s/hostkey\nAuthorizedKeysFile %s/sshd_keys\nStrictModes no\n"
                "PermitRootLogin yes\nPidFile none\nUsePAM no\n" % (d, d))
    run("B", "mkdir", "-p", "/run/sshd")
    spawn("B", "/usr/sbin/sshd", "-D", "-f", d + "/sshd_config")
    time.sleep(0.3)


def rx_bytes(host):
    for line in run(host, "cat", "/proc/net/dev").splitlines():
        if line.strip().startswith("eth0:"):
            return int(line.split(":")[1].split()[0])
    return 0


class Memory(threading.Thread):
    """Shared memory of the machine (the page store) plus the process on B, at most."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak_kib, self.end = pid, 0, False
        self.base = self.shmem()
        self.outer = None

    @staticmethod
    def shmem():
        return int(next(l for l in open("/proc/meminfo") if l.startswith("Shmem:")).split()[1])

    def rss(self):
        if not self.outer:
            outer = sh(LAB, "pid", "B", str(self.pid), check=False).strip()
            self.outer = outer if outer.isdigit() else None
        try:
            return int(next(l for l in open("/proc/%s/status" % self.outer) if l.startswith("RssAnon")).split()[1])
        except (OSError, StopIteration, TypeError):
            return 0

    def run(self):
        while not self.end:
            # pages move from the one to the other while we look
            before, store, after = self.rss(), self.shmem() - self.base, self.rss()
            self.peak_kib = max(self.peak_kib, store + (before + after) // 2)
            time.sleep(0.05)


def start_writer(d, mib, rate):
    wdir = tempfile.mkdtemp(dir=d)
    pid = sh(LAB, "spawn", "A", os.path.basename(wdir), WRITER, "--dir", wdir, "--mib", str(mib), "--rate", str(rate), "--stats", "stats").strip()
    while not os.path.exists(wdir + "/ready"):
        time.sleep(0.05)
    time.sleep(3)
    return pid, wdir


def read_stats(wdir):
    """(start of the slot, its length, writes in it, longest gap), microseconds of CLOCK_REALTIME"""
    lines = open(max(glob.glob(wdir + "/stats.*"), key=os.path.getmtime)).read().splitlines()[1:]
    return [tuple(map(int, l.split(",")))[:4] for l in lines]


def speed(rows, start, end):
    ops = sum(r[2] for r in rows if start <= r[0] < end)
    return ops / (end - start) * 1e6 if end > start else 0.0


def analyse(wdir, t_start):
    rows = read_stats(wdir)
    base = speed(rows, t_start - 2_000_000, t_start)
    longest = max((r for r in rows if r[0] + r[1] >= t_start), key=lambda r: r[3])
    resume = longest[0] + longest[1]
    freeze = resume - longest[3]
    back = next(((r[0] - resume) / 1e6 for r in rows
                 if r[0] >= resume - SLOT_US and speed(rows, r[0], r[0] + 100_000) >= 0.9 * base), None)
    during = speed(rows, t_start, freeze - 20_000) if freeze - t_start > 300_000 else None
    return {"downtime_s": longest[3] / 1e6, "back_s": back and max(back, 0.0),
            "slow": 1 - during / base if during and base else None, "base": base}


def verify(host, pid, wdir):
    n = len(glob.glob(wdir + "/verify.*")) + 1
    run(host, "kill", "-USR1", pid)
    for _ in range(600):
        if os.path.exists("%s/verify.%d" % (wdir, n)):
            break
        time.sleep(0.05)
    v = json.load(open("%s/verify.%d" % (wdir, n)))
    if not v["ok"]:
        sys.exit("wrong pages: %s" % v)


def haul(mode, pid, _d, *options):
    out = run("A", HAUL, "--json", "--mode=" + mode, *options, pid, "hostB")
    return next(json.loads(l) for l in out.splitlines() if '"event":"done"' in l)


SSH = "ssh -p 2222 -i %s/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"


def by_hand(pid, d):
    """criu dump, rsync over ssh, criu restore"""
    img = "/run/img"
    ssh = SSH % d
    run("A", "sh", "-c", f"rm -rf {img}; mkdir {img}; {CRIU} dump -t {pid} -D {img} -v1 -o d.log >/dev/null 2>&1")
    run("A", "sh", "-c", f"rsync -a -e '{ssh}' {img}/ root@hostB:{img}/")
    run("B", "sh", "-c", f"cd /; setsid {CRIU} restore -d -D {img} -v1 -o r.log </dev/null >/dev/null 2>&1")
    return {}


def by_hand_lazy(pid, d):
    """criu dump --lazy-pages, rsync, criu lazy-pages, criu restore --lazy-pages"""
    img = "/run/img"
    ssh = SSH % d
    dump = subprocess.Popen([LAB, "run", "A", "sh", "-c",
                             f"rm -rf {img}; mkdir {img}; {CRIU} dump -t {pid} -D {img} -v1 -o d.log --lazy-pages "
                             f"--port 4300 --address 0.0.0.0 --status-fd 3 3>{img}.st >/dev/null 2>&1"],
                            stdin=subprocess.DEVNULL)
    for _ in range(2000):
        if run("A", "sh", "-c", f"test -s {img}.st && echo y", check=False).strip() == "y":
            break
        time.sleep(0.01)
    run("A", "sh", "-c", f"rsync -a -e '{ssh}' {img}/ root@hostB:{img}/")
    lazy = subprocess.Popen([LAB, "run", "B", "sh", "-c",
                             f"cd /; {CRIU} lazy-pages -D {img} -v1 -o l.log --page-server --address hostA --port 4300 >/dev/null 2>&1"],
                            stdin=subprocess.DEVNULL)
    for _ in range(500):
        if run("B", "sh", "-c", f"test -S {img}/lazy-pages.socket && echo y", check=False).strip() == "y":
            break
        time.sleep(0.01)
    run("B", "sh", "-c", f"cd /; setsid {CRIU} restore -d -D {img} -v1 -o r.log --lazy-pages </dev/null >/dev/null 2>&1")
    lazy.wait(timeout=300)
    dump.wait(timeout=300)
    return {}


RECIPES = {
    "haul auto": lambda p, d: haul("auto", p, d),
    "haul post-copy": lambda p, d: haul("post-copy", p, d),
    "haul hybrid": lambda p, d: haul("hybrid", p, d),
    "haul pre-copy": lambda p, d: haul("pre-copy", p, d),
    "dump+rsync+restore": by_hand,
    "lazy-pages by hand": by_hand_lazy,
}


def warm(mib):
    """A virtual machine may have given its free memory back; then the first touch of each page
    costs a fault in the host (2.5 s for each GiB here, 0.4 s when it was used just before)."""
    sh(sys.executable, "-c", "b = b'x' * (%d << 20)" % mib)


def one(name, d, mib, rate):
    pid, wdir = start_writer(d, mib, rate)
    warm(2 * mib + 256)
    mem = Memory(pid)
    mem.start()
    rx0 = rx_bytes("B")
    t_real = time.time() * 1e6
    t0 = time.monotonic()
    rep = RECIPES[name](pid, d)
    total = time.monotonic() - t0
    wire = rx_bytes("B") - rx0
    time.sleep(2.5)
    mem.end = True
    mem.join()
    rss = mem.rss()
    verify("B", pid, wdir)
    r = analyse(wdir, t_real)
    run("B", "kill", "-9", pid, check=False)
    run("B", "rm", "-rf", "/run/img", check=False)
    run("A", "rm", "-rf", "/run/img", check=False)
    time.sleep(0.5)
    r.update(total_s=total, wire=wire, wire_per_rss=wire / (mib * 1048576.0),
             mem=mem.peak_kib / rss - 1 if rss else None, reported_s=rep.get("downtime_us", 0) / 1e6 or None,
             p50_us=rep.get("fault_p50_us"), p99_us=rep.get("fault_p99_us"), rounds=rep.get("rounds"),
             dump_ms=rep.get("dump_us", 0) / 1e3, restore_ms=rep.get("restore_us", 0) / 1e3)
    return r


def med(rows, key):
    v = [r[key] for r in rows if r.get(key) is not None]
    return statistics.median(v) if v else None


def show(v, fmt="%.2f"):
    return "-" if v is None else fmt % v


def wire_speed():
    """what one plain TCP stream carries from A to B, in bytes a second"""
    srv = subprocess.Popen([LAB, "run", "B", sys.executable, "-c",
                            "import socket,time\ns=socket.create_server(('',4310));c=s.accept()[0];n=0;t=time.time()\n"
                            "while 1:\n b=c.recv(1<<20)\n if not b: break\n n+=len(b)\nprint(n/(time.time()-t))"],
                           stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    time.sleep(0.5)
    run("A", sys.executable, "-c",
        "import socket,time\ns=socket.create_connection(('hostB',4310));t=time.time();b=bytes(1<<20)\n"
        "while time.time()-t<3: s.sendall(b)")
    return float(srv.communicate(timeout=20)[0])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--mib", type=int, nargs="+", default=[256, 1024, 4096])
    ap.add_argument("--rate", nargs="+", default=["off", "1gbit"], help="link rates")
    ap.add_argument("--writes", type=int, default=50000)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    ap.add_argument("--json", help="append all single results to this file")
    a = ap.parse_args()
    os.environ["LAB"] = "bench"
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="haul-bench.") as d:
        os.chmod(d, 0o755)
        old_pipe = open(PIPE_MAX).read()
        try:
            lab_up(d)
            # CRIU's own lazy dump needs pipes of 4 MiB; without CAP_SYS_RESOURCE only so
            open(PIPE_MAX, "w").write(str(4 << 20))
            for link in a.rate:
                sh(LAB, "rate", link)
                wire = wire_speed()
                for mib in a.mib:
                    table(a, d, link, wire, mib)
        finally:
            open(PIPE_MAX, "w").write(old_pipe)
            sh(LAB, "down", check=False)


def table(a, d, link, wire, mib):
    first = mib * 1048576 / wire
    print("\n%d MiB, %d page writes/s, link %s (one TCP stream: %.0f MB/s; first copy at that: %.2f s), median of %d"
          % (mib, a.writes, link, wire / 1e6, first, a.runs))
    print("%-20s %9s %9s %9s %8s %7s %9s %9s %9s %7s %9s" %
          ("", "downtime", "total", "/1st copy", "back 90%", "slow", "bytes/RSS", "fault p50", "p99 us", "memory", "vs hand"), flush=True)
    hand = None
    for name in sorted(a.recipes, key=lambda n: n.startswith("haul")):
        rows = [one(name, d, mib, a.writes) for _ in range(a.runs)]
        if a.json:
            with open(a.json, "a") as f:
                for r in rows:
                    f.write(json.dumps(dict(r, recipe=name, mib=mib, link=link)) + "\n")
        down = med(rows, "downtime_s")
        if name == "dump+rsync+restore":
            hand = down
        print("%-20s %8ss %8ss %9s %7ss %7s %9s %9s %9s %7s %9s" %
              (name, show(down, "%.3f"), show(med(rows, "total_s")), show(med(rows, "total_s") / first),
               show(med(rows, "back_s")), show(med(rows, "slow"), "%.0f%%") if med(rows, "slow") is None else
               "%.0f%%" % (100 * med(rows, "slow")), show(med(rows, "wire_per_rss")), show(med(rows, "p50_us"), "%d"),
               show(med(rows, "p99_us"), "%d"),
               "-" if med(rows, "mem") is None else "%+.0f%%" % (100 * med(rows, "mem")),
               "-" if not hand else "1/%.0f" % (hand / down)), flush=True)


if __name__ == "__main__":
    main()
