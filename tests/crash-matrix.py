#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""crash-matrix.py [--short] [--only REGEX] [--part I/N] [--skip N] - whatever dies, at whatever moment.

Every fault point of common/fault.h x what happens there, on a real migration between two
hosts of tests/lab; a part of it in other modes, and with clients whose connections move. After
each case, when all who are still alive have had their say and `haul recover` was run at the source:

  exactly one live copy, or one stopped copy that haul can resume; every page right; clients
  notice nothing; no process, journal, door, mount, namespace, cgroup, network lock, address or
  tracker is left on either host that was not there before.

Ends with a table, and with status 1 when any case failed. --only sees "POINT ACT MODE".
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from crashlab import (HAUL, LAB, MEMORY, OBJECTS, PORT, PROXY_PORT, RUN, TOP, WRITER, Bench, on, pids, sh, shell)

LATE_S = 3  # longer than the freeze limit of such a case
ACTS = {
    "kill": "SIGKILL to who came to the point: haul for s-, the worker for d-",
    "peer": "SIGKILL to the other side's process",
    "cut": "every connection ends",
    "reset": "every connection is reset",
    "unplug": "the cable is out for a moment",
    "stall": "the cable is out for longer than either side waits",
    "down-up": "connections are refused for a moment",
    "dead": "the link does not come back while haul runs",
    "gone": "the destination loses its power, and boots again",
    "hauld": "the daemon is killed, another started, the link reset",
    "guard": "the first guardian of the pager is killed",
    "all-d": "worker and guardians are killed at once",
    "criu-s": "CRIU at the source is killed",
    "criu-d": "CRIU at the destination is killed",
    "criu-hang": "CRIU at the destination stops, and is killed later",
    "full-s": "no space for records at the source",
    "full-d": "the same at the destination",
    "mem-d": "no memory at the destination, for a while",
    "late": "the step takes longer than the freeze may",
    "hang": "the step takes longer than the other side waits",
    "int": "Ctrl-C",
}
MODES = {"stop-copy": ["--mode=stop-copy"], "pre-copy": ["--mode=pre-copy"], "post-copy": ["--mode=post-copy"],
         "no-tracker": ["--mode=stop-copy", "--tracker=none"], "tcp": ["--mode=post-copy"],
         "own-pids": ["--mode=post-copy", "--pid=own-namespace"], "shared": ["--mode=post-copy"]}
MODE_ACTS = ["kill", "peer", "reset"]  # in modes other than post-copy
TCP_ACTS = MODE_ACTS + ["down-up", "criu-d", "int"]
# These are passed only when something else goes wrong before: what the source does for that
TRIGGER = {"s-undo": "s-commit-recorded:int", "s-undone": "s-commit-recorded:int",
           "d-undo": "s-restored-heard:int", "d-undone-recorded": "s-restored-heard:int"}
BEFORE_STOP = ("s-connected", "s-negotiated", "s-prepared", "s-rounds-done", "d-hello-said", "d-answered", "d-started")
AFTER_COMMIT = ("s-running-heard", "s-pushing", "s-drained-heard", "s-copy-killed", "d-resumed", "d-running-said",
                "d-filled", "d-done-recorded", "d-drained-said")
# From here on the source's copy may be dead, and the process goes with its host
COPY_KILLED = ("s-drained-heard", "s-copy-killed", "d-drained-said")
SHORT = """s-held-recorded kill, s-commit-recorded kill, s-commit-sent kill, s-pushing kill, s-undone kill,
    d-gate-recorded kill, d-commit-recorded kill, d-filled kill, d-undone-recorded kill, s-sent peer, s-pushing peer,
    s-pushing guard, s-pushing all-d, d-restored-said reset, s-commit-recorded cut, d-commit-heard cut, d-drained-said cut,
    s-pushing down-up, s-pushing unplug, s-restored-heard criu-d, d-commit-recorded criu-hang, d-gate full-d,
    s-pushing mem-d, s-sent late, d-commit-recorded dead, s-pushing gone, s-stopped int, s-sent int, s-commit-recorded int"""


