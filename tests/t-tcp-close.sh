#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tcp-close - a server that closes each connection when it has answered: what it has closed, but its peer has not
# acknowledged, has no descriptor and cannot move. Nobody loses the end of an answer, on a slow link.
. "$(dirname "$0")/lib-tcp.sh"
net_up
serve "$addr"
"$lab" rate 100mbit >/dev/null # each answer waits behind others
client brief brief "$addr" --clients "${CLIENTS:-30}" --seconds 0.1
works 1
h=A
for _ in $(seq "${MOVES:-6}"); do
	move $h --move-address="$addr" --move-address="$addr6"
	h=$(other $h)
	no_traces $h
	note "  to $h: downtime $(($(field downtime_us) / 1000)) ms, lost $(field connections_lost)"
	[ "$(field connections_lost)" = 0 ] || fail "$(field connections_lost) connections were lost"
	works 0.5
done
touch "$wdir/enough"
clients_ok
stop $h
