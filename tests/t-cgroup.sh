#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-cgroup - a tree in cgroups of its own, as a service is: it moves in every mode, into a cgroup of its
# own there, so that what ends hauld's cgroup does not end it; undone, it is where it was.
. "$(dirname "$0")/lib.sh"
lab_up
cgroups=$("$lab" run A awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
[ -n "$cgroups" ] || skip "no cgroup version 2 here"

service=$cgroups/haul-test-$$
at() { "$lab" run "$1" sed -n 's/^0:://p' "/proc/$2/cgroup"; }
no_service() {
	for c in "$service/part" "$service"; do "$lab" run A rmdir "$c" 2>/dev/null || true; done
}

tree() { "$lab" run A sh -c "for p in $pid \$(cat /proc/$pid/task/*/children); do echo \$p; done"; }

# into_service: the root and its children in two cgroups
into_service() {
	local p
	"$lab" run A mkdir -p "$service/part"
	for p in $(tree); do
		"$lab" run A sh -c "echo $p >$service$([ "$p" = "$pid" ] || echo /part)/cgroup.procs"
	done
}

for m in ${MODES:-stop-copy pre-copy post-copy hybrid auto}; do
	start A "$work/tree"
	into_service
	child=$(tree | tail -1)
	if "$lab" run A "$haul" --criu /bin/false "$pid" hostB >"$dir/out" 2>&1; then
		fail "hauled without CRIU"
	fi
	[ "$(at A "$pid") $(at A "$child")" = "${service#"$cgroups"} ${service#"$cgroups"}/part" ] ||
		fail "undone, it is in $(at A "$pid") and $(at A "$child")"
	move A --mode="$m"
	verify B
	daemon=$("$lab" run B pgrep -o -x hauld)
	[ "$(at B "$pid")" != "$(at B "$daemon")" ] || fail "at B it is in hauld's cgroup, $(at B "$daemon")"
	case $(at B "$pid") in /haul-tree-*) ;; *) fail "at B it is in $(at B "$pid")" ;; esac
	for p in $("$lab" run B sh -c "cat /proc/$pid/task/*/children"); do
		[ "$(at B "$pid")" = "$(at B "$p")" ] || fail "at B the child is in $(at B "$p")"
	done
	note "  $m: downtime $(($(field downtime_us) / 1000)) ms"
	stop B
	until_true 60 'no_service; ! "$lab" run A test -e "$service"' || fail "$service is still in use"
done

# While the copy is stopped its cgroup is not empty: who watches it, as systemd does, would take it for ended.
start A "$work/tree"
into_service
"$lab" run A env HAUL_FAULT=s-restored-heard:kill "$haul" --mode=post-copy "$pid" hostB >"$dir/out" 2>&1 && fail "not killed"
case $(at A "$pid") in "${service#"$cgroups"}"/haul-*) ;; *) fail "stopped, it is in $(at A "$pid")" ;; esac
"$lab" run A grep -q 'populated 1' "$service/cgroup.events" || fail "its cgroup looks empty"
"$lab" run A "$haul" recover >"$dir/out" 2>&1 || fail "haul recover: $(cat "$dir/out")"
verify A
child=$(tree | tail -1)
[ "$(at A "$pid") $(at A "$child")" = "${service#"$cgroups"} ${service#"$cgroups"}/part" ] ||
	fail "recovered, it is in $(at A "$pid") and $(at A "$child")"
[ -z "$("$lab" run A sh -c "ls -d $service/haul-* 2>/dev/null || true")" ] || fail "a cgroup is left"
note "  killed before the hand-over, and recovered: where it was"
stop A
until_true 60 'no_service; ! "$lab" run A test -e "$service"' || fail "$service is still in use"
