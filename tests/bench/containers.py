#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""containers.py - a podman container moved by haul, beside podman's own way and beside the same program as a bare process.

  containers.py [--mib 256 1024] [--rate off 1gbit] [--writes 20000] [--runs 3]

  haul      haul podman:bench hostB
  podman    podman container checkpoint --export, rsync over ssh, podman container restore --import
  process   the program without a container, haul PID hostB

The program is tests/work/writer in the image; each page is verified after each move. Prints medians (range):
downtime is the program's longest gap around the move by CLOCK_REALTIME, total the time of the command or commands.
Both hosts share this machine's memory: twice the program's, and for podman's way four times.
"""
import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time

from bench import CRIU, HAUL, LAB, SSH, WRITER, lab_up, run, sh, warm
from freeze import verify

IMAGE = "localhost/bench:1"
NAME = "bench"
ARCHIVE = "/run/bench.tar"


def root_tar(d):
    """busybox, the writer and its libraries"""
    root = d + "/root"
    for sub in ("bin", "dev", "etc", "proc", "sys", "tmp", "work"):
        os.makedirs(root + "/" + sub)
    shutil.copy(sh("sh", "-c", "command -v busybox").strip(), root + "/bin/busybox")
    os.symlink("busybox", root + "/bin/sh")
    shutil.copy(WRITER, root + "/bin/writer")
    for word in sh("ldd", WRITER).split():
        if word.startswith("/"):
            os.makedirs(root + os.path.dirname(word), exist_ok=True)
            shutil.copy(os.path.realpath(word), root + word)
    sh("tar", "-C", root, "-cf", d + "/root.tar", ".")
    return d + "/root.tar"


def with_criu(host, *cmd):
    path = "PATH=%s:%s" % (os.path.dirname(CRIU), os.environ["PATH"])
    return run(host, "env", path, *cmd)


def ready(wdir):
    for _ in range(1200):
        if os.path.exists(wdir + "/ready"):
            return
        time.sleep(0.05)
    sys.exit("the program is not ready")


class Container:
    def start(self, wdir, args):
        run("A", "podman", "run", "--detach", "--name", NAME, "--network=none", "-v", wdir + ":/work", IMAGE,
            "writer", "--dir", "/work", *args)

    def pid(self, host):
        return run(host, "podman", "inspect", "--format", "{{.State.Pid}}", NAME).strip()

    def end(self):
        for h in "AB":
            run(h, "podman", "rm", "--force", "--time", "0", NAME, check=False)


class ByHaul(Container):
    def move(self, _d):
        run("A", HAUL, "podman:" + NAME, "hostB")


class ByPodman(Container):
    def move(self, d):
        with_criu("A", "podman", "container", "checkpoint", "--export", ARCHIVE, "--compress", "none", NAME)
        run("A", "rsync", "-e", SSH % d, ARCHIVE, "root@hostB:" + ARCHIVE)
        with_criu("B", "podman", "container", "restore", "--import", ARCHIVE)

    def end(self):
        super().end()
        for h in "AB":
            run(h, "rm", "-f", ARCHIVE)


class Process:
    def start(self, wdir, args):
        self.number = sh(LAB, "spawn", "A", os.path.basename(wdir), WRITER, "--dir", wdir, *args).strip()

    def pid(self, _host):
        return self.number

    def move(self, _d):
        run("A", HAUL, self.number, "hostB")

    def end(self):
        run("B", "kill", "-9", self.number)


WAYS = {"haul": ByHaul, "podman": ByPodman, "process": Process}


def one(way, d, mib, writes):
    """(downtime, total) in seconds"""
    w = WAYS[way]()
    wdir = tempfile.mkdtemp(dir=d)
    os.chmod(wdir, 0o777)
    warm(2 * mib + 256)
    w.start(wdir, ["--mib", str(mib), "--rate", str(writes)])
    ready(wdir)
    time.sleep(1)
    verify("A", w.pid("A"), wdir, 1)
    began = time.monotonic()
    w.move(d)
    total = time.monotonic() - began
    down = verify("B", w.pid("B"), wdir, 2) / 1e6
    w.end()
    return down, total


def text(v):
    return "%6.2f (%.2f-%.2f)" % (statistics.median(v), min(v), max(v))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--mib", type=int, nargs="+", default=[256, 1024])
    p.add_argument("--rate", nargs="+", default=["off"])
    p.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    p.add_argument("--writes", type=int, default=20000)
    p.add_argument("--runs", type=int, default=3)
    a = p.parse_args()
    if os.geteuid():
        sys.exit("needs root")
    print("%6s %6s %-8s %20s %20s" % ("MiB", "link", "way", "downtime s", "total s"))
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="haul-containers.") as d:
        os.chmod(d, 0o755)
        try:
            lab_up(d, "--containers")
            tar = root_tar(d)
            for h in "AB":
                run(h, "podman", "import", "-q", tar, IMAGE)
            for rate in a.rate:
                sh(LAB, "rate", rate)
                for mib in a.mib:
                    for way in a.ways:
                        v = [one(way, d, mib, a.writes) for _ in range(a.runs)]
                        print("%6d %6s %-8s %20s %20s" % (mib, rate, way, text([x[0] for x in v]),
                                                          text([x[1] for x in v])), flush=True)
        finally:
            sh(LAB, "down", check=False)


if __name__ == "__main__":
    main()
