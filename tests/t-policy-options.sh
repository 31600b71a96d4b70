#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-policy-options - the table of options, and all that has to agree with it: command line, help,
# schema, man page, the policies that come with haul; every fault is refused with file, line, key.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
haul=${HAUL_BUILDDIR:-$top}/haul
[ -x "$haul" ] || haul=./haul
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0
complain() { echo "FAIL: $*"; bad=1; }

"$haul" policy schema >"$dir/schema"
cmp -s "$dir/schema" "$top/docs/policy.schema.json" ||
	complain "docs/policy.schema.json: not what 'haul policy schema' says"
"$haul" --help >"$dir/help"
python3 - "$dir/schema" "$dir/help" "$top/docs/haul.8" >"$dir/rows" <<'PY' || complain "rows"
import json, re, sys
rows = json.load(open(sys.argv[1]))["properties"]
text, man = open(sys.argv[2]).read(), open(sys.argv[3]).read()
text = re.sub("\n {20,}", " ", text)  # a line for each option
bad = 0
def complain(*a):
    global bad
    bad = 1
    print("FAIL:", *a, file=sys.stderr)
for name, r in rows.items():
    if name == "meaning":
        continue
    if r.get("type") == "array":  # lists: given as often as one likes
        if "--%s=" % name not in text or ".It Fl -%s " % name not in man or ".Cm %s" % name not in man:
            complain("list:", name)
        continue
    line = [l for l in text.splitlines() if l.strip().startswith("--%s=" % name)]
    item = man.split(".It Cm %s Ar " % name)
    if len(line) != 1:
        complain("--help:", name)
        continue
    if len(item) != 2:
        complain("haul.8:", name)
        continue
    item = " ".join(item[1].split(".It")[0].split("\n")[1:])
    if "enum" in r:
        for w in r["enum"]:
            if w not in line[0] or ".Cm " + w not in item:
                complain(name, w)
        print(name, r["enum"][-1], "nonsense", "nonsense")
        continue
    for want in ("%d to %d" % (r["minimum"], r["maximum"]), str(r["default"])):
        if want not in line[0]:
            complain("--help: %s: %s" % (name, want))
        if want not in item:
            complain("haul.8: %s: %s in %s" % (name, want, item))
    print(name, r["maximum"], r["maximum"] + 1, r["minimum"] - 1)
sys.exit(bad)
PY
[ "$(wc -l <"$dir/rows")" -ge 12 ] || complain "too few rows"

# good FILE-TEXT / refused FILE-TEXT PATTERN
good() {
	printf '%s\n' "$1" >"$dir/p.json"
	"$haul" policy check "$dir/p.json" >"$dir/out" 2>&1 || complain "not accepted: $1: $(cat "$dir/out")"
}
refused() {
	printf '%s\n' "$1" >"$dir/p.json"
	local rc=0
	"$haul" policy check "$dir/p.json" >"$dir/out" 2>&1 || rc=$?
	[ $rc = 2 ] && grep -qE "$2" "$dir/out" || complain "$1: rc $rc, not '$2': $(cat "$dir/out")"
	# nothing starts: not a word of the process or the host
	rc=0
	"$haul" --policy="$dir/p.json" 999999 nowhere >"$dir/out" 2>&1 || rc=$?
	[ $rc = 2 ] && grep -qE "$2" "$dir/out" || complain "starts with $1: rc $rc: $(cat "$dir/out")"
}
json() { [[ $1 =~ ^-?[0-9]+$ ]] && echo "$1" || echo "\"$1\""; }
# the other options that a value needs so as not to contradict
with() {
	case $1 in
	downtime-limit-ms | downtime-max-ms) echo ', "freeze-limit-ms": 600000' ;;
	esac
}
while read -r name most over under; do
	case $name in
	downtime-*) ;; # 3600000 is above any freeze limit: contradictions below
	*)
		good "{ \"$name\": $(json "$most")$(with "$name") }"
		"$haul" policy show --"$name=$most" | grep -q "\"$name\": $(json "$most")" || complain "--$name=$most"
		;;
	esac
	for v in "$over" "$under"; do
		refused "{
  \"$name\": $(json "$v") }" "p.json:2: $name: "
		if "$haul" policy show --"$name=$v" >"$dir/out" 2>&1; then complain "--$name=$v is accepted"; fi
		grep -q "$name" "$dir/out" || complain "--$name=$v: $(cat "$dir/out")"
	done
	refused "{ \"meaning\": \"it\",

  \"$name\": [1] }" "p.json:3: $name: must be a .*, is a list"
done <"$dir/rows"

