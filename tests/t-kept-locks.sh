#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-locks - locks on files that both hosts see (flock, POSIX and OFD locks, of a parent and a child; SQLite in
# a transaction): the program has them after a move and after one that was undone, also when haul was killed;
# who waits for one, or has one at the destination, is named before anything stops.
. "$(dirname "$0")/lib.sh"
lab_up

# locked WORDS: no process of either host can take a lock that the program has
locked() {
	local h
	for h in A B; do
		"$lab" run $h "$work/locks.py" --try --dir "$wdir" >"$dir/tried" || fail "$1: locks.py on $h"
		grep -q '^none and the free bytes' "$dir/tried" || fail "$1: on $h another program could lock: $(cat "$dir/tried")"
	done
}
runs() { "$lab" run A grep -q '^State:.*[SR] (' "/proc/$pid/status"; }

for mode in auto post-copy; do
	start A "$work/locks.py"
	verify A
	locked "before the move"
	"$lab" run A "$haul" check --verbose "$pid" hostB >"$dir/check" 2>&1 || fail "haul check: $(cat "$dir/check")"
	grep -q 'locks on 4 files that both hosts see' "$dir/check" || fail "not said: $(cat "$dir/check")"
	for h in A B; do
		move $h --mode=$mode
		to=$(other $h)
		locked "$mode to $to"
		verify "$to"
		note "  $mode to $to: downtime $(($(field downtime_us) / 1000)) ms"
	done
	stop A
	"$lab" run A pkill -KILL -f locks.py || true
done

note "undone at the gate, by haul and by its death"
start A "$work/locks.py"
verify A
rc=0
"$lab" run A env HAUL_FAULT=s-restored-heard:int "$haul" "$pid" hostB >"$dir/report" 2>"$dir/stderr" || rc=$?
[ $rc != 0 ] || fail "the move was not undone: $(cat "$dir/report")"
until_true 20 runs || fail "the program does not run on A"
locked "undone"
verify A
rc=0
"$lab" run A env HAUL_FAULT=s-restored-heard:kill "$haul" "$pid" hostB >"$dir/report" 2>"$dir/stderr" || rc=$?
[ $rc != 0 ] || fail "haul was not killed: $(cat "$dir/report")"
"$lab" run A "$haul" recover >"$dir/recover" 2>&1 || fail "haul recover: $(cat "$dir/recover")"
until_true 20 runs || fail "the program does not run on A"
locked "recovered"
verify A
move A
locked "moved after that"
verify B
stop B
"$lab" run B pkill -KILL -f locks.py || true

note "a process that waits for a lock, and one that has it at the destination"
start A "$work/locks.py"
"$lab" run A python3 -c 'import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX)' "$wdir/flock" &
until_true 20 '"$lab" run A grep -q -- "-> FLOCK" /proc/locks' || fail "no process waits"
rc=0
"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || rc=$?
[ $rc = 3 ] && grep -q "waits for a lock on $wdir/flock" "$dir/check" || fail "status $rc: $(cat "$dir/check")"
"$lab" run A pkill -KILL -f "LOCK_EX" || true
stop A
"$lab" run A pkill -KILL -f locks.py || true
for h in A B; do "$lab" run $h sh -c 'mkdir -p /srv/own; echo one >/srv/own/lock'; done
cat >"$dir/local" <<'END'
#!/usr/bin/env python3
import fcntl, signal, sys
f = open("/srv/own/lock")
fcntl.flock(f, fcntl.LOCK_EX)
open(sys.argv[2] + "/ready", "w").close()
signal.pause()
END
chmod 755 "$dir/local"
start B "$dir/local"
start A "$dir/local"
rc=0
"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || rc=$?
[ $rc = 3 ] && grep -q "the tree has a lock on /srv/own/lock; at the destination pid .* has one, too" "$dir/check" ||
	fail "status $rc: $(cat "$dir/check")"
