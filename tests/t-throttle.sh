#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-throttle - a program that writes faster than the link carries is slowed down when that was
# allowed, and is at full speed again whatever ends haul: at the destination, by Ctrl-C, by SIGKILL,
# by SIGKILL of haul's keeper, too.
. "$(dirname "$0")/lib.sh"
lab_up
cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
[ -n "$cgroups" ] || skip "no cgroup version 2 here"

here() { "$lab" run A cat "/proc/$pid/cgroup" | sed -n 's/^0:://p'; }
slow() { case $(here) in */haul-slow-*) return 0 ;; *) return 1 ;; esac }
slow_dir() { echo "$cgroups$(here)"; }
outside() { "$lab" run A true; find "$cgroups" -name 'haul-slow-*' -newer "$dir/id" | wc -l; }

# ends WHAT: it is where it was, thawed, and no cgroup is left
ends() {
	until_true 60 '! slow' || fail "$1: it is still in $(here)"
	[ "$(here)" = "$before" ] || fail "$1: it was in $before, and is in $(here)"
	[ ! -e "$was" ] || fail "$1: $was is left"
	verify A
	note "  $1: at full speed, where it was"
}

# throttled OPTION...: a haul of it in the background that has begun to throttle; sets $haul_pid
throttled() {
	: >"$dir/report"
	"$lab" run A "$haul" --json --mode=pre-copy --throttle-max-percent=90 "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
	until_true 120 'slow && grep -q "\"event\": *\"throttle\"" "$dir/report"' || fail "it was not slowed down: $(cat "$dir/report" "$dir/stderr")"
	was=$(slow_dir)
	haul_pid=$(pgrep -f "^$haul --json --mode=pre-copy --throttle-max-percent=90 $pid hostB" | head -1)
	keeper_pid=$(pgrep -P "$haul_pid" -x haul-slow)
	[ -n "$keeper_pid" ] || fail "no keeper"
}

"$lab" rate 400mbit
start A "$work/writer" --mib 192 --rate 40000 --compress 0
before=$(here)

note "Ctrl-C"
throttled
kill -INT "$haul_pid"
wait $! || true
ends "Ctrl-C"

note "SIGKILL of haul"
throttled
kill -KILL "$haul_pid"
wait $! || true
ends "SIGKILL of haul"

note "SIGKILL of haul and its keeper"
throttled
kill -STOP "$keeper_pid" # or it would undo it
kill -KILL "$haul_pid" "$keeper_pid"
wait $! || true
slow || fail "nobody was there to undo it, and it is undone"
"$lab" run A "$haul" recover >"$dir/recovered"
grep -q 'at full speed again' "$dir/recovered" || fail "haul recover: $(cat "$dir/recovered")"
ends "haul recover"

note "SIGKILL of the keeper alone, in the middle"
throttled
kill -KILL "$keeper_pid"
until_true 240 '! kill -0 "$haul_pid"' || fail "haul does not end: $(tail -3 "$dir/report" "$dir/stderr")"
grep -q '"event": *"done"' "$dir/report" || fail "$(tail -3 "$dir/report" "$dir/stderr")"
[ ! -e "$was" ] || fail "$was is left"
verify B
stop B

note "with and without"
for percent in 0 90; do
	start A "$work/writer" --mib 192 --rate 40000 --compress 0
	move A --mode=pre-copy --throttle-max-percent=$percent
	verify B
	eval "down_$percent=$(field downtime_us)"
	[ "$percent" = 0 ] || [ "$(field throttle_percent)" -gt 0 ] || fail "it was not throttled"
	[ "$percent" != 0 ] || [ "$(field throttle_percent)" = 0 ] || fail "it was throttled"
	python3 -c 'import json, sys
for line in open(sys.argv[1]):
    e = json.loads(line)
    if e["event"] in ("round", "throttle"): print("   ", e.get("round", "-"), e.get("verdict", e.get("throttle_percent")), e.get("predicted_downtime_us", 0) // 1000, "ms:", e["why"])' "$dir/report"
	note "  $percent %: throttled by $(field throttle_percent) %, downtime $(($(field downtime_us) / 1000)) ms, total $(($(field total_us) / 1000)) ms"
	stop B
done
# what haul predicts without a clock: fewer pages are left for the freeze
[ "$down_90" -lt "$down_0" ] || fail "throttled, the stop was longer"