def fault_names():
    text = open(TOP + "/common/fault.h").read()
    # those of archives are passed by a save or load only: t-save-crash.sh
    return [n for n in re.findall(r'X\(\w+,\s+"([^"]+)"\)', text) if not n.startswith("a-")]


class Case:
    def __init__(self, b, point, act, mode):
        self.b, self.point, self.act, self.mode = b, point, act, mode
        self.side = point[0]  # s, d
        self.pid = self.wdir = self.client = None
        self.home = "A"
        self.others = []  # processes of the tree besides the first

    # ---- the process

    def start(self):
        b, tcp = self.b, self.mode == "tcp"
        self.wdir = tempfile.mkdtemp(dir=b.d)
        os.chmod(self.wdir, 0o777)
        work = [WRITER, "--mib", "24", "--rate", "3000"]
        if self.mode == "shared":
            work = [OBJECTS, "--mib", "24", "--rate", "1000", "--procs", "3", "--kind", "memfd", "--calls", "--holes"]
        if tcp:
            work = [TOP + "/tests/work/netserve.py", "--address", b.address]
            on("A", "ip", "addr", "add", b.address + "/24", "dev", "eth0")
            on("C", "ip", "neigh", "flush", "all", check=False)
        self.pid = sh(LAB, "spawn", "A", os.path.basename(self.wdir), *work, "--dir", self.wdir).strip()
        for _ in range(600):
            if os.path.exists(self.wdir + "/ready"):
                break
            time.sleep(0.02)
        else:
            raise RuntimeError("the process is not ready")
        if tcp:
            self.client = subprocess.Popen(
                [LAB, "run", "C", "python3", TOP + "/tests/work/netclient.py", "echo", b.address, "--clients", "4", "--depth",
                 "2", "--seconds", "100", "--every", "0.005", "--dir", self.wdir], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            time.sleep(0.3)
        self.fds = shell("A", "ls /proc/%s/fd" % self.pid).split()
        self.others = shell("A", "pgrep -P " + self.pid).split()

    def pid_on(self, host):
        """there it may be in a pid namespace of its own"""
        if host == "A" or self.mode != "own-pids":
            return self.pid
        found = shell(host, "cd /proc; grep -slE '^NSpid:.*[^0-9]%s$' [0-9]*/status" % self.pid)
        return found.split("/")[0] if found else "none"

    def state_on(self, host):
        """R, S, T, ... or None; T for one in our frozen cgroup, too"""
        text = shell(host, "cd /proc/%s 2>/dev/null && cat stat cgroup" % self.pid_on(host))
        if ")" not in text:
            return None
        return "T" if re.search("^0::/haul-[0-9a-f]{16}$", text, re.M) else text.split(") ", 1)[1][0]

    def verify(self, host):
        if self.client:
            return self.verify_client()
        n = len([f for f in os.listdir(self.wdir) if f.startswith("verify.")]) + 1
        on(host, "kill", "-USR1", self.pid_on(host))
        path = "%s/verify.%d" % (self.wdir, n)
        for _ in range(1000):
            if os.path.exists(path) and os.path.getsize(path):
                v = json.load(open(path))
                if not v["ok"]:
                    raise RuntimeError("wrong pages: %s" % v)
                return
            time.sleep(0.02)
        raise RuntimeError("%s: no answer from the process: %s" % (host, shell(host, "cat /proc/%s/stat" % self.pid)))

    def verify_client(self):
        time.sleep(0.3)
        open(self.wdir + "/enough", "w").close()
        out = self.client.communicate(timeout=60)[0]
        if self.client.returncode:
            raise RuntimeError("the clients noticed: %s" % out)

    # ---- what happens at the point

    def happen(self, haul):
        """the one who came to the point waits there: do it, then let him go on"""
        b, act = self.b, self.act
        for _ in range(1500):
            if os.path.exists(b.fault_file):
                break
            if haul.poll() is not None and self.point not in TRIGGER:  # D may come there later
                raise RuntimeError("the point was never passed")
            time.sleep(0.01)
        else:
            raise RuntimeError("the point was not reached in time")
        time.sleep(0.02)
        if act in ("cut", "reset", "down-up", "dead"):
            b.link({"cut": "close", "reset": "reset"}.get(act, "down"))
        elif act in ("unplug", "stall"):
            b.plug(False)
        elif act == "hauld":
            b.stop_hauld("-KILL")
            b.start_hauld({})
            b.link("reset")
        elif act == "gone":
            b.lose_host(self.pid)
        elif act.startswith("criu-"):
            host = "A" if act == "criu-s" else "B"
            for pid in pids(host, "criu"):
                on(host, "kill", "-STOP" if act == "criu-hang" else "-KILL", pid, check=False)
        elif act == "peer":
            self.kill_peer()
        elif act == "guard":
            b.kill_there(b.guardians()[:1])
        elif act == "all-d":
            b.kill_there(b.guardians() + b.workers())
        elif act in ("late", "hang"):
            time.sleep(LATE_S if act == "late" else 32 if self.point in BEFORE_STOP else 13)
        elif act in ("full-s", "full-d"):
            b.fill("A" if act == "full-s" else "B")
        elif act == "mem-d":
            b.memory_full()
        elif act == "int":
            shell("A", "kill -INT $(pgrep -x haul)")
        open(b.fault_file + ".over", "w").close()
        os.unlink(b.fault_file)
        self.heal(haul)

    def heal(self, haul):
        b, act = self.b, self.act
        if act == "down-up":
            time.sleep(1.5)
            b.link("up")
        elif act == "unplug":
            time.sleep(1.5)
            b.plug(True)
        elif act == "stall":
            for _ in range(140 if self.point in AFTER_COMMIT else 600):
                if haul.poll() is not None:
                    break
                time.sleep(0.1)
            b.plug(True)
        elif act == "mem-d":
            time.sleep(LATE_S)
            b.memory_free()
        elif act == "criu-hang":
            time.sleep(0.4)
            for pid in pids("B", "criu"):
                on("B", "kill", "-KILL", pid, check=False)

    def kill_peer(self):
        """SIGKILL to the other side's process of this migration"""
        if self.side == "s":
            self.b.kill_there(self.b.workers())
        else:
            shell("A", "kill -KILL $(pgrep -x haul)")

    # ---- the whole case

    def run(self):
        b = self.b
        point = "%s:%s" % (self.point, "kill" if self.act == "kill" else "hold")
        first, file = TRIGGER.get(self.point), {"HAUL_FAULT_FILE": b.fault_file}
        here = [first] * bool(first) + [point] * (self.side == "s")
        if self.side == "d":
            b.stop_hauld()
            b.start_hauld({"HAUL_FAULT": point, **file})
        self.start()
        direct = self.act in ("unplug", "stall")
        options = MODES[self.mode] + ["--move-address=" + b.address] * (self.mode == "tcp")
        options += ["-p", str(PORT if direct else PROXY_PORT), "--link-limit-s=%d" % (2 if self.act == "dead" else 60),
                    "--freeze-limit-ms=%d" % (LATE_S * 700 if self.act in ("late", "stall", "mem-d") else 20000)]
        haul = b.spawn("A", HAUL, "-v", *options, self.pid, "hostB", env={"HAUL_FAULT": ",".join(here), **file} if here else None,
                       log=b.d + "/haul.log")
        try:
            if self.act != "kill":
                self.happen(haul)
            rc = haul.wait(timeout=100)
        finally:
            if haul.poll() is None:
                haul.kill()
        if self.side == "d":
            b.stop_hauld("-KILL")
            b.start_hauld({})
        return self.judge(rc)

    def ids(self):
        return set(re.findall(r"mig=([0-9a-f]{16})", open(self.b.d + "/haul.log").read()))

    def recover(self, *options):
        """what it says, and its status as the last line"""
        return shell("A", "%s recover --json %s; echo $?" % (HAUL, " ".join(options)), timeout=120)

    def while_dead(self):
        """nobody can be reached: the same holds already, and the operator is told what is known"""
        out = self.recover("--link-limit-s=1")
        a, live = self.state_on("A"), [h for h in "AB" if self.state_on(h) in ("R", "S", "D")]
        if len(live) > 1:
            raise RuntimeError("TWO live copies while the link is dead")
        if "A" in live or a is None:
            return
        known = self.recover("--list")
        if a != "T" or not out.endswith("\n4\n") or "the stopped copy is here" not in known:
            raise RuntimeError("the link is dead (A: %s); recover says %s; --list says %s" % (a, out, known))

    def settle(self):
        """recover, and until nothing moves any more"""
        self.b.unfill()
        if self.act == "dead":
            self.while_dead()
            self.b.link("up")
            time.sleep(0.2)
        out = self.recover()
        for _ in range(100):
            a, b = self.state_on("A"), self.state_on("B")
            if (a, b).count(None) == 1 and "t" not in (a, b):
                break
            time.sleep(0.1)
        return out

    def judge(self, rc):
        out = self.settle()
        a, b = self.state_on("A"), self.state_on("B")
        live = [h for h, s in (("A", a), ("B", b)) if s in ("R", "S", "D")]
        if len(live) > 1:
            raise RuntimeError("TWO live copies")
        what = live[0] if live else "resolved"
        if not live:
            # none runs: then one stopped copy must be there, and haul must be able to resume it
            if a != "T" or b is not None:
                raise RuntimeError("no live copy (A: %s, B: %s); recover said: %s" % (a, b, out))
            ids = re.findall(r'"migration":"(\w+)"', self.recover("--list"))
            if not ids:
                raise RuntimeError("a stopped copy that recover does not know: %s" % out)
            on("A", HAUL, "resolve", "-y", "--keep-here", ids[0])
            live = ["A"]
        self.home = live[0]
        self.verify(live[0])
        self.leftovers(live[0])
        return what, rc

    def leftovers(self, home):
        other = "B" if home == "A" else "A"
        if self.state_on(other) is not None:
            raise RuntimeError("a copy is left on %s: %s" % (other, self.state_on(other)))
        for _ in range(400 if self.act == "stall" else 120):
            left = [x for x in self.b.left([self.pid, self.pid_on("B"), *self.others]) if not self.belongs(x, home)] + self.b.cgroups(self.ids())
            if not left:
                break
            time.sleep(0.1)
        else:
            raise RuntimeError("left over: " + ", ".join(left))
        # trackers and pagers register memory, and have descriptors in the process
        flags = "".join(shell(home, "grep -E '^VmFlags:.* (uw|um|ui)( |$)' /proc/%s/smaps" % p)
                        for p in [self.pid_on(home), *self.others])
        if flags:
            raise RuntimeError("memory is still tracked: " + flags)
        fds = shell(home, "ls /proc/%s/fd" % self.pid_on(home)).split()
        if set(fds) - set(self.fds):
            raise RuntimeError("descriptors: %s, before: %s" % (fds, self.fds))

    def belongs(self, line, home):
        """the address that goes along is where the process is, and nowhere else; so is process 1 of its pid namespace"""
        if self.mode == "own-pids" and home == "B" and self.keeps_space(line):
            return True
        return self.mode == "tcp" and line == "%s: address %s/24" % (home, self.b.address)

    @staticmethod
    def keeps_space(line):
        number = re.match(r"B: process (\d+)", line)
        if line.startswith("B: namespace mnt:"):
            return True
        return number and "--keep-space" in shell("B", "tr '\\0' ' ' </proc/%s/cmdline" % number.group(1))

    def clean(self):
        b = self.b
        b.unfill()
        b.memory_free()
        b.plug(True)
        b.same_boot()
        if self.act in ("dead", "down-up"):
            try:
                b.link("up")
            except RuntimeError:
                pass
        if self.client:
            self.client.kill()
        for h in "AB":
            on(h, "kill", "-KILL", self.pid_on(h), check=False)
            shell(h, "for i in $(pgrep -x criu) $(pgrep -x haul); do kill -KILL $i; done")
            shell(h, "ip addr del %s/24 dev eth0 2>/dev/null; nft flush ruleset" % b.address)
        shell("A", "rm -f %s/journal/source-*" % RUN)
        for path in (b.fault_file, b.fault_file + ".over"):
            if os.path.exists(path):
                os.unlink(path)
        b.kill_there(b.guardians() + b.workers())
        shell("B", "find %s -type s -delete" % RUN)
        while any(self.state_on(h) not in (None, "Z") for h in "AB"):
            time.sleep(0.05)


def makes_sense(point, act):
    if point in TRIGGER:
        return act in ("kill", "peer", "cut", "reset", "down-up", "dead", "hauld", "guard", "criu-s", "criu-d", "full-s", "full-d")
    if act == "hang":  # within the freeze "late" is the same
        return point in BEFORE_STOP + AFTER_COMMIT
    if act == "gone":
        return point not in COPY_KILLED
    return True


def cases(short):
    if short:
        return [tuple(x.split()) + ("post-copy",) for x in SHORT.split(",")]
    points = fault_names()
    out = [(p, a, "post-copy") for p in points for a in ACTS if makes_sense(p, a)]
    return out + [(p, a, m) for m in MODES if m != "post-copy" for p in points
                  for a in (TCP_ACTS if m == "tcp" else MODE_ACTS) if makes_sense(p, a)]


def print_table(table, mode):
    acts = [x for x in ACTS if any(k[1:] == (x, mode) for k in table)]
    points = [p for p in fault_names() if any(k[0] == p and k[2] == mode for k in table)]
    if not points:
        return
    print("\n%s: where the one copy is (A source, B destination; resolved: the operator was asked)\n%-18s" % (mode, "")
          + " ".join("%-9s" % x for x in acts))
    for p in points:
        print("%-18s" % p + " ".join("%-9s" % table.get((p, x, mode), "") for x in acts))


def one_case(b, c, verbose):
    """Return: what goes into the table, and the line"""
    logs = [b.d + "/haul.log", b.d + "/hauld.log"]
    try:
        what, rc = c.run()
        return what, "%s (haul: %s)" % (what, rc)
    except (RuntimeError, subprocess.TimeoutExpired) as e:
        return "FAIL", "FAIL %s" % e + "".join("\n--- %s\n%s" % (x, "".join(open(x).readlines()[-14:])) for x in logs)
    finally:
        if verbose:
            for x in logs:
                print("--- %s\n%s" % (x, open(x).read()))
        c.clean()
        for x in logs:
            open(x, "w").close()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--short", action="store_true")
    ap.add_argument("--only", default="")
    ap.add_argument("--part", default="1/1", help="I/N: every Nth case, for labs side by side")
    ap.add_argument("--skip", type=int, default=0, metavar="N", help="the first N of them were done before")
    ap.add_argument("--list", action="store_true")
    ap.add_argument("--verbose", action="store_true", help="the logs of every case")
    a = ap.parse_args()
    os.environ.setdefault("LAB", "crash%d" % os.getpid())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    part, parts = map(int, a.part.split("/"))
    todo = [c for c in cases(a.short) if re.search(a.only, " ".join(c))][part - 1::parts][a.skip:]
    if not os.path.isdir(MEMORY):
        print("no memory cgroup of version 1 here: without mem-d")
        todo = [c for c in todo if c[1] != "mem-d"]
    if a.list:
        print("\n".join(" ".join(c) for c in todo), "\n%d cases" % len(todo))
        return
    table = {}
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="haul-test.") as d:
        os.chmod(d, 0o755)
        b = Bench(d)
        try:
            for n, (point, act, mode) in enumerate(todo):
                t0 = time.time()
                table[(point, act, mode)], text = one_case(b, Case(b, point, act, mode), a.verbose)
                print("%3d/%d %-17s %-9s %-10s %5.1f s  %s" % (n + 1, len(todo), point, act, mode, time.time() - t0, text), flush=True)
        finally:
            b.down()
    for m in MODES:
        print_table(table, m)
    failed = sum(v == "FAIL" for v in table.values())
    print("%d cases, %d failed; %d at the source, %d at the destination, %d resolved by the operator"
          % (len(todo), failed, *(sum(v == x for v in table.values()) for x in ("A", "B", "resolved"))))
    sys.exit(failed > 0)


main()
