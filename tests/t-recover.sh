#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-recover - what the operator does when haul or a host has died: haul recover, haul resolve, what
# they say and their exit statuses; the start of hauld; addresses that change; and that nobody else
# wakes the stopped copy unseen.
. "$(dirname "$0")/lib.sh"
lab_up
"$lab" rate 200mbit
net=$("$lab" addr A | cut -d. -f1-3)
boot=/proc/sys/kernel/random/boot_id
fault=$dir/fault

# hold POINT [OPTION]...: haul in post-copy from A, which waits at POINT; sets $job
hold() {
	local point=$1
	shift
	rm -f "$fault" "$fault.over"
	HAUL_FAULT=$point:hold HAUL_FAULT_FILE=$fault "$lab" run A "$haul" --json --mode=post-copy "$@" "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
	job=$!
	until_true 60 '[ -e "$fault" ]' || fail "$point was not reached: $(cat "$dir/report" "$dir/stderr")"
}

go_on() { touch "$fault.over"; rm -f "$fault"; }

# ended STATUS: of the held haul
ended() {
	local rc=0
	wait "$job" || rc=$?
	[ $rc = "$1" ] || fail "haul ended with $rc, not $1: $(cat "$dir/report" "$dir/stderr" | tail -n 5)"
}

# dies POINT: haul is killed there; sets $id
dies() {
	local f
	HAUL_FAULT=$1:kill "$lab" run A "$haul" --json --mode=post-copy "$pid" hostB >"$dir/report" 2>&1 && fail "$1: not killed"
	f=$("$lab" run A sh -c 'ls /run/haul/journal/source-*') || fail "$1: no journal"
	id=${f##*-}
}

# says HOST STATUS PATTERN COMMAND...: its exit status, and what it must say
says() {
	local h=$1 want=$2 pattern=$3 rc=0
	shift 3
	"$lab" run "$h" "$haul" "$@" >"$dir/said" 2>&1 </dev/null || rc=$?
	[ $rc = "$want" ] || fail "haul $*: status $rc, not $want: $(cat "$dir/said")"
	grep -qE -- "$pattern" "$dir/said" || fail "haul $* does not say \"$pattern\": $(cat "$dir/said")"
	note "  $rc $* : $(grep -E -m1 -- "$pattern" "$dir/said" | cut -c1-110)"
}

state() { "$lab" run "$1" sh -c "cut -d' ' -f3 /proc/$pid/stat 2>/dev/null" || true; }
ran() { "$lab" run A sh -c "cut -d' ' -f10,14 /proc/$pid/stat; cat /proc/$pid/syscall"; }	# faults, user time, place
no_journal() { [ -z "$("$lab" run A sh -c 'ls /run/haul/journal/source-* 2>/dev/null' || true)" ] || fail "a journal is left"; }

# kill_all HOST: every hauld, worker and guardian there, and the copy
kill_all() {
	"$lab" run "$1" sh -c "kill -KILL \$(pgrep -x 'hauld|haul-guard'); kill -KILL $pid" 2>/dev/null || true
	until_true 60 '! "$lab" run "$1" pgrep -x "hauld|haul-guard"' "$1" || fail "hauld on $1 does not end"
}

note "nothing to do, and wrong words"
says A 0 'no migration was left behind' recover
says A 0 'no migration was left behind' recover --list
says A 2 'is not the ID of a migration' recover nonsense
says A 1 'no migration 0000000000000123' recover 123
says A 2 'usage: haul resolve' resolve 123
says A 2 'usage: haul resolve' resolve 123 --keep-here --drop-here
says A 1 'no migration 0000000000000123' resolve -y 123 --drop-here

note "killed before the hand-over; hauld ends it when it starts"
start A "$work/writer" --mib 24 --rate 2000
dies s-restored-heard
says A 0 'resumes here when recovered' recover --list
stands A "--list has changed something"
"$lab" run A kill -KILL "$(daemon A)"
start_hauld A
until_true 60 '[ "$(state A)" != T ]' || fail "the copy on A is still stopped"
verify A
no_journal

note "killed after it: asked, then decided"
dies s-running-heard
says A 0 'may have been handed over; the stopped copy is here' recover --list
"$lab" run A "$haul" recover --list --json | python3 -c '
import json, sys
e = json.loads(sys.stdin.read())
sys.exit(not (e["event"] == "recover" and e["migration"] == sys.argv[1] and e["pid"] == int(sys.argv[2])))' "$id" "$pid" ||
	fail "recover --list --json"
says A 1 'there will be TWO' resolve "$id" --keep-here
says A 1 'the process is LOST' resolve "$id" --drop-here
stands A "not agreed, but done"
says A 0 'runs at the destination, with every page' recover "$id"
verify B
gone A
no_journal
move B
verify A

note "another process wakes the stopped copy"
hold s-sent
"$lab" run A kill -CONT "$pid"
go_on
ended 1
grep -q 'another process has woken the stopped process' "$dir/report" || fail "woken before the commit, unseen: $(cat "$dir/report")"
verify A
hold s-pushing
before=$(ran)
"$lab" run A kill -CONT "$pid"
works 0.3
[ "$(ran)" = "$before" ] || fail "SIGCONT has woken the copy: $before, now $(ran)"
go_on
ended 0
gone A
verify B
move B
hold s-pushing
cgroup=$("$lab" run A sh -c "grep -o '/haul-.*' /proc/$pid/cgroup")
root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
echo "$("$lab" pid A "$pid")" >"$root/cgroup.procs"
stands A "out of the frozen cgroup it runs"
go_on
ended 0
grep -q 'moved out of its frozen cgroup by another process; stopped again' "$dir/stderr" || fail "moved out unseen: $(cat "$dir/stderr")"
[ ! -e "$root$cgroup" ] || fail "the cgroup is left"
gone A
verify B
stop B

note "recovered from another network namespace than it was in"
start A "$work/writer" --mib 24 --rate 2000
dies s-running-heard
"$lab" run A unshare -n "$haul" recover "$id" >"$dir/said" 2>&1 || fail "recover: $(cat "$dir/said")"
verify B
gone A
no_journal
stop B

note "the destination has lost what it knew; then it was rebooted"
for how in wiped rebooted; do
	start A "$work/writer" --mib 24 --rate 2000
	dies s-running-heard
	kill_all B
	"$lab" run B rm -rf /run/haul
	[ $how = wiped ] || "$lab" run B sh -c "cat /proc/sys/kernel/random/uuid >$dir/boot; mount --bind $dir/boot $boot"
	says A 4 'Connection refused' recover --link-limit-s=0 "$id"
	start_hauld B
	if [ $how = wiped ]; then
		says A 4 'knows nothing of this migration' recover
	else
		says A 4 'hostB has rebooted' recover
		says A 4 '"text":.*hostB has rebooted' recover --json
	fi
	stands A "$how: resumed by itself"
	says A 0 'resumed here, as it was when it was stopped' resolve -y --keep-here "$id"
	verify A
	no_journal
	stop A
done
kill_all B
"$lab" run B umount $boot
start_hauld B

note "gone for good: the copy here is dropped; not kept when a part of it is gone"
start A "$work/writer" --mib 24 --rate 2000
dies s-running-heard
"$lab" run A kill -KILL "$pid"
says A 1 'of its processes are gone' resolve -y --keep-here "$id"
says A 0 'the copy here was killed' resolve -y --drop-here "$id"
no_journal
kill_all B
start_hauld B

note "this host was rebooted"
start A "$work/writer" --mib 24 --rate 2000
dies s-restored-heard
"$lab" run A sh -c "cat /proc/sys/kernel/random/uuid >$dir/boot; mount --bind $dir/boot $boot"
says A 0 'this host has rebooted since' recover
no_journal
"$lab" run A umount $boot
stop A

note "the destination's address changes, and haul is dead; then the source's, and haul lives"
start A "$work/writer" --mib 96 --rate 2000
dies s-pushing
"$lab" run B sh -c "ip addr del $net.2/24 dev eth0; ip addr add $net.77/24 dev eth0"
says A 4 'timed out|No route|unreachable' recover --link-limit-s=0 --connect-limit-ms=700
says A 4 'is not known here' recover --link-limit-s=2 --to="$net.77"
"$lab" run A "$haul" trust -y "$net.77" >/dev/null
says A 0 'runs at the destination, with every page' recover --to="$net.77" "$id"
verify B
gone A
"$lab" run B sh -c "ip addr del $net.77/24 dev eth0; ip addr add $net.2/24 dev eth0"
move B
verify A
hold s-pushing
"$lab" run A sh -c "ip addr del $net.1/24 dev eth0; ip addr add $net.78/24 dev eth0"
go_on
ended 0
grep -q '"event": *"link-lost"' "$dir/report" || fail "the link was not lost: $(cat "$dir/report")"
verify B
gone A
stop B
