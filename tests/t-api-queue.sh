#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-api-queue - 50 processes (QUEUE_PROCESSES) queued on two hosts at once, at limits of 1, 2 and 4:
# all arrive, none twice, never more at once than allowed, the important ones first.
. "$(dirname "$0")/lib.sh"
. "$top/tests/page/lab.sh"
n=${QUEUE_PROCESSES:-50}
api_options=("migrations-max = 1" "migrations-kept = 1000")
api_up
running_limit() { "$lab" run "$1" curl -s --unix-socket /run/haul/api.sock http://h/metrics | awk '$1 == "haul_running_limit" { print $2 }'; }

declare -A at
for i in $(seq "$n"); do
	h=$([ $((i % 2)) = 0 ] && echo A || echo B)
	start "$h" "$work/writer" --mib 4 --rate 200
	at[$pid]=$h
	dirs[pid]=$wdir
done

for limit in ${QUEUE_LIMITS:-1 2 4}; do
	for h in A B; do
		"$lab" run "$h" sh -c "sed -i '/^migrations-max/d' /etc/haul/haul.conf; echo 'migrations-max = $limit' >>/etc/haul/haul.conf; kill -HUP $(daemon $h)"
		until_true 60 '[ "$(running_limit $h)" = "$limit" ]' || fail "the limit on $h is not $limit"
	done
	of() { for p in "${!at[@]}"; do [ "${at[$p]}" = "$1" ] && echo "$p"; done; true; }
	mapfile -t from_a < <(of A)
	mapfile -t from_b < <(of B)
	"$lab" run A python3 "$top/tests/api/queue.py" "$limit" "${from_a[@]}" >"$dir/queue.A" 2>&1 &
	pa=$!
	"$lab" run B python3 "$top/tests/api/queue.py" "$limit" "${from_b[@]}" >"$dir/queue.B" 2>&1 &
	pb=$!
	wait $pa || fail "queue on A: $(tail -3 "$dir/queue.A")"
	wait $pb || fail "queue on B: $(tail -3 "$dir/queue.B")"
	cat "$dir/queue.A" "$dir/queue.B"
	for p in "${!at[@]}"; do
		at[$p]=$(other "${at[$p]}")
		"$lab" run "${at[$p]}" kill -0 "$p" || fail "process $p is not on ${at[$p]}"
		! "$lab" run "$(other "${at[$p]}")" test -e "/proc/$p" || fail "process $p is on both"
	done
done
for p in "${!at[@]}"; do
	pid=$p wdir=${dirs[p]} verified=0
	verify "${at[$p]}"
done
note "  $n processes verified themselves"