good '{}'
good '{ "meaning": "\"mode\": is a word here", "mode": "hybrid" }'
refused '{ "mode": "auto",
"max-round": 3 }' 'p.json:2: max-round: unknown key'
grep -q 'did you mean max-rounds' "$dir/out" || complain "no hint: $(cat "$dir/out")"
refused '{ "exclud": [] }' 'exclud: unknown key'
grep -q 'did you mean exclude' "$dir/out" || complain "no hint: $(cat "$dir/out")"
refused '{ "meanin": "x" }' 'meanin: unknown key'
grep -q 'did you mean meaning' "$dir/out" || complain "no hint: $(cat "$dir/out")"
refused '{ "zzzzz": 1 }' 'zzzzz: unknown key'
if grep -q 'did you mean' "$dir/out"; then complain "a hint at nothing: $(cat "$dir/out")"; fi
refused '{ "mode": "auto",
"max-\u0072ounds": 0 }' 'p.json:2: max-rounds: 0 rounds'
refused '{ "map": [ "fd:1=null",
  [ ",", "[" ],
  5 ] }' 'p.json:2: map: number 2 is not a string'
refused '{ "map": "fd:1=null", "k\u001b[31m\u009by": 1 }' 'p.json:1: '
refused '{ "k\u001b[31m\u009by": 1 }' 'p.json:1: k\?\[31m\?y: unknown key'
refused '{ "max-rounds": "3" }' 'p.json:1: max-rounds: must be a whole number, is a string'
refused '{ "max-rounds": 3.5 }' 'p.json:1: max-rounds: must be a whole number, is a fraction'
refused '{ "mode": true }' 'p.json:1: mode: must be a string, is true'
refused '{ "mode": "fast" }' 'p.json:1: mode: "fast" is not one of auto, stop-copy'
refused '{ "meaning": 5 }' 'p.json:1: meaning: must be a string'
refused '{ "mode": "auto", "mode": "auto" }' 'p.json:1: duplicate'
refused '{
  "mode": "auto"
  "streams": 2 }' 'p.json:3: '
refused '[]' 'p.json:1: not an object'
good '{ "map": ["fd:1=file:/tmp/x", "tty=attach"], "move-address": [] }'
good '{ "fs": ["/srv/a", "/srv/b"], "exclude": ["*.tmp"] }'
refused '{ "map": "fd:1=null" }' 'p.json:1: map: must be a list'
refused '{ "map": [1] }' 'p.json:1: map: number 1 is not a string'
refused '' 'p.json:'
refused '{ "map": ["fd:1=null",
  "nonsense"] }' 'p.json:2: map: .*nonsense'
refused '{ "move-address": ["nonsense"] }' 'p.json:1: move-address: .*nonsense'
refused '{ "fs": ["relative"] }' 'p.json:1: fs: "relative" is not an absolute path'
refused '{ "exclude": [
  ""] }' 'p.json:2: exclude: '
refused '{ "freeze-limit-ms": 500,
  "downtime-limit-ms": 600 }' 'p.json:2: downtime-limit-ms: 600 ms contradicts freeze-limit-ms 500 ms'
refused '{ "downtime-max-ms": 50 }' 'p.json:1: downtime-max-ms: 50 ms contradicts downtime-limit-ms'
refused '{ "downtime-max-ms": 20000 }' 'p.json:1: downtime-max-ms: .*freeze-limit-ms'
refused '{ "downtime-max-ms": 500,
"mode": "hybrid" }' 'p.json:1: downtime-max-ms: .*mode hybrid \(.*p.json:2\)'
refused '{ "mode": "pre-copy", "degraded-max-s": 5 }' 'degraded-max-s: .*mode pre-copy'
refused '{ "mode": "post-copy", "deadline-s": 5 }' 'deadline-s: .*mode post-copy'
refused '{ "tracker": "none",
"deadline-s": 5 }' 'p.json:2: deadline-s: .*tracker none \(.*p.json:1\)'
refused '{ "tracker": "none", "throttle-max-percent": 5 }' 'throttle-max-percent: .*tracker none'

# a FIFO is not waited for; control characters of a file do not reach the terminal
mkfifo "$dir/fifo.json"
rc=0
timeout 5 "$haul" policy check "$dir/fifo.json" >"$dir/out" 2>&1 || rc=$?
[ $rc = 2 ] && grep -q 'fifo.json: not a regular file' "$dir/out" || complain "FIFO: rc $rc: $(cat "$dir/out")"
printf '{ "meaning": "a\\u001b[31m\\u009b2Jb" }' >"$dir/p.json"
"$haul" policy explain "$dir/p.json" | grep -qP '[\x00-\x09\x0b-\x1f]|\xc2\x9b' && complain "escapes of a meaning are shown"

