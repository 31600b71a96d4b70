#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-task - what processes, threads and descriptors have besides content: a program sets it, and sees the same
# after the move, there and back. What is lost is named by haul check, and by nothing else than these names.
. "$(dirname "$0")/lib.sh"
lab_up

# check HOST CODE...: haul check has a warning of each code, and no others
check() {
	local h=$1
	shift
	"$lab" run "$h" "$haul" check "$pid" "host$(other "$h")" >"$dir/check" 2>&1 || { cat "$dir/check"; fail "haul check"; }
	[ "$(awk '$1 == "warning" { print $2 }' "$dir/check" | sort | xargs)" = "$(printf '%s\n' "$@" | sort | xargs)" ] ||
		{ cat "$dir/check"; fail "haul check: not the warnings $*"; }
}

for mode in auto post-copy; do
	start A "$work/kept_task.py"
	verify A
	check A memory-policy keyring thread-directory
	for h in A B; do
		move $h --mode=$mode
		verify "$(other $h)"
		note "  $mode to $(other $h): downtime $(($(field downtime_us) / 1000)) ms"
	done
	stop A

	start A "$work/kept_fds.py"
	verify A
	check A eventfd-semaphore watch-events
	for h in A B; do
		move $h --mode=$mode
		verify "$(other $h)"
	done
	stop A
done

note "a child that a subreaper has adopted: named, and what the warning says is what happens"
start A "$work/kept_orphan.py"
child=$(cat "$wdir/child")
check A adopted
move A
[ "$("$lab" run B ps -o ppid= -p "$child" | xargs)" = 1 ] || fail "the child has its parent: the warning is wrong"
stop B
"$lab" run B kill -9 "$child"

note "a thread's pidfd: refused by name, the program runs on"
start A "$work/kept_fds.py" --thread
rc=0
"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || rc=$?
[ $rc = 3 ] && grep -q "stands for a thread (PIDFD_THREAD)" "$dir/check" || { cat "$dir/check"; fail "haul check: status $rc"; }
verify A
