#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""finding-codes.py - the codes of findings in the sources, and whether docs/FINDINGS.md has the same.

Usage: finding-codes.py TOP [--list]. --list prints each code with its severities. Exit status 1 when a code is
in one of the two only, or has other severities there."""
import collections
import glob
import re
import sys

# say() in agent/check has the list of findings in its first argument, too
CALLS = re.compile(r"\b(?:finding_add|inspect_say|say)\(")
SEVERITY = {"SEV_BLOCKER": "blocker", "SEV_WARNING": "warning", "SEV_INFO": "info"}
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


def arguments(text, at):
    """The first three arguments of the call whose parenthesis ends before @at."""
    found, depth, start = [], 0, at
    while len(found) < 3:
        c = text[at]
        if c == '"':
            at = TEXT.match(text, at).end()
            continue
        if c in ",)" and depth == 0:
            found.append(text[start:at].strip())
            start = at + 1
            if c == ")":
                break
        depth += (c in "([{") - (c in ")]}")
        at += 1
    return found


def codes_of(word, text):
    """The codes that an expression may have: literals, or the second column of a table in the file."""
    table = re.fullmatch(r"(\w+)\[\w+\]\.code", word)
    if not table:
        return TEXT.findall(word)
    rows = re.search(r"\} %s\[\] = \{(.*?)\n\};" % table.group(1), text, re.S).group(1)
    return [TEXT.findall(r)[1] for r in re.findall(r"\{[^{}]*\}", rows)]


def in_sources(top):
    found = collections.defaultdict(set)
    for t in "hauler", "agent", "engine/container":
        for path in glob.glob(f"{top}/{t}/**/*.c", recursive=True):
            with open(path) as f:
                text = f.read()
            for m in CALLS.finditer(text):
                a = arguments(text, m.end())
                if len(a) < 3 or "SEV_" not in a[1]:
                    continue
                kinds = {SEVERITY[k] for k in re.findall(r"SEV_\w+", a[1])}
                # --supervisor=ignore
                kinds |= {"info"} if a[1].startswith("severity(") else set()
                for code in codes_of(a[2], text):
                    found[code] |= kinds
    return found


def in_document(top):
    with open(f"{top}/docs/FINDINGS.md") as f:
        rows = re.findall(r"(?m)^\| `([a-z0-9-]+)` \| ([a-z, ]+?) \|", f.read())
    for a, b in zip(rows, rows[1:]):
        if a[0] >= b[0]:
            print(f"docs/FINDINGS.md: {b[0]} stands after {a[0]}")
    return {code: set(kinds.split(", ")) for code, kinds in rows}


def main():
    have, told = in_sources(sys.argv[1]), None
    if "--list" in sys.argv:
        for code in sorted(have):
            print(code, ", ".join(k for k in SEVERITY.values() if k in have[code]))
        return 0
    told = in_document(sys.argv[1])
    bad = [f"{c}: in the sources, not in docs/FINDINGS.md" for c in sorted(have.keys() - told.keys())]
    bad += [f"{c}: in docs/FINDINGS.md, not in the sources" for c in sorted(told.keys() - have.keys())]
    bad += [f"{c}: {sorted(have[c])} in the sources, {sorted(told[c])} in docs/FINDINGS.md"
            for c in sorted(have.keys() & told.keys()) if have[c] != told[c]]
    if len(have) < 100:
        bad.append(f"only {len(have)} codes found")
    print("\n".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
