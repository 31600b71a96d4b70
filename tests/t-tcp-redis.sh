#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tcp-redis - 200 clients of redis, each with commands in flight, do not notice that it moves.
. "$(dirname "$0")/lib-tcp.sh"
command -v redis-server >/dev/null || skip "redis-server is not installed"
net_up
wdir=$dir/data
mkdir "$wdir"
chmod 777 "$wdir"
pid=$("$lab" spawn A redis redis-server --port 6379 --bind "$addr" --save '' --appendonly no --dir "$wdir" --protected-mode no)
until_true 60 '[ "$("$lab" run A redis-cli -h "$addr" ping)" = PONG ]' || fail "redis does not answer"
watch 6379
client redis redis "$addr" --port 6379 --clients 200 --depth 16
works 2
h=A
for m in ${MODES:-stop-copy pre-copy post-copy hybrid}; do
	move $h --mode="$m" --move-address="$addr" --move-address="$addr6"
	h=$(other $h)
	no_traces $h
	note "  $m to $h: downtime $(($(field downtime_us) / 1000)) ms"
	works 1
done
touch "$wdir/enough"
clients_ok
watch_ok 6379
stop $h
