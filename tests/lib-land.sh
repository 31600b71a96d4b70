# SPDX-License-Identifier: GPL-2.0-or-later
# lib-land.sh - callers of haul run and haul land, and what they see. Sourced by tests after lib.sh.
# shellcheck shell=bash disable=SC2154	# lib.sh has these
clerk=$top/tests/work/clerk.py

# caller HOST NAME COMMAND...: in the background, with its output in $dir/NAME.out and .err and its status in
# $dir/NAME.status; its input is the fifo $dir/NAME.in
caller() {
	local h=$1 name=$2
	shift 2
	rm -f "$dir/$name".*
	mkfifo "$dir/$name.in"
	"$lab" spawn "$h" "$name" python3 -c '
import os, subprocess, sys
base, cmd = sys.argv[1], sys.argv[2:]
p = subprocess.Popen(cmd, stdin=os.open(base + ".in", os.O_RDWR), stdout=open(base + ".out", "w"), stderr=open(base + ".err", "w"))
open(base + ".pid", "w").write(str(p.pid))
open(base + ".status", "w").write(str(p.wait()))' "$dir/$name" "$@" >/dev/null
	until_true 30 '[ -s "$dir/$name.pid" ]' || fail "$name does not start"
}
# status NAME: how it ended; below 0: by a signal
status() {
	until_true 60 '[ -s "$dir/$1.status" ]' "$1" || fail "$1 does not end: $(cat "$dir/$1.err")"
	cat "$dir/$1.status"
}
ends() { local got; got=$(status "$1"); [ "$got" = "$2" ] || fail "$1 ends with $got, not $2: $(tail -3 "$dir/$1.err")"; }
# run_clerk HOST NAME KEY [OPTION]...: sets $pid
run_clerk() {
	local h=$1 name=$2 key=$3
	shift 3
	rm -f "$dir/ready"
	caller "$h" "$name" "$haul" run --as="$key" "$@" -- "$clerk" "$dir/ready"
	until_true 30 '[ -s "$dir/ready" ]' || fail "no program: $(cat "$dir/$name.err")"
	pid=$(cat "$dir/ready")
}
land() {
	local h=$1 name=$2 key=$3
	shift 3
	caller "$h" "$name" "$haul" land --as="$key" "$@"
	until_true 30 '"$lab" run "$h" grep -q "haul/land/$key/" /proc/net/unix' || fail "$name does not land: $(cat "$dir/$name.err")"
}
has() { until_true 30 'grep -q "$2" "$dir/$1"' "$@" || fail "$1 has no \"$2\": $(tail -3 "$dir/$1")"; }
# whole WORD FILE...: the numbered lines of WORD in all files together, each once, in order
whole() {
	local word=$1
	shift
	python3 - "$word" "$@" <<'END' || fail "lines of $word"
import re, sys
got = [int(n) for p in sys.argv[2:] for n in re.findall(r"(?m)^%s (\d+)$" % sys.argv[1], open(p).read())]
if not got or got != list(range(1, len(got) + 1)):
    sys.exit("%s: %d lines, not 1 to %d in order: %s" % (sys.argv[1], len(got), len(got), got[:5] + got[-5:]))
END
}
tell() { "$lab" run "$1" kill -"$2" "$(cat "$dir/$3.pid")"; }
parent() { "$lab" run "$1" awk '/^PPid/ { print $2 }' "/proc/$pid/status"; }

