#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-memory - five children share the memory of their parent since a fork, and write some of it: each page that is
# shared goes over the wire once, and each process has its own content, there and back; mlockall(MCL_FUTURE), and memory
# that is locked when it is touched (MLOCK_ONFAULT).
. "$(dirname "$0")/lib.sh"
lab_up
mib=32
for mode in stop-copy pre-copy auto; do
	start A "$work/kept_memory.py" --mib $mib
	verify A
	"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || { cat "$dir/check"; fail "haul check"; }
	grep -q 'copy-on-write' "$dir/check" || { cat "$dir/check"; fail "haul check does not say what the copies take"; }
	move A --mode=$mode
	verify B
	wire=$(($(field wire_bytes) / 1048576))
	note "  $mode: $wire MiB on the wire, $(field shared_pages) pages were shared, downtime $(($(field downtime_us) / 1000)) ms"
	# six copies of it would be 192 MiB
	[ "$wire" -lt $((2 * mib + 40)) ] || fail "$mode: $wire MiB on the wire for $mib MiB that six processes share"
	back=post-copy
	[ $mode != pre-copy ] || back=hybrid
	move B --mode=$back
	verify A
	stop A
done
for mode in auto post-copy; do
	start A "$work/kept_memory.py" --mib 4 --children 1 --on-fault
	verify A
	"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || { cat "$dir/check"; fail "haul check"; }
	! grep -q 'locked-untouched' "$dir/check" || fail "haul check warns of what is kept: $(cat "$dir/check")"
	for h in A B; do
		move $h --mode=$mode
		verify "$(other $h)"
	done
	note "  locked when it is touched: $mode"
	stop A
done
for lock in all onfault; do
	start A "$work/kept_memory.py" --mib 4 --children 1 --lock $lock
	verify A
	for h in A B; do
		move $h
		verify "$(other $h)"
	done
	note "  new mappings are locked: $lock"
	stop A
done
