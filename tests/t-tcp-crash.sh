#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tcp-crash - haul, or the worker at the destination, is killed in the middle: after `haul recover`
# the clients have noticed nothing but a pause, and no lock or address is left behind.
. "$(dirname "$0")/lib-tcp.sh"
net_up
serve "$addr"
watch 7000
client put put "$addr" --mib 200 --mbyte-s 8
client echo echo "$addr" --clients 10 --depth 4 --seconds 22
moves=(--move-address="$addr" --move-address="$addr6")
works 1

# source_dies FAULT HOST: where it runs after the recovery
source_dies() {
	"$lab" run A env HAUL_FAULT="$1:kill" "$haul" --json "${moves[@]}" "$pid" hostB >"$dir/report" 2>&1 && fail "$1: not killed"
	"$lab" run A "$haul" recover >"$dir/recover" 2>&1 || fail "$1: recover: $(cat "$dir/recover")"
	clean_soon "$2"
	"$lab" run "$2" kill -0 "$pid" || fail "$1: it does not run on $2"
	note "  $1: $(tail -1 "$dir/recover" | cut -c1-100)"
	works 0.5
}

# worker_dies FAULT: before the commit
worker_dies() {
	local rc=0
	stop_hauld B
	HAUL_FAULT="$1:kill" start_hauld B
	"$lab" run A "$haul" --json "${moves[@]}" "$pid" hostB >"$dir/report" 2>&1 || rc=$?
	[ $rc = 1 ] || fail "$1: status $rc: $(tail -3 "$dir/report")"
	clean_soon A
	note "  $1: runs on at A"
}

source_dies s-freeze-recorded A
source_dies s-stopped A
source_dies s-dumped A
source_dies s-sent A
worker_dies d-switch-heard
worker_dies d-gate
stop_hauld B
start_hauld B
source_dies s-commit-sent B
moves_made=1
clients_ok
watch_ok 7000
stop B
