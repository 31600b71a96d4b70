#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-memcached - memcached under load from its own host: every acknowledged key is on the other.
. "$(dirname "$0")/lib.sh"
command -v memcached >/dev/null || skip "memcached is not installed"
lab_up

load=$top/tests/work/memcached-load.py
mkdir "$dir/data"
chmod 777 "$dir/data"
h=A
pid=$("$lab" spawn A memcached memcached -u root -p 11311 -U 0 -l 0.0.0.0 -m 256)
listens $h 11311
for m in ${MODES:-stop-copy pre-copy post-copy hybrid auto}; do
	"$lab" run $h python3 "$load" load --host 127.0.0.1 --port 11311 --record "$dir/acked" &
	client=$!
	works 1.5
	move $h --mode="$m"
	wait $client || true	# its connection broke: it has ended
	h=$(other $h)
	"$lab" run $h python3 "$load" check --host 127.0.0.1 --port 11311 --record "$dir/acked" >"$dir/check" ||
		fail "$m: $(cat "$dir/check")"
	note "  $m to $h: $(cut -c1-120 "$dir/check") downtime $(($(field downtime_us) / 1000)) ms"
done
stop $h
