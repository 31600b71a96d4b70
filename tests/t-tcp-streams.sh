#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tcp-streams - downloads, uploads, both at once, half-closed, a full send queue: every byte
# arrives once, there and back again, over IPv4 and IPv6.
. "$(dirname "$0")/lib-tcp.sh"
net_up

# streams NAME ADDRESS: one of each; they last as long as the moves
streams() {
	client "$1-get" get "$2" --mib 200 --mbyte-s 25
	client "$1-put" put "$2" --mib 160 --mbyte-s 20
	client "$1-both" both "$2" --mib 100 --mbyte-s 12
	client "$1-slow" slow "$2" --mib 10
	client "$1-closed" closed "$2" --mib 24
	client "$1-deaf" deaf "$2" --mib 80 --mbyte-s 10
	client "$1-echo" echo "$2" --clients 4 --depth 4 --seconds 8
	client "$1-arrive" arrive "$2" --seconds 8 --every 0.01
}

for a in "$addr" "$addr6"; do
	serve "$a"
	watch 7000
	streams "${a##*[.:]}" "$a"
	works 2
	for h in A B; do
		move $h --mode="${MODE:-auto}" --move-address="$addr/24@eth0" --move-address="$addr6"
		no_traces "$(other $h)"
		note "  $a to $(other $h): downtime $(($(field downtime_us) / 1000)) ms"
		works 1
	done
	clients_ok
	watch_ok 7000
	stop A
	until_true 60 '! "$lab" run A test -e "/proc/$pid"' || fail "the killed server stays on A"
done
