#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-inet - data that TCP_CORK holds back, a locked filter, a bound device, a peer of UDP, netlink groups: kept.
# A filter of eBPF, keys of TCP, a device that the destination lacks: refused before the stop. Urgent data: never lost.
. "$(dirname "$0")/lib.sh"
lab_up

# groups HOST: the program's netlink groups, as the kernel says
groups() { "$lab" run "$1" awk -v p="$pid" '$3 == p { print $4 }' /proc/net/netlink; }

for mode in ${MODES:-auto post-copy}; do
	start A "$work/kept_inet.py"
	verify A
	before=$(groups A)
	[ "$before" = 00000011 ] || fail "netlink groups: '$before'"
	for h in A B; do
		move $h --mode="$mode"
		verify "$(other $h)"
		[ "$(groups "$(other $h)")" = "$before" ] || fail "netlink groups on $(other $h): '$(groups "$(other $h)")'"
	done
	note "$mode: kept"
	stop A
done

# refused WITH CODE: by check and move, and the program runs on
refused() {
	local rc=0
	start A "$work/kept_inet.py" --with="$1"
	"$lab" run A "$haul" check --json "$pid" hostB >"$dir/check" 2>&1 || rc=$?
	[ $rc = 3 ] && grep -q "\"code\": *\"$2\"" "$dir/check" || fail "check $1: status $rc, no $2: $(cat "$dir/check")"
	rc=0
	"$lab" run A "$haul" --json "$pid" hostB >"$dir/report" 2>&1 || rc=$?
	[ $rc = 3 ] || fail "$1: status $rc: $(cat "$dir/report")"
	verify A
	stop A
	note "$1: refused ($2)"
}

refused bpf socket-filter
refused md5 tcp-md5
"$lab" run A ip link add name only-a type veth peer name only-b
refused device:only-a interface-missing

start A "$work/kept_inet.py" --with=urgent
"$lab" run A "$haul" check --json "$pid" hostB >"$dir/check" 2>&1 || fail "check: $(cat "$dir/check")"
grep -q '"code": *"tcp-urgent"' "$dir/check" || fail "check: no tcp-urgent: $(cat "$dir/check")"
rc=0
"$lab" run A "$haul" --json "$pid" hostB >"$dir/report" 2>&1 || rc=$?
[ $rc = 3 ] && grep -q "urgent data that the program has not read" "$dir/report" || fail "status $rc: $(cat "$dir/report")"
verify A
touch "$wdir/read"
until_true 60 '[ -s "$wdir/got" ]' || fail "urgent data is not read"
[ "$(cat "$wdir/got")" = "(b'before', b'!', b'after')" ] || fail "read: $(cat "$wdir/got")"
move A
verify B
stop B
note "urgent data: the move is undone while it waits, and nothing of it is lost"
