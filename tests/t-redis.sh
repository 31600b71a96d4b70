#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-redis - redis-server under load from its own host: every acknowledged key is on the other.
. "$(dirname "$0")/lib.sh"
command -v redis-server >/dev/null || skip "redis-server is not installed"
lab_up

load=$top/tests/work/redis-load.py
mkdir "$dir/data"
chmod 777 "$dir/data"
h=A
pid=$("$lab" spawn A redis redis-server --port 6379 --save '' --appendonly no --dir "$dir/data" --protected-mode no)
listens $h 6379
for m in ${MODES:-stop-copy pre-copy post-copy hybrid auto}; do
	"$lab" run $h python3 "$load" load --host 127.0.0.1 --port 6379 --record "$dir/acked" &
	client=$!
	works 1.5
	move $h --mode="$m"
	wait $client || true	# its connection broke: it has ended
	h=$(other $h)
	"$lab" run $h python3 "$load" check --host 127.0.0.1 --port 6379 --record "$dir/acked" >"$dir/check" ||
		fail "$m: $(cat "$dir/check")"
	note "  $m to $h: $(cut -c1-120 "$dir/check") downtime $(($(field downtime_us) / 1000)) ms"
done
stop $h
