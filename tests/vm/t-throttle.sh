#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-throttle - cgroup version 2 with a cpu controller: a writer that is alone in its cgroup is slowed down
# by cpu.max there, one that has company by the freezer. However haul ends, the limit is what it was, and
# the writer where it was.
. "$(dirname "$0")/../lib.sh"
lab_up
own=/sys/fs/cgroup/own

on() { "$lab" run A "$@"; }
marks() { on sh -c "ls -d $own/haul-slow-* 2>/dev/null || true"; }
throttled() { on sed -n 's/^nr_throttled //p' "$own/cpu.stat"; }

# slowed BY [OPTION]...: a haul in the background that slows the writer down so
slowed() {
	local by=$1 _
	shift
	on "$haul" --json --mode=pre-copy --throttle-max-percent=90 "$@" "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
	job=$!
	for _ in $(seq 400); do
		grep -q '"event": *"throttle"' "$dir/report" && break
		kill -0 $job 2>/dev/null || fail "it was not slowed down: $(cat "$dir/report" "$dir/stderr")"
		sleep 0.1
	done
	grep -q "\"throttle_by\": *\"$by\"" "$dir/report" || fail "not by $by: $(grep throttle "$dir/report")"
	[ -n "$(marks)" ] || fail "nothing in $own"
	haul_pid=$(on pgrep -x haul | head -1) || fail "haul has ended: $(cat "$dir/report" "$dir/stderr")"
	keeper_pid=$(on pgrep -x haul-slow | head -1) || fail "no keeper: $(cat "$dir/report" "$dir/stderr")"
}

# binds: there is a limit, and it is reached
binds() {
	local first _
	[ "$(on cat $own/cpu.max)" != "$limit" ] || fail "cpu.max is $limit, as before"
	first=$(throttled)
	until_true 60 '[ "$(throttled)" -gt "$first" ]' || fail "cpu.max $(on cat $own/cpu.max) never binds"
}

# undone WHAT
undone() {
	local _
	wait $job || true
	until_true 60 '[ -z "$(marks)" ]' || fail "marks are left"
	[ -z "$(marks)" ] || fail "$1: $(marks) is left"
	[ "$(on sed -n 's/^0:://p' "/proc/$pid/cgroup")" = /own ] || fail "$1: it is in $(on cat "/proc/$pid/cgroup")"
	[ "$(on cat $own/cpu.max)" = "$limit" ] || fail "$1: cpu.max was $limit, is $(on cat $own/cpu.max)"
	verify A
	note "  $1: at full speed, where it was"
}

"$lab" rate 20mbit
on sh -c "echo +cpu >/sys/fs/cgroup/cgroup.subtree_control; mkdir $own"
start A "$work/writer" --mib 16 --rate 4000 --compress 0
on sh -c "echo $pid >$own/cgroup.procs"
limit=$(on cat $own/cpu.max)
[ "$limit" = "max 100000" ] || fail "cpu.max is $limit at first"

slowed cpu.max
binds
on kill -INT "$haul_pid"
undone "Ctrl-C"

slowed cpu.max
on kill -KILL "$haul_pid"
undone "SIGKILL of haul"

limit="90000 120000"
on sh -c "echo $limit >$own/cpu.max"
slowed cpu.max
on kill -STOP "$keeper_pid" # or it would undo it
on kill -KILL "$haul_pid" "$keeper_pid"
wait $job || true
[ -n "$(marks)" ] || fail "nobody was there to undo it, and it is undone"
on "$haul" recover >"$dir/recovered"
grep -q 'at full speed again' "$dir/recovered" || fail "haul recover: $(cat "$dir/recovered")"
undone "SIGKILL of haul and its keeper, with a limit of its own"

company=$("$lab" spawn A company sleep 1000)
on sh -c "echo $company >$own/cgroup.procs"
slowed freezer
[ "$(on cat $own/cpu.max)" = "$limit" ] || fail "cpu.max has changed"
on kill -INT "$haul_pid"
undone "with company, by the freezer: Ctrl-C"
on kill "$company"
on sh -c "echo max >$own/cpu.max"

move A --mode=pre-copy --throttle-max-percent=90
[ "$(field throttle_percent)" -gt 0 ] || fail "it was not throttled"
verify B
note "  moved: throttled by $(field throttle_percent) %, downtime $(($(field downtime_us) / 1000)) ms, total $(($(field total_us) / 1000)) ms"
[ -z "$(marks)" ] || fail "$(marks) is left"
stop B
