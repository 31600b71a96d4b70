#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-sockets - options of sockets that listen, of UDP and UNIX sockets, multicast groups with and without
# sources, the interface that multicasts go by: the program sees what it saw before, and hears its group.
. "$(dirname "$0")/lib.sh"
lab_up
iface=eth0 # of every host of the lab

# members HOST: the groups of the interface, as the kernel of that host says
members() { "$lab" run "$1" ip -o maddr show dev "$iface" | grep -oE '239\.7\.7\.7|232\.7\.7\.7|ff05::77' | sort; }

for mode in auto post-copy; do
	start A "$work/kept_sockets.py" --iface "$iface"
	verify A
	before=$(members A)
	[ "$(wc -l <<<"$before")" = 3 ] || fail "the program is in these groups: $before"
	"$lab" run A "$haul" check --verbose "$pid" hostB >"$dir/check" 2>&1 || { cat "$dir/check"; fail "haul check"; }
	grep -q "is in the multicast group 239.7.7.7 on $iface" "$dir/check" || { cat "$dir/check"; fail "haul check names no group"; }
	for h in A B; do
		move $h --mode=$mode
		to=$(other $h)
		verify "$to"
		[ "$(members "$to")" = "$before" ] || fail "groups on $to: $(members "$to")"
		[ -z "$(members "$h")" ] || fail "groups on $h: $(members "$h")"
		note "  $mode to $to: downtime $(($(field downtime_us) / 1000)) ms"
	done
	stop A
done

note "an interface that the destination lacks is named"
"$lab" run A ip link add name only-a type veth peer name only-b
"$lab" run A ip link set only-a up multicast on
"$lab" run A ip addr add 10.98.0.1/24 dev only-a
start A "$work/kept_sockets.py" --iface only-a
rc=0
"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || rc=$?
grep -q "by the interface only-a, which the destination lacks" "$dir/check" || { cat "$dir/check"; fail "haul check does not name the interface"; }
