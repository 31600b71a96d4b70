#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tcp-states - moves that are interrupted (Ctrl-C) at every point of every state before the commit, and
# moves whose haul or whose worker dies there: the server runs on where it was, clients do not notice.
. "$(dirname "$0")/lib-tcp.sh"
net_up
serve :: # both families by one socket
watch 7000
source_points=${SOURCE_POINTS:-s-connected s-negotiated s-prepared s-rounds-done s-freeze-recorded s-stopped s-dumped s-held-recorded s-sent s-placed-heard s-restored-heard}
dest_points=${DEST_POINTS:-d-hello-said d-answered d-started d-switch-heard d-placed-said d-gate d-gate-recorded d-restored-said}
client echo echo "$addr" --clients 20 --depth 8 --seconds 3600
client echo6 echo "$addr6" --clients 4 --depth 2 --seconds 3600
client both both "$addr" --mib "${MIB:-1400}" --mbyte-s 10
client slow slow "$addr" --mib "${SLOW_MIB:-120}"
moves=(--move-address="$addr" --move-address="$addr6")
works 1

runs_at_A() {
	"$lab" run A kill -0 "$pid" || fail "$1: the server is gone from A"
	clean_soon A
	note "  $1"
	works 0.3
}

for p in $source_points; do
	# interrupted: hold there, Ctrl-C, go on
	rm -f "$dir/held" "$dir/held.over"
	"$lab" run A env HAUL_FAULT="$p:hold" HAUL_FAULT_FILE="$dir/held" "$haul" --json "${moves[@]}" "$pid" hostB >"$dir/report" 2>&1 &
	job=$!
	until_true 60 '[ -s "$dir/held" ]' || fail "$p was not reached: $(cat "$dir/report")"
	touch "$dir/held.over"
	"$lab" run A kill -INT "$(cat "$dir/held")"
	rm "$dir/held"
	rc=0
	wait $job || rc=$?
	[ $rc = 130 ] || fail "Ctrl-C at $p: status $rc: $(cat "$dir/report")"
	runs_at_A "Ctrl-C at $p"
	# dead
	"$lab" run A env HAUL_FAULT="$p:kill" "$haul" --json "${moves[@]}" "$pid" hostB >"$dir/report" 2>&1 && fail "$p: not killed"
	"$lab" run A "$haul" recover >"$dir/recover" 2>&1 || fail "$p: recover: $(cat "$dir/recover")"
	runs_at_A "haul killed at $p"
done

for p in $dest_points; do
	stop_hauld B
	HAUL_FAULT="$p:kill" start_hauld B
	rc=0
	"$lab" run A "$haul" --json "${moves[@]}" "$pid" hostB >"$dir/report" 2>&1 || rc=$?
	[ $rc = 1 ] || fail "$p: status $rc: $(tail -3 "$dir/report")"
	runs_at_A "worker killed at $p"
done
stop_hauld B
start_hauld B
move A "${moves[@]}"
no_traces B
touch "$wdir/enough"
clients_ok
watch_ok 7000
stop B
