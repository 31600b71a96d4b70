#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""crash-matrix.py [--short] [--only REGEX] - whatever dies, at whatever moment.

Every fault point of common/fault.h x what happens there, on a real migration between two
hosts of tests/lab. After each case, when all who are still alive have had their say and
`haul recover` was run at the source:

  exactly one live copy, or one stopped copy that haul can resume; every page right; no
  copy, journal, worker, CRIU, mount or door left that should not be.

Ends with a table, and with status 1 when any case failed.
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

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAB = TOP + "/tests/lab"
HAUL, HAULD, WRITER = TOP + "/haul", TOP + "/hauld", TOP + "/tests/work/writer"
PORT, PROXY_PORT = 4285, 4290
RUN = "/run/haul"


def sh(*cmd, check=True, timeout=120, **kw):
    r = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=timeout, **kw)
    if check and r.returncode:
        raise RuntimeError("%s: %s" % (" ".join(cmd), r.stdout))
    return r.stdout


def on(host, *cmd, check=True, **kw):
    return sh(LAB, "run", host, *cmd, check=check, **kw)


def fault_names():
    text = open(TOP + "/common/fault.h").read()
    return re.findall(r'X\(\w+, "([^"]+)"\)', text)


class Bench:
    """Two hosts, each with a hauld; a proxy in front of B's that can break the link."""

    def __init__(self, d):
        self.d = d
        sh(LAB, "up")
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d + "/id")
        on("A", "cp", d + "/id", "/etc/haul/id_ed25519")
        on("B", "cp", d + "/id.pub", "/etc/haul/authorized_keys")
        self.fault_file = d + "/fault"
        self.daemon = None
        self.start_hauld({})
        self.proxy = self.spawn("B", sys.executable, TOP + "/tests/work/link-proxy.py", str(PROXY_PORT), str(PORT),
                                d + "/link")
        time.sleep(0.5)
        on("A", HAUL, "trust", "-y", "hostB")
        on("A", HAUL, "trust", "-y", "-p", str(PROXY_PORT), "hostB")
        sh(LAB, "rate", "300mbit")

    def spawn(self, host, *cmd, env=None, log=None):
        out = open(log or os.devnull, "a")
        return subprocess.Popen([LAB, "run", host, "setsid", *cmd], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                env=dict(os.environ, **(env or {})))

    def listener(self):
        """pid, in B, of the hauld that listens"""
        m = re.search(r"pid=(\d+)", on("B", "ss", "-Hltnp", "sport = :%d" % PORT, check=False))
        return m.group(1) if m else None

    def start_hauld(self, env):
        self.daemon = self.spawn("B", HAULD, "-v", env=env, log=self.d + "/hauld.log")
        for _ in range(200):
            if self.listener():
                return
            time.sleep(0.02)
        raise RuntimeError("hauld does not listen")

    def stop_hauld(self, sig="-TERM"):
        pid = self.listener()
        if pid:
            on("B", "kill", sig, pid, check=False)
        for _ in range(200):
            if not self.listener():
                return
            time.sleep(0.02)

    def link(self, word):
        with open(self.d + "/link.new", "w") as f:
            f.write(word)
        os.rename(self.d + "/link.new", self.d + "/link")
        for _ in range(100):
            if not os.path.exists(self.d + "/link"):
                return
            time.sleep(0.02)
        raise RuntimeError("the proxy does not listen")

    def down(self):
        sh(LAB, "down", check=False)


