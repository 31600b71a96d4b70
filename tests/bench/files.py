#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""files.py - `haul --fs` beside `rsync -aHAX -e ssh` and `tar | ssh tar`: the same directories, one run.

  first      the destination has nothing: haul's look at the tree and its first pass
  unchanged  a further pass when nothing has changed (tar has no such thing)
  1 %        a further pass when every hundredth file, or 1 % of the large file's blocks, has changed
  frozen     haul: its last pass, while the process is stopped
  wire       MiB that the destination received in the first pass

Trees: small (--files of 1 to 8 KiB, 100 in a directory) and large (one file of --mib). Each host has an ext4
of its own, in a file below --dir; the destination's is made anew for each, since ext4 is slow where much
was deleted within the last minutes. ssh and the destination's file system alone are measured, too.
"""
import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAB = os.path.join(TOP, "tests/lab")
HAUL, HAULD = (os.path.join(TOP, p) for p in ("haul", "hauld"))
BLOCK = 16 << 10


def sh(*cmd, **kw):
    r = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if r.returncode:
        sys.exit("%s: %s" % (" ".join(cmd), r.stdout))
    return r.stdout


def run(host, *cmd):
    return sh(LAB, "run", host, *cmd)


def spawn(host, *cmd):
    return subprocess.Popen([LAB, "run", host, "setsid", *cmd], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_disk(d, host, mib=6144):
    image = "%s/image.%s" % (d, host)
    if os.path.exists(image):
        os.unlink(image)
    sh("truncate", "-s", "%dM" % mib, image)
    sh("mkfs.ext4", "-q", "-i", "8192", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
    return image


def wipe(d):
    if run("B", "sh", "-c", "stat -f -c %T /srv").strip() != "tmpfs":
        run("B", "umount", "-l", "/srv")
    run("B", "mount", "-o", "loop", make_disk(d, "B"), "/srv")


def lab_up(d):
    os.mkdir(d + "/disk.A")
    sh("mount", "-o", "loop", make_disk(d, "A"), d + "/disk.A")
    sh(LAB, "up")
    for k in ("id", "hostkey"):
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d + "/" + k)
    run("A", "mount", "--bind", d + "/disk.A", "/srv")
    wipe(d)
    run("A", "cp", d + "/id", "/etc/haul/id_ed25519")
    run("B", "cp", d + "/id.pub", "/etc/haul/authorized_keys")
    run("B", "sh", "-c", 'echo "fs-allow = /srv" >/etc/haul/haul.conf')
    spawn("B", HAULD)
    shutil.copy(d + "/id.pub", d + "/sshd_keys")
    with open(d + "/sshd_config", "w") as f:
        f.write("Port 2222\nHostKey %s/hostkey\nAuthorizedKeysFile %s/sshd_keys\nStrictModes no\n"
                "PermitRootLogin yes\nPidFile none\nUsePAM no\n" % (d, d))
    run("B", "mkdir", "-p", "/run/sshd")
    spawn("B", "/usr/sbin/sshd", "-D", "-f", d + "/sshd_config")
    time.sleep(1)
    run("A", HAUL, "trust", "-y", "hostB")


def make_small(root, files):
    r = random.Random(1)
    for k in range(files):
        if k % 100 == 0:
            os.makedirs("%s/d%d" % (root, k // 100))
        with open("%s/d%d/f%d" % (root, k // 100, k), "wb") as f:
            f.write(r.randbytes(r.randrange(1024, 8192)))


def change_small(root, files, seed):
    r = random.Random(seed)
    for k in range(seed, files, 100):
        with open("%s/d%d/f%d" % (root, k // 100, k), "wb") as f:
            f.write(r.randbytes(r.randrange(1024, 8192)))


def make_large(root, mib):
    os.makedirs(root)
    with open(root + "/file", "wb") as f:
        for _ in range(mib):
            f.write(os.urandom(1 << 20))


def change_large(root, mib, seed):
    r = random.Random(seed)
    with open(root + "/file", "r+b") as f:
        for b in r.sample(range((mib << 20) // BLOCK), (mib << 20) // BLOCK // 100):
            f.seek(b * BLOCK)
            f.write(r.randbytes(BLOCK))


def timed(host, *cmd):
    os.sync()
    t0 = time.monotonic()
    run(host, *cmd)
    return time.monotonic() - t0


def ssh(d):
    return "ssh -p 2222 -i %s/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR" % d


def rx_bytes():
    for line in run("B", "cat", "/proc/net/dev").splitlines():
        if line.strip().startswith("eth0:"):
            return int(line.split(":")[1].split()[0])
    return 0


def bench_rsync(d, change):
    rsync = ["rsync", "-aHAX", "--delete", "-e", ssh(d), "/srv/tree/", "root@hostB:/srv/tree/"]
    wipe(d)
    rx = rx_bytes()
    out = {"first": timed("A", *rsync), "wire": rx_bytes() - rx}
    out["unchanged"] = timed("A", *rsync)
    change(2)
    out["changed"] = timed("A", *rsync)
    return out


def bench_tar(d):
    wipe(d)
    rx = rx_bytes()
    t = timed("A", "sh", "-c", "tar -C /srv --xattrs --acls -cf - tree | %s root@hostB tar -C /srv --xattrs --acls -xpf -" % ssh(d))
    return {"first": t, "wire": rx_bytes() - rx}


def wait_for(path, word, p):
    while word not in open(path).read():
        if p.poll() is not None:
            sys.exit("haul: " + open(path).read())
        time.sleep(0.005)


def bench_haul(d, change):
    """One migration; haul is held after its first pass, and after the pass that found nothing."""
    wipe(d)
    log = d + "/haul.log"
    pid = sh(LAB, "spawn", "A", "bench", "sleep", "1000000").strip()
    os.sync()
    rx = rx_bytes()
    with open(log, "w") as f:
        p = subprocess.Popen([LAB, "run", "A", "env", "HAUL_FAULT=s-prepared:hold", "HAUL_FAULT_FILE=%s/hold" % d,
                              HAUL, "-v", "--json", "--mode=stop-copy", "--fs=/srv/tree", "--freeze-limit-ms=60000",
                              "--downtime-limit-ms=60000", pid, "hostB"],
                             stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT)
    while not os.path.exists(d + "/hold"):
        if p.poll() is not None:
            sys.exit("haul: " + open(log).read())
        time.sleep(0.01)
    wire = rx_bytes() - rx
    change(3)
    os.unlink(d + "/hold")
    if p.wait():
        sys.exit("haul: " + open(log).read())
    text = open(log).read()
    passes = [tuple(map(int, m)) for m in re.findall(r"files pass=\d+ files=(\d+) bytes=(\d+) look_us=(\d+) us=(\d+)", text)]
    done = next(e for e in (json.loads(l) for l in text.splitlines() if l.startswith("{")) if e.get("event") == "done")
    quiet = [us for files, size, _, us in passes[1:] if not size]
    run("B", "kill", "-9", pid)
    return {"first": (done["fs_first_us"] + done.get("fs_look_us", 0)) / 1e6, "wire": wire,
            "changed": passes[1][3] / 1e6, "unchanged": min(quiet) / 1e6 if quiet else None,
            "frozen": done["fs_frozen_us"] / 1e6, "downtime": done["downtime_us"] / 1e6, "passes": len(passes)}


def link_speed(d):
    t = timed("A", "sh", "-c", "head -c 1G /dev/zero | %s root@hostB 'cat >/dev/null'" % ssh(d))
    return 1024 / t


def disk_speed():
    t = timed("B", "dd", "if=/dev/zero", "of=/srv/zero", "bs=1M", "count=1024", "conv=fdatasync", "status=none")
    return 1024 / t


def show(tree, name, r, base):
    def cell(v):
        return "%10s" % ("-" if v is None else "%.0f ms" % (v * 1000) if v < 1 else "%.2f s" % v)

    print("%-6s %-6s" % (tree, name) + "".join(cell(r.get(k)) for k in ("first", "unchanged", "changed", "frozen")) +
          "%9.0f MiB" % (r["wire"] / (1 << 20)) + "%8.2f x" % (base / r["first"]), flush=True)


def bench_tree(d, tree, make, change, methods, results):
    root = d + "/disk.A/tree"
    shutil.rmtree(root, ignore_errors=True)
    make(root)
    os.sync()
    base = None
    for m in methods:
        r = {"rsync": lambda: bench_rsync(d, lambda s: change(root, s)), "tar": lambda: bench_tar(d),
             "haul": lambda: bench_haul(d, lambda s: change(root, s))}[m]()
        base = base or r["first"]
        show(tree, m, r, base)
        results.append({"tree": tree, "by": m, **r})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--files", type=int, default=100000)
    p.add_argument("--mib", type=int, default=2048)
    p.add_argument("--trees", nargs="+", default=["small", "large"])
    p.add_argument("--by", nargs="+", default=["rsync", "tar", "haul"])
    p.add_argument("--dir", default="/var/tmp")
    p.add_argument("--json", help="append the results to this file")
    a = p.parse_args()
    os.environ.setdefault("LAB", "benchfs")
    d = tempfile.mkdtemp(prefix="haul-files.", dir=a.dir)
    os.chmod(d, 0o755)
    results = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        lab_up(d)
        print("ssh alone: %.0f MiB/s; the destination's file system: %.0f MiB/s" % (link_speed(d), disk_speed()))
        print("%-13s%10s%10s%10s%10s%13s%10s" % ("tree", "first", "unchanged", "1 %", "frozen", "wire", "first"))
        if "small" in a.trees:
            bench_tree(d, "small", lambda r: make_small(r, a.files), lambda r, s: change_small(r, a.files, s), a.by, results)
        if "large" in a.trees:
            bench_tree(d, "large", lambda r: make_large(r, a.mib), lambda r, s: change_large(r, a.mib, s), a.by, results)
    finally:
        subprocess.run([LAB, "down"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(["umount", d + "/disk.A"], stderr=subprocess.DEVNULL)
        shutil.rmtree(d, ignore_errors=True)
    if a.json:
        with open(a.json, "a") as f:
            f.write(json.dumps({"when": time.strftime("%F %T"), "results": results}) + "\n")


main()
