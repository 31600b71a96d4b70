#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-options - the tables of haul's and hauld's options and all that has to agree with them: the help, the manual
# pages with unit, range and default, and the requests to move and to check of the API; the keys of the configuration
# and hauld(8); the main events of webhooks and docs/API.md.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
build=${HAUL_BUILDDIR:-$top}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$build/tests/option-rows" >"$dir/rows"
"$build/haul" --help >"$dir/haul"
"$build/hauld" --help >"$dir/hauld"
python3 - "$dir" "$top/docs" <<'PY'
import json, re, sys
dir, docs = sys.argv[1:]
tables = json.load(open(dir + "/rows"))
api = json.load(open(docs + "/openapi.json"))
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
def manual(program):
    return re.sub(r"\\-|\\&", lambda m: "-" if m.group() == r"\-" else "", open("%s/%s.8" % (docs, program)).read())

def one(r, program, text, man):
    """One row, the help and the manual page."""
    flag, page = "--" + r["name"], program + ".8"
    line = [l for l in text.splitlines() if re.search(r"^ +(-., )?%s(=| |$)" % re.escape(flag), l)]
    if len(line) != 1:
        return complain("%s --help:" % program, flag, line)
    name = re.escape(r["name"])
    items = re.findall(r"(?m)^\.It (?:Fl \w , )?Fl -%s\b(?!-)[^\n]*\n(.*?)(?=^\.(?:It|El))" % name, man, re.S)
    heads = re.findall(r"(?m)^\.It (?:Fl (\w) , )?Fl -%s(?= |$)(.*)$" % name, man)
    if len(items) != 1 or len(heads) != 1:
        return complain("%s: %d items for %s" % (page, len(heads), flag))
    letter, value = heads[0]
    if letter != r["letter"]:
        complain("%s: %s: letter %r, not %r" % (page, flag, letter, r["letter"]))
    if ("Ar" in value) != (r["kind"] != "flag"):
        complain("%s: %s: %s" % (page, flag, value))
    if len(items[0].split()) < 3:
        complain("%s: %s: not a sentence: %r" % (page, flag, items[0]))
    want = []
    if r["kind"] == "number":
        want.append("%d to %d" % (r["min"], r["max"]))
    if "default" in r:
        want.append(r["default"])
    for w in want:
        if w not in line[0]:
            complain("%s --help: %s: no %r" % (program, flag, w))
        if w not in items[0]:
            complain("%s: %s: no %r in %r" % (page, flag, w, items[0]))
for program, least in ("haul", 30), ("hauld", 10):
    text = re.sub("\n {20,}", " ", open(dir + "/" + program).read())  # a line for each option
    for r in tables[program]:
        one(r, program, text, manual(program))
    if len(tables[program]) < least:
        complain("%s: too few rows" % program)

rows = tables["haul"]
for r in rows:
    flag = "--" + r["name"]
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

# the keys of the configuration, in a .It or a .Cm of hauld(8) or, those of hooks, of haul(8)
told = set(re.findall(r"[a-z-]+", " ".join(re.findall(r"(?m)^\.(?:It )?Cm (.*)$", manual("haul") + manual("hauld")))))
for key in tables["keys"]:
    if key not in told:
        complain("no key %s in hauld.8" % key)
listed = re.findall(r"(?m)^\.It Cm (.*)$", manual("hauld"))
for key in " , ".join(listed).split(" , "):
    if key not in tables["keys"]:
        complain("hauld.8: hauld knows no key %s" % key)
main = re.search(r"the main\s+events \(([^)]*)\)", open(docs + "/API.md").read())
main = set(re.split(r",\s*", main.group(1)))
if main != set(tables["main_events"]):
    complain("API.md: main events that only one side has:", sorted(main ^ set(tables["main_events"])))
sys.exit(bad)
PY