# an option is honoured, or refused; --json is JSON, an object a line
cat >"$dir/trace" <<'T'
haul-trace 1
title a[31mb
sample-us 100000
100 10
100 0 1:10
T
sed -i 's/ESC/\x1b/' "$dir/trace"
"$haul" policy simulate --trace="$dir/trace" --mode=post-copy >"$dir/out"
grep -q '^default+options  *0  switch' "$dir/out" || complain "simulate --mode: $(cat "$dir/out")"
[ "$(wc -l <"$dir/out")" = 3 ] || complain "simulate --mode: $(cat "$dir/out")"
if grep -q $'\x1b' "$dir/out"; then complain "escapes of a title are shown"; fi
for args in "list --max-rounds=3" "list --policy=default" "check --mode=auto x.json" "show --map=fd:1=null" \
	"show default --policy=default" "simulate --seconds=3 --trace=$dir/trace" "simulate --max-rounds=1"; do
	rc=0
	"$haul" policy $args >"$dir/out" 2>&1 || rc=$?
	[ $rc = 2 ] || complain "policy $args: rc $rc: $(cat "$dir/out")"
done
echo '{ "mode": "fast" }' >"$dir/broken.json"
for args in list show explain schema "check $dir/broken.json $top/policies/gentle.json" "simulate --trace=$dir/trace" \
	"show $dir/broken.json" "simulate --trace=$dir/none"; do
	"$haul" policy $args --json >"$dir/out" 2>"$dir/err" || true
	[ ! -s "$dir/err" ] || complain "policy $args --json: $(cat "$dir/err")"
	[ "$args" != schema ] || continue
	python3 -c 'import json, sys
for line in open(sys.argv[1]): assert type(json.loads(line)) == dict' "$dir/out" || complain "policy $args --json: $(cat "$dir/out")"
done

# a file and the command line may contradict, too
echo '{ "downtime-limit-ms": 400 }' >"$dir/p.json"
if "$haul" policy show "$dir/p.json" --freeze-limit-ms=300 >"$dir/out" 2>&1; then complain "contradiction with the command line"; fi
grep -q 'p.json:1: downtime-limit-ms: .*command line' "$dir/out" || complain "$(cat "$dir/out")"

# those that come with haul; default.json says what no file says
for p in default low-downtime evacuate gentle never-postcopy fast-link; do
	"$haul" policy check "$top/policies/$p.json" >"$dir/out" 2>&1 || complain "$p: $(cat "$dir/out")"
	"$haul" policy explain "$top/policies/$p.json" | grep -q "^$p: " || complain "$p: no meaning"
done
diff <("$haul" policy show "$top/policies/default.json" | grep -v meaning) \
	<("$haul" policy show | grep -v meaning) >/dev/null || complain "default.json is not the default"

# what a stop costs is what haul expects of a real one: these meet their limits
printf '%s\n' 'haul-trace 1' 'title idle' 'sample-us 200000' '100000 10' '100000 0 1:10' >"$dir/trace"
for p in fast-link:50 low-downtime:30; do
	"$haul" policy simulate --policy="$top/policies/${p%:*}.json" --trace="$dir/trace" --bandwidth=10000 >"$dir/out"
	awk -v most="${p#*:}" 'END { exit !($5 > 0 && $5 <= most) }' "$dir/out" || complain "simulate: $(cat "$dir/out")"
done
sed -i '3a fixed-pages 131072' "$dir/trace"
"$haul" policy simulate --policy="$top/policies/default.json" --trace="$dir/trace" >"$dir/out"
awk 'END { exit !($5 > 4300) }' "$dir/out" || complain "simulate, shared memory: $(cat "$dir/out")"

# names: /etc/haul/policies first
if [ "$(id -u)" = 0 ] && [ -d /etc/haul ]; then
	unshare -m bash -ec '
		mount -t tmpfs none /etc/haul; mkdir /etc/haul/policies
		echo "{ \"meaning\": \"ours\", \"streams\": 3 }" >/etc/haul/policies/site.json
		echo "{ \"max-rounds\": 7 }" >/etc/haul/policies/default.json
		"$0" policy list | grep -q "^site .*ours"
		"$0" policy show site | grep -q "\"streams\": 3"
		"$0" policy show | grep -q "\"max-rounds\": 7"
		cp "$1" /etc/haul/policies/broken.json
		! "$0" policy simulate --trace="$2" >/tmp/$$.out
		grep -q "^broken .*not one of" /tmp/$$.out; rm /tmp/$$.out /etc/haul/policies/broken.json
		echo "{ \"meaning\": \"dots\" }" >/etc/haul/policies/a.b.json
		echo "{}" >/etc/haul/policies/.hid.json
		"$0" policy list | grep -q "^a\.b .*dots"
		"$0" policy show a.b | grep -q dots
		! "$0" policy list | grep -q "^ "
		echo "{ \"max-rounds\": 0 }" >/etc/haul/policies/default.json
		! "$0" 999999 nowhere 2>/dev/null' "$haul" "$dir/broken.json" "$dir/trace" || complain "names in /etc/haul/policies"
fi
exit $bad
