#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""docstrings.py - has every function that a header declares a comment that says what it does?

Usage: docstrings.py TOP. A comment stands directly before the declaration, or it names the function as
"name()" in the 20 lines before it (one comment for a pair). What only frees needs none: NAME_free,
NAME_fini. Exit status 1 when one is missing."""
import glob
import re
import sys

FUNCTION = re.compile(r"^(?!typedef|static|extern|enum|#|return|DEFINE)[a-zA-Z_][\w \*]*?\b([a-z]\w+)\(")


def missing(path):
    lines = open(path).read().split("\n")
    for i, line in enumerate(lines):
        m = FUNCTION.match(line)
        if not m or re.search(r"_(free|fini)$", m.group(1)):
            continue
        if i and lines[i - 1].rstrip().endswith("*/"):
            continue
        before = [x.strip() for x in lines[max(0, i - 20):i]]
        said = any(x.startswith(("/*", "*")) and m.group(1) + "()" in x for x in before)
        if not said:
            yield f"{path}:{i + 1}: {m.group(1)}() has no comment that says what it does"


def main():
    top = sys.argv[1]
    faults = []
    for t in ("agent", "common", "engine", "hauler", "policies", "transport"):
        for path in sorted(glob.glob(f"{top}/{t}/**/*.h", recursive=True)):
            if not path.endswith(".pb-c.h"):
                faults += missing(path)
    print("\n".join(faults), end="\n" if faults else "")
    sys.exit(1 if faults else 0)


main()