class Case:
    def __init__(self, b, point, act, mode):
        self.b, self.point, self.act, self.mode = b, point, act, mode
        self.side = point[0]  # s, d
        self.pid = self.wdir = None

    def name(self):
        return "%s %s %s" % (self.point, self.act, self.mode)

    # ---- the process

    def start(self):
        self.wdir = tempfile.mkdtemp(dir=self.b.d)
        os.chmod(self.wdir, 0o777)
        self.pid = sh(LAB, "spawn", "A", os.path.basename(self.wdir), WRITER, "--dir", self.wdir, "--mib", "24",
                      "--rate", "3000").strip()
        for _ in range(400):
            if os.path.exists(self.wdir + "/ready"):
                return
            time.sleep(0.02)
        raise RuntimeError("the writer is not ready")

    def state_on(self, host):
        """R, S, T, ... or None"""
        try:
            text = on(host, "cat", "/proc/%s/stat" % self.pid, check=False)
            return text.rsplit(")", 1)[1].split()[0] if ")" in text else None
        except IndexError:
            return None

    def verify(self, host):
        n = len([f for f in os.listdir(self.wdir) if f.startswith("verify.")]) + 1
        on(host, "kill", "-USR1", self.pid)
        path = "%s/verify.%d" % (self.wdir, n)
        for _ in range(600):
            if os.path.exists(path) and os.path.getsize(path):
                v = json.load(open(path))
                if not v["ok"]:
                    raise RuntimeError("wrong pages: %s" % v)
                return
            time.sleep(0.02)
        raise RuntimeError("%s: no answer from the process" % host)

    def live(self):
        return [h for h in "AB" if self.state_on(h) in ("R", "S", "D")]

    # ---- what happens at the point

    def happen(self, haul):
        """the one who came to the point waits there: do it, then let him go on"""
        for _ in range(1500):
            if os.path.exists(self.b.fault_file):
                break
            if haul.poll() is not None:
                raise RuntimeError("the point was never passed")
            time.sleep(0.01)
        else:
            raise RuntimeError("the point was not reached in time")
        time.sleep(0.02)
        act = self.act
        if act in ("cut", "reset"):
            self.b.link("close" if act == "cut" else "reset")
        elif act == "down-up":
            self.b.link("down")
        elif act == "stall":
            self.b.link("stall")
        elif act == "hauld":
            self.b.stop_hauld("-KILL")
            self.b.start_hauld({})
            self.b.link("reset")
        elif act.startswith("criu-"):
            host = "A" if act == "criu-s" else "B"
            for pid in on(host, "pgrep", "-x", "criu", check=False).split():
                on(host, "kill", "-KILL", pid, check=False)
        elif act == "peer":
            self.kill_peer()
        elif act == "guard":
            self.kill_there(self.guardians()[:1])
        elif act == "all-d":
            self.kill_there(self.guardians() + self.workers())
        elif act == "dead":
            self.b.link("down")
        elif act == "late":
            time.sleep(LATE_S)
        elif act in ("full-s", "full-d"):
            self.fill("A" if act == "full-s" else "B")
        elif act == "int":
            on("A", "sh", "-c", "kill -INT $(pgrep -x haul)", check=False)
        open(self.b.fault_file + ".over", "w").close()
        os.unlink(self.b.fault_file)
        if act == "down-up":
            time.sleep(1.5)
            self.b.link("up")

    def fill(self, host):
        """the file system of the journal has no byte left"""
        on(host, "sh", "-c", "mount -o remount,size=2m /run && mkdir -p %s && dd if=/dev/zero of=%s/fill bs=4k 2>/dev/null; true"
           % (RUN, RUN))

    def unfill(self):
        for h in "AB":
            on(h, "sh", "-c", "[ ! -e %s/fill ] || { rm -f %s/fill; mount -o remount,size=50%% /run; }" % (RUN, RUN), check=False)

    def guardians(self):
        return on("B", "pgrep", "-x", "haul-guard", check=False).split()

    def workers(self):
        daemon = self.b.listener()
        return [p for p in on("B", "pgrep", "-x", "hauld", check=False).split() if p != daemon]

    def kill_there(self, pids):
        if pids:
            on("B", "kill", "-KILL", *pids, check=False)

    def kill_peer(self):
        """SIGKILL to the other side's process of this migration"""
        if self.side == "s":
            self.kill_there(self.workers())
        else:
            on("A", "sh", "-c", "kill -KILL $(pgrep -x haul)", check=False)

    # ---- the whole case

    def run(self):
        b = self.b
        env = {"HAUL_FAULT": "%s:%s" % (self.point, "kill" if self.act == "kill" else "hold"),
               "HAUL_FAULT_FILE": b.fault_file}
        if self.side == "d":
            b.stop_hauld()
            b.start_hauld(env)
        self.start()
        haul = b.spawn("A", HAUL, "-v", "--mode=" + self.mode, "-p", str(PROXY_PORT),
                       "--link-limit-s=%d" % (2 if self.act == "dead" else 40),
                       "--freeze-limit-ms=%d" % (LATE_S * 700 if self.act == "late" else 20000), self.pid, "hostB", env=env if self.side == "s" else None,
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

    def settle(self):
        """recover, and until nothing moves any more"""
        self.unfill()
        if self.act == "dead":
            self.b.link("up")
            time.sleep(0.2)
        out = on("A", HAUL, "recover", "--json", check=False, timeout=120)
        for _ in range(100):
            a, b = self.state_on("A"), self.state_on("B")
            if (a, b).count(None) == 1 and "t" not in (a, b):
                break
            time.sleep(0.1)
        return out

    def judge(self, rc):
        out = self.settle()
        live, a, b = self.live(), self.state_on("A"), self.state_on("B")
        if len(live) > 1:
            raise RuntimeError("TWO live copies")
        if not live:
            # none runs: then one stopped copy must be there, and haul must be able to resume it
            if a != "T" or b is not None:
                raise RuntimeError("no live copy (A: %s, B: %s); recover said: %s" % (a, b, out))
            ids = re.findall(r'"migration":"(\w+)"', on("A", HAUL, "recover", "--list", "--json", check=False))
            if not ids:
                raise RuntimeError("a stopped copy that recover does not know: %s" % out)
            on("A", HAUL, "resolve", "-y", "--keep-here", ids[0])
            self.verify("A")
            return "resolved", rc
        self.verify(live[0])
        self.leftovers(live[0])
        return live[0], rc

    def leftovers(self, home):
        other = "B" if home == "A" else "A"
        if self.state_on(other) is not None:
            raise RuntimeError("a copy is left on %s: %s" % (other, self.state_on(other)))
        for _ in range(100):
            left = []
            for h in "AB":
                left += ["criu on " + h] * bool(on(h, "pgrep", "-x", "criu", check=False).strip())
                doors = on(h, "sh", "-c", "find %s -type s 2>/dev/null" % RUN, check=False).split()
                workers = on(h, "pgrep", "-x", "hauld", check=False).split()
                left += ["%d doors on %s" % (len(doors), h)] * bool(doors)
                left += ["guardians on " + h] * bool(on(h, "pgrep", "-x", "haul-guard", check=False).strip())
                left += ["workers on %s" % h] * (len(workers) > (h == "B"))
            left += ["source journal"] * bool(on("A", "sh", "-c", "ls %s/journal/source-* 2>/dev/null" % RUN,
                                                 check=False).strip())
            if not left:
                return
            time.sleep(0.1)
        raise RuntimeError("left over: " + ", ".join(left))

    def clean(self):
        self.unfill()
        if self.act == "dead":
            try:
                self.b.link("up")
            except RuntimeError:
                pass
        for h in "AB":
            on(h, "kill", "-KILL", self.pid, check=False)
            on(h, "sh", "-c", "for i in $(pgrep -x criu) $(pgrep -x haul); do kill -KILL $i; done", check=False)
        on("A", "sh", "-c", "rm -f %s/journal/source-*" % RUN, check=False)
        for path in (self.b.fault_file, self.b.fault_file + ".over"):
            if os.path.exists(path):
                os.unlink(path)
        self.kill_there(self.guardians() + self.workers())
        on("B", "sh", "-c", "find %s -type s -delete" % RUN, check=False)


ACTS = ["kill", "peer", "cut", "reset", "down-up", "dead", "hauld", "guard", "all-d", "criu-s",
        "criu-d", "full-s", "full-d", "late", "int"]
LATE_S = 3
SHORT = [("s-held-recorded", "kill"), ("s-commit-recorded", "kill"), ("s-commit-sent", "kill"), ("s-pushing", "kill"),
         ("d-gate-recorded", "kill"), ("d-restored-said", "reset"), ("s-commit-recorded", "cut"),
         ("s-pushing", "down-up"), ("d-commit-heard", "cut"), ("s-stopped", "int"), ("s-restored-heard", "criu-d"),
         ("s-sent", "peer"), ("d-drained-said", "cut"), ("d-gate", "full-d"), ("s-sent", "late"), ("d-commit-recorded", "dead"),
         ("s-pushing", "guard"), ("s-pushing", "peer"), ("s-pushing", "all-d"), ("d-commit-recorded", "kill"), ("d-filled", "kill")]
SHORT += [(p, "int") for p in ("s-prepared", "s-rounds-done", "s-dumped", "s-held-recorded", "s-sent", "s-restored-heard",
                               "s-commit-recorded")]


def cases(short):
    if short:
        return [(p, a, "post-copy") for p, a in SHORT]
    return [(p, a, m) for p in fault_names() for a in ACTS for m in ("post-copy",)]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--short", action="store_true")
    ap.add_argument("--only", default="")
    ap.add_argument("--verbose", action="store_true", help="the logs of every case")
    a = ap.parse_args()
    os.environ.setdefault("LAB", "crash%d" % os.getpid())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    todo = [c for c in cases(a.short) if re.search(a.only, " ".join(c))]
    failed, table = 0, {}
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="haul-test.") as d:
        os.chmod(d, 0o755)
        b = Bench(d)
        try:
            for n, (point, act, mode) in enumerate(todo):
                c = Case(b, point, act, mode)
                t0 = time.time()
                try:
                    what, rc = c.run()
                    text = "%s (haul: %s)" % (what, rc)
                except (RuntimeError, subprocess.TimeoutExpired) as e:
                    failed += 1
                    what, text = "FAIL", "FAIL %s" % e
                    for log in ("haul.log", "hauld.log"):
                        text += "\n--- %s\n%s" % (log, "".join(open(d + "/" + log).readlines()[-14:]))
                finally:
                    if a.verbose:
                        for log in ("haul.log", "hauld.log"):
                            print("--- %s\n%s" % (log, open(d + "/" + log).read()))
                    c.clean()
                    for log in ("haul.log", "hauld.log"):
                        open(d + "/" + log, "w").close()
                table[(point, act)] = what
                print("%3d/%d %-20s %-8s %5.1f s  %s" % (n + 1, len(todo), point, act, time.time() - t0, text), flush=True)
        finally:
            b.down()
    acts = [x for x in ACTS if any(k[1] == x for k in table)]
    print("\nwhere the one copy is (A source, B destination):\n%-22s" % "" + " ".join("%-9s" % x for x in acts))
    for p in fault_names():
        if any(k[0] == p for k in table):
            print("%-22s" % p + " ".join("%-9s" % table.get((p, x), "") for x in acts))
    print("%d cases, %d failed" % (len(todo), failed))
    sys.exit(failed > 0)


main()
