# SPDX-License-Identifier: GPL-2.0-or-later
"""crashlab.py - what crash-matrix.py needs around a case: hosts, daemons, a link that can break,
memory that can be full, and what a host looks like when nothing is left over."""
import os
import re
import subprocess
import sys
import time

os.environ.setdefault("HAUL_AGENT", "none")  # haul itself, not hauld for it
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAB = TOP + "/tests/lab"
HAUL, HAULD, WRITER = TOP + "/haul", TOP + "/hauld", TOP + "/tests/work/writer"
OBJECTS = TOP + "/tests/work/objects"
PORT, PROXY_PORT = 4285, 4290
RUN = "/run/haul"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
MEMORY = "/sys/fs/cgroup/memory"
UNIFIED = next((line.split()[1] for line in open("/proc/self/mounts") if line.split()[2] == "cgroup2"), None)

# What can be left over on a host, a line each. What belongs there is the same before and after.
# A tmpfs has its size in the list only where that is not half of the memory now, which changes.
LOOK = r"""
sed 's/,size=[0-9]*k//; s/^/mount /' /proc/self/mounts | grep -v random/boot_id
find /run /dev/shm /srv -mindepth 1 ! -path '/run/haul/journal/dest-*' ! -path /run/haul ! -path /run/haul/journal \
	! -path /run/haul/fill ! -path /run/haul/fs ! -path /run/haul/files ! -path /run/haul/api.sock ! -path '/run/lock*' ! -path '/run/netns*' ! -name "criu.kdat*" -printf 'file %p\n'
nft list tables 2>/dev/null
ip -o addr show dev eth0 | awk '{ print "address", $4 }'
ps -eo pid=,ppid=,comm=,args= | awk -v me=$$ '$1 != me && $2 != me && $3 !~ /^hauld-(api|porter)$/ { print "process", $1, $4 }'
for p in $(grep -Lx hauld-porter /proc/[0-9]*/comm); do p=${p%/comm}; readlink $p/ns/mnt $p/ns/net $p/ns/ipc $p/ns/uts; done | sort -u | sed 's/^/namespace /'
true
"""


def sh(*cmd, check=True, timeout=120, **kw):
    r = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=timeout, **kw)
    if check and r.returncode:
        raise RuntimeError("%s: %s" % (" ".join(cmd), r.stdout))
    return r.stdout


def on(host, *cmd, check=True, **kw):
    return sh(LAB, "run", host, *cmd, check=check, **kw)


def shell(host, text, **kw):
    return on(host, "sh", "-c", text, check=False, **kw)


def pids(host, name):
    return on(host, "pgrep", "-x", name, check=False).split()


def outer(host, pid):
    """that process as this machine calls it"""
    return sh(LAB, "pid", host, pid, check=False).strip()


