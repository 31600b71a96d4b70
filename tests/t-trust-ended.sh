#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-ended - a program that ends at the destination while pages of it are at the source (killed, crashed,
# out of memory, by itself) is not called moved: the source keeps its stopped copy, exit status 4, and the
# operator decides. One that ended after its last page was in place is moved, and haul says how it ended.
. "$(dirname "$0")/lib.sh"
lab_up
fault=$dir/fault
memory=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
limit=memory.max
if ! grep -qw memory "$memory/cgroup.subtree_control" 2>/dev/null; then
	memory=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
	limit=memory.limit_in_bytes
fi

alive() { "$lab" run "$1" bash -c '[ -e /proc/$1/stat ] && ! grep -q "^State:.*[ZX] (" /proc/$1/status' - "$pid"; }

# ends_early ACT [WORDS]: hauled in post-copy over a slow link; once the program runs on B with pages missing,
# ACT ends it there. haul has to say so, and WORDS; sets $id
ends_early() {
	local act=$1 words=${2:-} rc=0 job
	"$lab" rate 50mbit
	: >"$dir/report"
	"$lab" run A "$haul" --json --mode=post-copy --link-limit-s=20 "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
	job=$!
	until_true 120 'grep -q "\"event\":\"running\"" "$dir/report"' || fail "$act: does not run on B: $(cat "$dir/report" "$dir/stderr")"
	$act
	wait "$job" || rc=$?
	"$lab" rate off
	[ $rc = 4 ] || fail "$act: haul ended with $rc, not 4: $(tail -n 4 "$dir/report" "$dir/stderr")"
	until_true 20 '! alive B' || fail "$act: it lives on B"
	stands A "$act: the copy on A is not held"
	grep -q 'no copy is left at hostB' "$dir/stderr" || fail "$act: $(cat "$dir/stderr")"
	grep -q "the process ended here ($words.*while [0-9]* of its pages were missing" "$dir/report" || fail "$act: $(tail -n 4 "$dir/report")"
	id=$(python3 -c '
import errno, json, sys
for line in open(sys.argv[1]):
    e = json.loads(line)
    if e["event"] == "failed" and e["state"] == "lost" and e["code"] == errno.EOWNERDEAD: print(e["migration"])' "$dir/report")
	[ -n "$id" ] || fail "$act: no event \"failed\" with the code: $(tail -n 2 "$dir/report")"
	note "  $act: $(grep -o 'the process ended here[^"]*' "$dir/report" | head -1)"
}

# asked_again: haul recover learns the same from B's journal, and leaves everything as it is
asked_again() {
	local rc=0
	"$lab" run A "$haul" recover "$id" >"$dir/said" 2>&1 || rc=$?
	[ $rc = 4 ] || fail "haul recover: status $rc, not 4: $(cat "$dir/said")"
	grep -q 'no copy is left at' "$dir/said" || fail "haul recover: $(cat "$dir/said")"
	stands A "haul recover has changed something"
}

keep_here() {
	"$lab" run A "$haul" resolve -y "$id" --keep-here >"$dir/said" 2>&1 || fail "resolve --keep-here: $(cat "$dir/said")"
	verify A
}

killed() { "$lab" run B kill -KILL "$pid"; }
crashed() { "$lab" run B kill -SEGV "$pid"; }
itself() { "$lab" run B kill -USR2 "$pid"; }
out_of_memory() {
	mkdir -p "$group"
	# a group that is above its limit already ends its processes at once
	echo "$(("$1" << 20))" >"$group/$limit"
	"$lab" pid B "$pid" >"$group/cgroup.procs"
}
limit_12() { out_of_memory 12; }
limit_30() { out_of_memory 30; }

note "pages are missing"
start A "$work/writer" --mib 64 --rate 2000
ends_early killed 'killed by signal 9'
asked_again
keep_here
# the same copy again: nothing of the first attempt is in its way
ends_early crashed 'killed by signal 11'
keep_here

group=$memory/haul-ended-$$
if [ -n "$memory" ] && mkdir "$group" 2>/dev/null; then
	trap 'rmdir "$group" 2>/dev/null || true; lab_down' EXIT
	for mib in 12 30; do
		ends_early limit_$mib 'killed by signal 9'
		asked_again
		keep_here
	done
	until_true 20 'rmdir "$group"' || fail "the memory cgroup is in use"
else
	note "  NOT SHOWN: out of memory (no memory cgroup can be made here)"
fi
ends_early killed
"$lab" run A "$haul" resolve -y "$id" --drop-here >"$dir/said" 2>&1 || fail "resolve --drop-here: $(cat "$dir/said")"
gone A

cat >"$dir/leaver" <<'END'
#!/usr/bin/env python3
import os, signal, sys
there = sys.argv[sys.argv.index("--dir") + 1]
data = os.urandom(48 << 20)
signal.signal(signal.SIGUSR2, lambda number, frame: os._exit(7))
open(there + "/ready", "w").close()
while True:
    signal.pause()
END
chmod 755 "$dir/leaver"
start A "$dir/leaver"
ends_early itself 'exit status 7'
asked_again
stop A

note "every page is in place, and then it ends"
stop_hauld B
HAUL_FAULT=d-filled:hold HAUL_FAULT_FILE=$fault start_hauld B
start A "$dir/leaver"
rc=0
"$lab" run A "$haul" --mode=post-copy "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
job=$!
until_true 120 '[ -e "$fault" ]' || fail "d-filled was not reached: $(cat "$dir/report" "$dir/stderr")"
itself
until_true 20 '! alive B' || fail "it does not end on B"
touch "$fault.over"
rm "$fault"
wait "$job" || rc=$?
[ $rc = 0 ] || fail "haul ended with $rc: $(cat "$dir/report" "$dir/stderr")"
grep -q "ran on hostB and has ended there: exit status 7" "$dir/report" || fail "expected 'ran on hostB and has ended there: exit status 7' in: $(cat "$dir/report")"
gone A
note "  moved: $(grep -o 'ran on hostB.*' "$dir/report")"
