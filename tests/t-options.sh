#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-options - the table of haul's options and all that has to agree with it: the help, the manual page
# with unit, range and default, and the requests to move and to check of the API.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
build=${HAUL_BUILDDIR:-$top}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$build/tests/option-rows" >"$dir/rows"
"$build/haul" --help >"$dir/help"
python3 - "$dir/rows" "$dir/help" "$top/docs/haul.8" "$top/docs/openapi.json" <<'PY'
import json, re, sys
rows = json.load(open(sys.argv[1]))
text = re.sub("\n {20,}", " ", open(sys.argv[2]).read())  # a line for each option
man = re.sub(r"\\-|\\&", lambda m: "-" if m.group() == r"\-" else "", open(sys.argv[3]).read())
api = json.load(open(sys.argv[4]))
requests = {"Request": api["components"]["schemas"]["Request"],
            "/v1/check": api["paths"]["/v1/check"]["post"]["requestBody"]["content"]["application/json"]["schema"]}
bad = 0
def complain(*a):
    global bad
    bad = 1
    print("FAIL:", *a)
def resolve(node):
    while "$ref" in node:
        ref, node = node["$ref"], api
        for part in ref[2:].split("/"):
            node = node[part]
    return node

for r in rows:
    name, flag = r["name"], "--" + r["name"]
    line = [l for l in text.splitlines() if re.search(r"^ +(-., )?%s(=| |$)" % re.escape(flag), l)]
    if len(line) != 1:
        complain("--help:", flag, line)
        continue
    items = re.findall(r"(?m)^\.It (?:Fl \w , )?Fl -%s\b(?!-)[^\n]*\n(.*?)(?=^\.(?:It|El))" % re.escape(name), man, re.S)
    heads = re.findall(r"(?m)^\.It (?:Fl (\w) , )?Fl -%s(?= |$)(.*)$" % re.escape(name), man)
    if len(items) != 1 or len(heads) != 1:
        complain("haul.8: %d items for %s" % (len(heads), flag))
        continue
    letter, value = heads[0]
    if letter != r["letter"]:
        complain("haul.8: %s: letter %r, not %r" % (flag, letter, r["letter"]))
    if ("Ar" in value) != (r["kind"] != "flag"):
        complain("haul.8: %s: %s" % (flag, value))
    if len(items[0].split()) < 3:
        complain("haul.8: %s: not a sentence: %r" % (flag, items[0]))
    want = []
    if r["kind"] == "number":
        want.append("%d to %d" % (r["min"], r["max"]))
    if "default" in r:
        want.append(r["default"])
    for w in want:
        if w not in line[0]:
            complain("--help: %s: no %r" % (flag, w))
        if w not in items[0]:
            complain("haul.8: %s: no %r in %r" % (flag, w, items[0]))
    if (r["whose"] in ("user", "operator", "admin")) != ("key" in r):
        complain("%s: sent to a hauld, or not?" % flag)
    if "key" not in r:
        continue
    for where, schema in requests.items():
        have = schema["properties"].get(r["key"])
        if have is None:
            complain("openapi.json: %s: no %s" % (where, r["key"]))
            continue
        have = resolve(have)
        kind = {"flag": "boolean", "text": "string", "number": "integer", "list": "array"}[r["kind"]]
        if have["type"] != kind:
            complain("openapi.json: %s: %s is of type %s" % (where, r["key"], have["type"]))
        if kind == "integer" and (have["minimum"], have["maximum"]) != (r["min"], r["max"]):
            complain("openapi.json: %s: %s: %s to %s" % (where, r["key"], have["minimum"], have["maximum"]))
        if (r["whose"] == "operator") != ("not for users" in have["description"]) or \
                (r["whose"] == "admin") != ("admins only" in have["description"]):
            complain("openapi.json: %s: %s: for whom? %s" % (where, r["key"], have["description"]))
for where, schema in requests.items():
    for key in schema["properties"]:
        if key not in ("pid", "destination", "options") and not [r for r in rows if r.get("key") == key]:
            complain("openapi.json: %s: %s is not in the table" % (where, key))
if len(rows) < 30:
    complain("too few rows")
sys.exit(bad)
PY