class Bench:
    """Two hosts and one for clients; a hauld on B; a proxy in front of it that can break the link."""

    def __init__(self, d):
        self.d = d
        sh(LAB, "up", "--hosts", "3")
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d + "/id")
        on("A", "cp", d + "/id", "/etc/haul/id_ed25519")
        on("B", "cp", d + "/id.pub", "/etc/haul/authorized_keys")
        self.times_full = 0
        self.fault_file = d + "/fault"
        self.address = sh(LAB, "addr", "A").strip().rsplit(".", 1)[0] + ".99"
        self.daemon = None
        self.start_hauld({})
        self.proxy = self.spawn("B", sys.executable, TOP + "/tests/work/link-proxy.py", str(PROXY_PORT), str(PORT),
                                d + "/link")
        time.sleep(0.5)
        for port in (PORT, PROXY_PORT):
            on("A", HAUL, "trust", "-y", "-p", str(port), "hostB")
        sh(LAB, "rate", "300mbit")
        self.clean_look = {h: self.look(h) for h in "AB"}

    def spawn(self, host, *cmd, env=None, log=None):
        out = open(log or os.devnull, "a")
        return subprocess.Popen([LAB, "run", host, "setsid", *cmd], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                env=dict(os.environ, **(env or {})))

    def look(self, host, but=()):
        """the processes of a host, without those of @but and the daemon"""
        known = set(but) | {self.listener()}
        return {line for line in shell(host, LOOK).splitlines()
                if not (line.startswith("process ") and line.split()[1] in known)}

    def left(self, but):
        """what is on the hosts that was not there at first"""
        out = []
        for h in "AB":
            now = self.look(h, but)
            out += ["%s: %s" % (h, x) for x in sorted(now - self.clean_look[h])]
            out += ["%s: gone: %s" % (h, x) for x in sorted(self.clean_look[h] - now)]
        return out

    def cgroups(self, ids):
        """of the migrations @ids: labs share the machine's"""
        return ["cgroup haul-" + i for i in ids if UNIFIED and os.path.exists("%s/haul-%s" % (UNIFIED, i))]

    # ---- hauld

    def listener(self):
        """pid, in B, of the hauld that listens"""
        m = re.search(r"pid=(\d+)", on("B", "ss", "-Hltnp", "sport = :%d" % PORT, check=False))
        return m.group(1) if m else None

    def start_hauld(self, env):
        self.daemon = self.spawn("B", HAULD, "-v", env=env, log=self.d + "/hauld.log")
        for _ in range(500):
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

    def guardians(self):
        return pids("B", "haul-guard")

    def workers(self):
        daemon = self.listener()
        return [p for p in pids("B", "hauld") if p != daemon]

    def kill_there(self, which):
        if which:
            on("B", "kill", "-KILL", *which, check=False)

    # ---- the link

    def link(self, word):
        with open(self.d + "/link.new", "w") as f:
            f.write(word)
        os.rename(self.d + "/link.new", self.d + "/link")
        for _ in range(200):
            if not os.path.exists(self.d + "/link"):
                return
            time.sleep(0.02)
        raise RuntimeError("the proxy does not listen")

    def plug(self, up):
        """the cable: what is sent meanwhile is dropped, and nobody is told"""
        sh("ip", "-n", "hl-%s-sw" % os.environ["LAB"], "link", "set", "pB", "up" if up else "down")

    # ---- space and memory

    def fill(self, host):
        """the file system of the journal has no byte left"""
        shell(host, "mount -o remount,size=2m /run && mkdir -p %s && dd if=/dev/zero of=%s/fill bs=4k 2>/dev/null"
              % (RUN, RUN))

    def unfill(self):
        for h in "AB":
            shell(h, "[ ! -e %s/fill ] || { rm -f %s/fill; mount -o remount,size=50%% /run; }" % (RUN, RUN))

    def memory_group(self):
        """one of its own each time: what was charged to the last one may be there for a while"""
        return "%s/%s-full%d" % (MEMORY, os.environ["LAB"], self.times_full)

    def memory_full(self):
        """no more for the worker, its guardians and CRIU on B: ENOMEM from the kernel, and faults wait"""
        self.times_full += 1
        group = self.memory_group()
        os.makedirs(group, exist_ok=True)
        with open(group + "/memory.oom_control", "w") as f:
            f.write("1")
        with open(group + "/memory.limit_in_bytes", "w") as f:
            f.write("131072")
        for p in self.workers() + self.guardians() + pids("B", "criu"):
            try:
                with open(group + "/cgroup.procs", "w") as f:
                    f.write(outer("B", p))
            except OSError:
                pass  # it has ended

    def memory_free(self):
        group = self.memory_group()
        if not os.path.isdir(group):
            return
        with open(group + "/memory.limit_in_bytes", "w") as f:
            f.write("-1")
        for p in open(group + "/cgroup.procs").read().split():
            try:
                with open(MEMORY + "/cgroup.procs", "w") as f:
                    f.write(p)
            except OSError:
                pass
        try:
            os.rmdir(group)
        except OSError:
            pass  # they are still about to end

    # ---- the whole destination

    def lose_host(self, pid):
        """B loses its power, and comes back"""
        self.stop_hauld("-KILL")
        self.kill_there(self.guardians() + self.workers() + pids("B", "criu") + [pid])
        shell("B", "rm -rf %s; cat /proc/sys/kernel/random/uuid >%s/boot; mount --bind %s/boot %s"
              % (RUN, self.d, self.d, BOOT_ID))
        self.link("reset")
        self.start_hauld({})

    def same_boot(self):
        shell("B", "while umount %s 2>/dev/null; do :; done" % BOOT_ID)

    def down(self):
        self.memory_free()
        sh(LAB, "down", check=False)
        if os.path.isdir(self.memory_group()):
            os.rmdir(self.memory_group())
