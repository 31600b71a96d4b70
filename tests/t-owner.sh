#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-owner - one haul or haul watch of a tree at a time: the second is refused before anything moves,
# by the name of the first, which does not notice. Nor is one touched that is frozen.
. "$(dirname "$0")/lib.sh"
lab_up

# refused WORDS COMMAND...: on host $on, and why
on=A
refused() {
	local rc=0
	"$lab" run "$on" "$haul" "${@:2}" >"$dir/out" 2>"$dir/stderr" || rc=$?
	[ $rc != 0 ] || fail "haul ${*:2}: not refused"
	grep -q "$1" "$dir/out" "$dir/stderr" || fail "haul ${*:2}: $(cat "$dir/stderr")"
}
by='is tracked already, by haul (pid'

# tracked FILE PATTERN: until the haul in the background says that it has begun; then it has the lock
tracked() {
	until_true 60 'grep -qE "$2" "$1"' "$@" || fail "it does not begin: $(cat "$1")"
	works 1
}

start A "$work/writer" --mib 64 --rate 100 --compress 0

note "beside haul watch"
"$lab" run A "$haul" watch --seconds=5 "$pid" >"$dir/watch" 2>&1 &
tracked "$dir/watch" .
refused "$by" "$pid" hostB
refused "$by" --mode=stop-copy "$pid" hostB
refused "$by" watch --seconds=1 "$pid"
wait $! || fail "haul watch: $(cat "$dir/watch")"
verify A

note "beside another haul"
move A --mode=pre-copy --bandwidth-limit-mbit=100 --max-rounds=1 &
tracked "$dir/report" '"rounds"'
refused "$by" "$pid" hostB
refused "$by" --mode=stop-copy "$pid" hostB
refused "$by" watch --seconds=1 "$pid"
wait $! || fail "the first haul"
verify B

note "the first is killed"
"$lab" run B "$haul" --mode=pre-copy --bandwidth-limit-mbit=50 "$pid" hostA >"$dir/out" 2>&1 &
tracked "$dir/out" 'opening streams'
first=$("$lab" run B pgrep -f "bandwidth-limit-mbit=50 $pid" | tail -1)
"$lab" run B kill -9 "$first"
wait $! || true
"$lab" run B "$haul" recover >/dev/null || fail "haul recover"
verify B
move B
verify A
stop A

note "frozen"
start B "$work/writer" --mib 16 --rate 100
at=$("$lab" run B sh -c 'awk "\$3 == \"cgroup2\" { print \$2; exit }" /proc/self/mounts')
if [ -n "$at" ] && "$lab" run B mkdir "$at/t-owner.$$"; then
	"$lab" run B sh -c "echo $pid >$at/t-owner.$$/cgroup.procs; echo 1 >$at/t-owner.$$/cgroup.freeze"
	on=B
	refused 'is frozen by its cgroup' watch --seconds=1 "$pid"
	refused 'is frozen by its cgroup' "$pid" hostA
	"$lab" run B sh -c "echo 0 >$at/t-owner.$$/cgroup.freeze"
	verify B
	"$lab" run B sh -c "echo $pid >$at/cgroup.procs; rmdir $at/t-owner.$$"
fi
stop B
