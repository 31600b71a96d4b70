#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept - what a program has and CRIU does not restore: attributes of a thread and of the process, the time
# that sleeping system calls have left, timerfds that fire, have expired, or wait for a point in time. The program
# says what it sees, /proc what it has.
. "$(dirname "$0")/lib.sh"
lab_up

# attributes HOST TID: as the kernel of that host says
attributes() {
	"$lab" run "$1" bash -c "grep ^Cpus_allowed_list: /proc/$2/status; cat /proc/$2/timerslack_ns /proc/$pid/oom_score_adj \
		/proc/$pid/coredump_filter; ionice -p $2"
}

for mode in auto post-copy; do
	start A "$work/kept.py" --seconds 40
	begin=$SECONDS
	verify A
	tid=$(grep -o '"tid": [0-9]*' "$wdir/verify.1" | grep -o '[0-9]*$')
	before=$(attributes A "$tid")
	for h in A B; do
		move $h --mode=$mode
		to=$(other $h)
		verify "$to"
		after=$(attributes "$to" "$tid")
		[ "$after" = "$before" ] || fail "attributes were $before, on $to they are $after"
		note "  $mode to $to: downtime $(($(field downtime_us) / 1000)) ms"
	done
	until_true 120 '[ -e "$wdir/last" ]' || fail "the program's sleeps do not end"
	[ $((SECONDS - begin)) -ge 39 ] || fail "its sleeps of 40 s ended after $((SECONDS - begin)) s"
	grep -q '"ok": true' "$wdir/last" || fail "at the end: $(cat "$wdir/last")"
	stop A
done

note "a move that is undone when the other copy waits: the first thread's sleep lasts as long as it should"
pid=$("$lab" spawn A sleeper python3 -c "
import ctypes, os, time
t, begin = (ctypes.c_long * 2)(10, 0), time.monotonic()
open('$dir/sleeps', 'w').close()
r = ctypes.CDLL(None).nanosleep(t, None)
open('$dir/slept.new', 'w').write('%d %d\n' % (r, round(time.monotonic() - begin)))
os.rename('$dir/slept.new', '$dir/slept')")
until_true 30 '[ -e "$dir/sleeps" ] && "$lab" run A grep -q "^230 " "/proc/$pid/syscall"' || fail "it does not sleep"
! "$lab" run A env HAUL_FAULT=s-restored-heard:int "$haul" "$pid" hostB >"$dir/out" 2>&1 || fail "it was moved"
until_true 60 '[ -e "$dir/slept" ]' || fail "its sleep does not end"
read -r result took <"$dir/slept"
[ "$result" = 0 ] && [ "$took" -ge 10 ] || fail "its sleep of 10 s returned $result after $took s: $(cat "$dir/out")"
