#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-names - names that a user chooses for processes and files: no terminal, log or JSON gets a byte of them
# that does more than show a character, and no process hides by its name; a full state folder loses no outcome.
. "$(dirname "$0")/lib.sh"
. "$top/tests/page/lab.sh"
api_options=()
api_up
unset HAUL_AGENT
in_a() { "$lab" run A env -u HAUL_AGENT "$@"; }

# named COMM FILE: a process of root with this name, and this file (made by it) open; both as Python bytes
named() {
	wdir=$dir/n.$RANDOM
	mkdir -m 777 "$wdir"
	pid=$("$lab" spawn A "$(basename "$wdir")" /usr/bin/python3 "$top/tests/work/named.py" "$wdir" /srv "$1" "$2")
	until_true 60 '[ -e "$wdir/ready" ]' || fail "no process is named $1: $(cat "$("$lab" log "$(basename "$wdir")")")"
}

# clean FILE WORDS: UTF-8 in lines, and no control character but their ends
clean() {
	python3 - "$1" <<-'EOF' || fail "$2: $(cat -v "$1")"
		import sys, unicodedata
		text = open(sys.argv[1], "rb").read().decode()
		bad = [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
		sys.exit(repr(bad) if bad else 0)
	EOF
}

# shown WAY...: what the command says of the process has its remainder, and nothing else
shown() {
	in_a "$haul" "$@" >"$dir/out" 2>&1 || true
	clean "$dir/out" "haul $*"
	! grep -q '^FORGED' "$dir/out" || fail "haul $*: a line of the user's own: $(cat "$dir/out")"
}

try() { # NAME COMM FILE
	named "$2" "$3"
	shown check "$pid" hostB
	grep -q 'missing .*tail' "$dir/out" || fail "$1: the file is not in the list: $(cat "$dir/out")"
	shown --json --files=require check "$pid" hostB
	python3 - "$dir/out" <<-'EOF' || fail "$1: not JSON, or a finding is empty: $(cat -v "$dir/out")"
		import json, sys
		rows = [json.loads(line) for line in open(sys.argv[1])]
		found = [r for r in rows if r["event"] == "finding"]
		sys.exit(not any("tail" in r["text"] for r in found) or any(not r["text"].strip() or not r["code"] for r in found))
	EOF
	shown --agent=none check "$pid" hostB
	shown watch --seconds=1 "$pid"
	in_a curl -s --unix-socket /run/haul/api.sock http://h/v1/processes >"$dir/out"
	clean "$dir/out" "$1: the list of processes"
	python3 -c 'import json, sys; sys.exit(int(sys.argv[2]) not in [p["pid"] for p in json.load(open(sys.argv[1]))["processes"]])' "$dir/out" "$pid" ||
		fail "$1: the process is not in the list"
	shown --mode=stop-copy "$pid" hostB
	shown ls
	"$lab" run B test -e "/proc/$pid" || fail "$1: it was not moved: $(cat "$dir/out")"
	clean "$dir/hauld.A.log" "$1: the log of A"
	clean "$dir/hauld.B.log" "$1: the log of B"
	stop A
	stop B
	note "  $1"
}

try "escape sequences" 'a\x1b[2J\x1b]0;x\x07' 'f\x1b[31m\x1b]52;c;QQ==\x07tail'
try "newlines" 'a) S 1 1\nFORGED' 'f\nFORGED line\ntail'
try "not UTF-8" '\xff\xfe\xc3(\xed\xa0\x80' 'f\xff\xc0\xaf\xf5tail'
try "text that is turned round, invisible characters" 'a\xe2\x80\xae\xc2\x9b' 'f\xe2\x80\xaegpj.\xe2\x81\xa6\xc2\x85tail'
try "a name like haul's" 'hauld' 'haul: done\rtail'
try "a name like CRIU's" 'criu' 'criu\ttail'

# ---- the state folder is full when a migration ends ----
state=/var/lib/haul/migrations
start A "$work/writer" --mib 16 --rate 200
in_a "$haul" --mode=pre-copy --bandwidth-limit-mbit=40 "$pid" hostB >"$dir/out" 2>&1 &
mover=$!
until_true 60 'in_a "$haul" ls | grep -q running' || fail "no migration runs: $(cat "$dir/out")"
in_a sh -c "mount -o remount,size=4m $state; dd if=/dev/zero of=$state/filler bs=64k 2>/dev/null; dd if=/dev/zero of=$state/filler2 bs=1 2>/dev/null" || true
[ "$(in_a df --output=avail "$state" | tail -1)" -eq 0 ] || fail "the folder is not full"
wait $mover || fail "status $? of a migration that is done: $(cat "$dir/out")"
grep -q 'done' "$dir/out" || fail "haul does not say how it ended: $(cat "$dir/out")"
until_true 60 '! in_a "$haul" ls | grep -q running' || fail "it runs for ever: $(in_a "$haul" ls)"
in_a "$haul" ls >"$dir/out"
grep -q ' done' "$dir/out" || fail "its outcome is lost: $(cat "$dir/out")"
verify B
in_a rm "$state/filler" "$state/filler2"
stop_hauld A
start_hauld A
in_a "$haul" ls >"$dir/out"
grep -q ' done' "$dir/out" || fail "its outcome is lost after a restart: $(cat "$dir/out")"
stop B
note "  a full state folder: the outcome is stored"
