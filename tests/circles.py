#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""circles.py - who calls whom among the object files of a built tree, as nm sees it, and who includes whom.

Usage: circles.py TOP [--list | --figures], in the build directory. --list prints each arrow between
files; --figures prints the size of each circle. Exit status 1 when a rule does not hold."""
import collections
import glob
import os
import re
import subprocess
import sys

TOPS = ["common", "transport", "policies", "engine", "archive", "hauler", "agent"]

# Folders from the bottom up: one may use those that stand above it in this list, within its own
# group and in the groups that the group names. ARCHITECTURE.md says the same in words.
ORDER = [
    "common", "common/host", "common/local",
    "transport/keys", "transport", "transport/msg",
    "policies",
    "engine", "engine/proc", "engine/net", "engine/tracker", "engine/store", "engine/pager", "engine/images", "engine/criu", "engine/container",
    "archive",
    "hauler/options", "hauler/rights", "hauler/inspect", "hauler/inspect/tree", "hauler/pages", "hauler/mig", "hauler/dirs", "hauler/files",
    "hauler/net", "hauler/report", "hauler/save", "hauler/load",
    "hauler/supervisors", "hauler/recheck", "hauler/run", "hauler/launch", "hauler/cli",
    "agent/check", "agent/mig", "agent/files", "agent/berth", "agent/dirs", "agent/gate", "agent/worker", "agent/api", "agent/api/handlers",
    "agent/porter", "agent/daemon",
]
# What must not know each other although the list alone would allow it; with the folders in them.
APART = [
    ("transport", "policies"), ("transport", "engine"), ("policies", "engine"),
    ("policies", "transport"),
    ("hauler/dirs", "hauler/files"), ("hauler/dirs", "hauler/net"), ("hauler/files", "hauler/net"),
    ("agent/api", "agent/worker"), ("agent/api", "agent/gate"), ("hauler/launch", "hauler/run"),
]
# The one exception: policy files and options are checked in both programs.
AGENT_MAY_USE = {"hauler/options"}


def objects(top):
    """Every object of the programs but generated ones, by the path of its source without the ending."""
    found = {}
    for t in TOPS:
        for path in glob.glob(f"{t}/**/*.o", recursive=True):
            name = re.sub(r"lib[a-z]+_a-", "", path)[:-2]
            # what is left of a source that has moved does not count
            if not name.endswith(".pb-c") and os.path.exists(f"{top}/{name}.c"):
                found[name] = path
    return found


def arrows(objs):
    """Who calls whom, and where each symbol is defined."""
    name_of = {path: name for name, path in objs.items()}
    home, wants = {}, collections.defaultdict(set)
    for line in subprocess.check_output(["nm", "-A", *name_of], text=True).splitlines():
        path, rest = line.split(":", 1)
        kind, symbol = rest.split()[-2:]
        if symbol.startswith("__odr_asan."):  # AddressSanitizer's, one for each variable
            continue
        # the two programs have a main() each
        if kind in "TDBRV" and symbol != "main":
            home[symbol] = name_of[path]
        elif kind == "U":
            wants[name_of[path]].add(symbol)
    to = collections.defaultdict(dict)
    for name, syms in wants.items():
        for s in syms:
            if s in home and home[s] != name:
                to[name].setdefault(home[s], s)
    return to, home


def includes(top):
    """Who includes whom."""
    to = collections.defaultdict(dict)
    for t in TOPS:
        for path in glob.glob(f"{top}/{t}/**/*.[ch]", recursive=True):
            name = os.path.relpath(path, top)
            with open(path) as f:
                found = re.findall(r'(?m)^#include "([^"]+)"', f.read())
            for other in found:
                if ".pb-c." not in name and ".pb-c." not in other and os.path.exists(f"{top}/{other}"):
                    to[name][other] = f"{name} includes {other}"
    return to


def between_folders(to, words):
    """The arrows between files as arrows between their folders, each with one reason."""
    by_folder = collections.defaultdict(dict)
    for a, others in to.items():
        for b, s in others.items():
            if folder(a) != folder(b):
                by_folder[folder(a)].setdefault(folder(b), words(a, b, s))
    return by_folder


def circle_faults(what, found, to):
    bad = []
    for c in found:
        bad.append(f"a circle of {what}: " + " ".join(c))
        bad += [f"    {a} -> {b}: {to[a][b]}" for a in c for b in c if b in to.get(a, {})]
    return bad


def circles(nodes, to):
    """Strongly connected components with more than one member (Tarjan, without recursion)."""
    index, low, on, stack, found = {}, {}, set(), [], []
    for root in sorted(nodes):
        if root in index:
            continue
        work = [(root, iter(sorted(to.get(root, ()))))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on.add(root)
        while work:
            v, it = work[-1]
            for w in it:
                if w not in index:
                    index[w] = low[w] = len(index)
                    stack.append(w)
                    on.add(w)
                    work.append((w, iter(sorted(to.get(w, ())))))
                    break
                if w in on:
                    low[v] = min(low[v], index[w])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[v])
                if low[v] == index[v]:
                    c = []
                    while True:
                        w = stack.pop()
                        on.discard(w)
                        c.append(w)
                        if w == v:
                            break
                    if len(c) > 1:
                        found.append(sorted(c))
    return found


def folder(name):
    return os.path.dirname(name)


# Short forms: hauler/net is mnet_, since net_ is engine/net's; a key is a type of transport's.
SHORT = {"policies": "pol", "hauler/net": "mnet", "transport": "tr"}


def words(text):
    return [w for w in re.split(r"[_/]", text) if w]


def prefix_ok(symbol, name, objs):
    """Does @symbol begin with a word of its path, or with the name of a file beside it (chan_read()
    is in transport/io.c, and chan.c is where a channel is made)? A plural is the same word."""
    def same(a, b):
        return a == b or a + "s" == b or b + "s" == a or a + "es" == b or b + "es" == a
    first = words(symbol)
    path = words(name)
    if not first or not path:
        return False
    path += SHORT.get(folder(name), "").split()
    beside = [w for o in objs if folder(o) == folder(name) for w in words(os.path.basename(o))]
    return any(same(first[0], w) for w in path + beside)


def headers(top):
    """Each header compiles by itself."""
    bad = []
    flags = ["-std=c17", "-D_GNU_SOURCE", f"-I{top}", "-I.", "-fsyntax-only", "-x", "c"]
    flags += subprocess.check_output(
        ["pkg-config", "--cflags", "libssh", "libprotobuf-c", "jansson", "libmicrohttpd", "libcurl"],
        text=True).split()
    running = []
    for t in TOPS:
        for h in sorted(glob.glob(f"{top}/{t}/**/*.h", recursive=True)):
            if h.endswith(".pb-c.h"):
                continue
            running.append((h, subprocess.Popen(["gcc", *flags, h], stderr=subprocess.PIPE, text=True)))
            if len(running) >= os.cpu_count():
                bad += finish(running.pop(0))
    for r in running:
        bad += finish(r)
    return bad


def finish(running):
    h, p = running
    err = p.communicate()[1]
    return [f"{h}: does not compile by itself: {err.splitlines()[0]}"] if p.returncode else []


def apart(f, o):
    def within(x, y):
        return x == y or x.startswith(y + "/")
    return any(within(f, a) and within(o, b) or within(f, b) and within(o, a) for a, b in APART)


def layer_faults(by_folder):
    place = {f: i for i, f in enumerate(ORDER)}
    bad = []
    for f, others in by_folder.items():
        if f not in place:
            bad.append(f"{f}: a folder that tests/circles.py does not know: give it a place in ORDER")
            continue
        for o, why in others.items():
            if o not in place:
                continue
            agent_up = f.startswith("agent") and o.startswith("hauler") and o not in AGENT_MAY_USE
            hauler_up = f.startswith("hauler") and o.startswith("agent")
            if place[o] > place[f] or apart(f, o) or agent_up or hauler_up:
                bad.append(f"{f} must not use {o}: {why}")
    return bad


def main():
    top = sys.argv[1]
    objs = objects(top)
    if len(objs) < 150:
        print(f"only {len(objs)} object files here: build first")
        return 1
    to, home = arrows(objs)
    if "--list" in sys.argv:
        for a in sorted(to):
            for b, s in sorted(to[a].items()):
                print(a, b, s)
        return 0
    bad = []
    files = circles(objs, to)
    by_folder = between_folders(to, lambda a, b, s: f"{a}.c calls {s}() of {b}.c")
    folders = circles(by_folder, by_folder)
    print(f"{len(objs)} files, {sum(map(len, files))} of them in {len(files)} circles; "
          f"{sum(map(len, folders))} folders in {len(folders)} circles")
    if "--figures" in sys.argv:
        for c in files:
            print(len(c), *c)
        return 0
    bad += circle_faults("files", files, to)
    bad += circle_faults("folders", folders, by_folder)
    bad += layer_faults(by_folder)
    read = includes(top)
    read_by_folder = between_folders(read, lambda a, b, s: s)
    bad += circle_faults("headers", circles(read, read), read)
    bad += circle_faults("folders, by their headers", circles(read_by_folder, read_by_folder), read_by_folder)
    bad += layer_faults(read_by_folder)
    if len(read) < 300:
        bad.append(f"only {len(read)} files with an #include: what does the search miss?")
    for s, name in sorted(home.items()):
        if not prefix_ok(s, name, objs):
            bad.append(f"{name}.c: {s} does not begin with the name of its folder or of a file in it")
    bad += headers(top)
    print("\n".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
