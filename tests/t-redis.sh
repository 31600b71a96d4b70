#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-redis - redis-server under load from its own host: every acknowledged key is on the other.
. "$(dirname "$0")/lib.sh"
command -v redis-server >/dev/null || skip "redis-server is not installed"
lab_up

wdir=$dir/redis
mkdir "$wdir"
load=$top/tests/work/redis-load.py
pid=$("$lab" spawn A redis redis-server --port 6379 --save '' --appendonly no --dir "$wdir" --protected-mode no)
h=A
for m in ${MODES:-stop-copy pre-copy post-copy hybrid auto}; do
	for _ in $(seq 50); do "$lab" run $h redis-cli ping >/dev/null 2>&1 && break; sleep 0.1; done
	"$lab" run $h redis-cli flushall >/dev/null
	"$lab" run $h python3 "$load" write 127.0.0.1 6379 "$dir/acked" &
	writer=$!
	sleep 1.5
	move $h --mode="$m"
	wait $writer || fail "the writing client failed"
	h=$(other $h)
	"$lab" run $h python3 "$load" check 127.0.0.1 6379 "$dir/acked" >"$dir/check" || fail "$m: $(cat "$dir/check")"
	note "  $m to $h: $(cat "$dir/check") downtime $(($(field downtime_us) / 1000)) ms"
done
stop $h
