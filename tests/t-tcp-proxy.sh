#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tcp-proxy - haproxy moves there and back under load: its clients' connections move with their address, those to
# the server behind it, which it has from its host's own address, are reset, and it makes new ones.
. "$(dirname "$0")/lib-tcp.sh"
command -v haproxy >/dev/null || skip "haproxy is not installed"
net_up
wdir=$dir/proxy
mkdir "$wdir"
keep=$top/tests/work/httpkeep.py
"$lab" spawn C behind python3 "$keep" serve "$("$lab" addr C)" 7200 >/dev/null
until_true 60 '"$lab" run C bash -c "exec 3<>/dev/tcp/$("$lab" addr C)/7200"' || fail "no server behind"
cat >"$wdir/conf" <<END2
global
	nbthread 2
defaults
	mode http
	timeout connect 10s
	timeout client 30s
	timeout server 30s
	retries 5
	option redispatch
	retry-on all-retryable-errors
	http-reuse never
frontend in
	bind $addr:7000
	default_backend behind
backend behind
	server one $("$lab" addr C):7200
END2
pid=$("$lab" spawn A haproxy haproxy -db -f "$wdir/conf")
until_true 60 '"$lab" run A bash -c "exec 3<>/dev/tcp/$addr/7000"' || fail "haproxy: $(cat "$("$lab" log haproxy)")"
watch 7000
"$lab" run C python3 "$keep" --dir "$wdir" load "$addr" 7000 10 >"$dir/load.json" 2>"$dir/load.err" </dev/null &
clients+=($!)
names+=(load)
works 1
"$lab" run A "$haul" check --verbose --move-address="$addr" "$pid" hostB >"$dir/check" 2>&1 || fail "check: $(cat "$dir/check")"
grep -q "TCP $addr port 7000 with .* moves, with its address" "$dir/check" || fail "no client moves: $(cat "$dir/check")"
grep -q "with $("$lab" addr C) port 7200 will be closed" "$dir/check" || fail "no connection is closed: $(cat "$dir/check")"
grep -q "the program has to connect again" "$dir/check" || fail "who has to connect again? $(cat "$dir/check")"
for mode in ${MODES:-auto post-copy}; do
	for h in A B; do
		move $h --mode="$mode" --move-address="$addr" --move-address="$addr6"
		no_traces "$(other $h)"
		note "  $mode to $(other $h): downtime $(($(field downtime_us) / 1000)) ms, $(field connections_moved) connections moved"
		works 0.7
	done
done
touch "$wdir/enough"
clients_ok
watch_ok 7000
stop A
