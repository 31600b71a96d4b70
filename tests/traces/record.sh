#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# record - how the traces of this folder were made: haul watch on real programs. As root, in a built tree.
# Usage: tests/traces/record.sh [NAME]...    redis python node gcc
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
haul=${HAUL_BUILDDIR:-$top}/haul
seconds=${SECONDS_EACH:-24}
tmp=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$tmp"' EXIT

watch() { "$haul" watch --quiet --seconds="$seconds" --sample-ms=200 --record="$top/tests/traces/$1.trace" "$2"; }

redis() { # 400,000 keys of 100 bytes; then half SET, half GET, keys at random, while watched
	redis-server --port 7399 --save '' --appendonly no --daemonize no >/dev/null &
	local p=$!
	pids+=($p)
	sleep 1
	redis-benchmark -p 7399 -t set -n 400000 -r 400000 -d 100 -P 16 -q >/dev/null
	redis-benchmark -p 7399 -t set,get -n 100000000 -r 400000 -d 100 -q >/dev/null &
	pids+=($!)
	sleep 1
	watch redis $p
}
python() { # builds lists and dictionaries, sorts, throws away
	python3 -c '
import random
keep = []
while True:
    d = {str(i): [i] * 5 for i in range(60000)}
    keep.append(sorted(d, key=lambda k: hash(k)))
    if len(keep) > 12: keep = keep[6:]
    random.shuffle(keep[-1])' &
	pids+=($!)
	sleep 4
	watch python $!
}
node() { # allocates objects, some of which live on: the collector runs
	command node -e '
let live = [];
function turn() {
  for (let i = 0; i < 20000; i++) { const o = {a: i, b: "x" + i, c: [i, i]}; if (i % 50 == 0) live.push(o); }
  if (live.length > 200000) live = live.slice(100000);
  setTimeout(turn, 20);
}
turn();' &
	pids+=($!)
	sleep 4
	watch node $!
}
gcc() { # one compiler process after the other, each of them big: a tree whose root is make's shell
	bash -c 'cd "$0" && while :; do
		for f in policies/decide hauler/report engine/pager agent/check; do
			command gcc -O2 -g -std=c17 -D_GNU_SOURCE -I. -c $f.c -o "$1/o.o" 2>/dev/null || true
		done
	done' "$top" "$tmp" &
	pids+=($!)
	sleep 1
	watch gcc $!
}
[ $# -gt 0 ] || set -- redis python node gcc
for t in "$@"; do
	"$t"
	kill "${pids[@]}" 2>/dev/null || true
	wait "${pids[@]}" 2>/dev/null || true
	pids=()
	ls -l "$top/tests/traces/$t.trace"
done
