#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-scarce - a destination that is out of processes or of descriptors says so, whatever of hauld finds it out,
# and hauld does not spin; what hauld and a worker that died together left is removed at the next start; a program
# that is killed while haul looks at it has ended, and is not "No such file".
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/writer" --mib 16 --rate 100

# check: of $pid for B; $dir/out
check() { "$lab" run A "$haul" check "$pid" hostB >"$dir/out" 2>&1; }
# spent PID: hundredths of a second of processor time at B
spent() { "$lab" run B sh -c "cut -d' ' -f14,15 /proc/$1/stat" | tr ' ' '+' | bc; }
# says WORDS N: haul check is well, or says in these words what B is out of; $refused, $went count
says() {
	if check; then
		went=$((went + 1))
		return
	fi
	grep -q "is out of $1" "$dir/out" || fail "with $2: $(cat "$dir/out")"
	! grep -q "no working CRIU" "$dir/out" || fail "with $2: $(cat "$dir/out")"
	refused=$((refused + 1))
}

note "out of descriptors: from those of hauld itself to those that CRIU needs"
d=$(daemon B)
refused=0 went=0
for n in 256 64 48 40 34 30 26 22 18 14 8; do	# downwards: root here may not raise a limit
	"$lab" run B prlimit --pid "$d" --nofile="$n:$n"
	says descriptors "$n descriptors"
done
[ "$refused" -ge 3 ] && [ "$went" -ge 1 ] || fail "$refused refused, $went not"
note "  $refused refused, $went well"

if [ -n "${HAUL_SANITIZED:-}" ]; then
	note "LEFT OUT: hauld rests with all descriptors taken; a sanitizer needs one to report"
else
	note "with all descriptors taken hauld rests"
	stop_hauld B
	start_hauld B
	d=$(daemon B)
	"$lab" run B prlimit --pid "$d" --nofile=24:1024
	"$lab" run A python3 -c 'import socket, time
held = [socket.create_connection(("hostB", 4285)) for i in range(60)]
time.sleep(4)' &
	silent=$!
	until_true 30 'grep -q "no connection is accepted: out of descriptors" "$dir/hauld.B.log"' || fail "not said: $(cat "$dir/hauld.B.log")"
	t0=$(spent "$d")
	wait $silent
	t1=$(spent "$d")
	[ $((t1 - t0)) -lt 40 ] || fail "hauld used $((t1 - t0)) hundredths of a second in 4 seconds"
	"$lab" run B prlimit --pid "$d" --nofile=1024:1024
	until_true 30 check || fail "it does not recover: $(cat "$dir/out")"
fi

note "out of processes"
pids=$("$lab" run B awk '$3 == "cgroup" && $4 ~ /(^|,)pids(,|$)/ { print $2; exit }' /proc/self/mounts)
if [ -z "$pids" ]; then
	pids=$("$lab" run B awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
	grep -q pids "$pids/cgroup.subtree_control" 2>/dev/null || pids=
fi
if [ -n "$pids" ]; then
	group=$pids/haul-test-$$
	mkdir "$group"
	# the pids of B on this machine
	processes=()
	for p in $("$lab" run B pgrep -x hauld); do processes+=("$("$lab" pid B "$p")"); done
	home=$pids$(awk -F: '$2 ~ /(^|,)pids(,|$)/ || $1 == 0 { print $3; exit }' "/proc/${processes[0]}/cgroup")
	for p in "${processes[@]}"; do echo "$p" >"$group/cgroup.procs"; done
	refused=0 went=0
	for n in 0 1 2 3 4 5 6 8 12 100; do
		until_true 20 '[ "$(cat "$group/pids.current")" -le "${now:=$(cat "$group/pids.current")}" ]'
		echo $((now + n)) >"$group/pids.max"
		says processes "$n more processes"
	done
	echo max >"$group/pids.max"
	until_true 30 check || fail "it does not recover: $(cat "$dir/out")"
	until_true 20 'for p in $(cat "$group/cgroup.procs"); do echo "$p" >"$home/cgroup.procs"; done; rmdir "$group"' ||
		fail "cgroup $group is in use"
	[ "$refused" -ge 3 ] && [ "$went" -ge 1 ] || fail "$refused refused, $went not"
	note "  $refused refused, $went well"
else
	note "  not tried: no pids controller here"
fi
move A --mode=pre-copy
verify B
move B --mode=pre-copy
verify A

note "hauld and a worker die together: the worker's door is removed at the next start"
"$lab" rate 40mbit
"$lab" run A "$haul" --mode=pre-copy "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
job=$!
door() { "$lab" run B find /run/haul -maxdepth 1 -type s -regex '.*/[0-9a-f]*'; }
until_true 60 '[ -n "$(door)" ]' || fail "no worker: $(cat "$dir/stderr")"
"$lab" run B pkill -9 -x hauld
wait $job && fail "moved to a dead hauld"
[ -n "$(door)" ] || fail "no door is left: nothing is tested"
start_hauld B
until_true 20 '[ -z "$(door)" ]' || fail "left at B: $(door)"

note "a program that is killed while haul looks at it"
for after in 0.05 0.1 0.2 0.5 1.5; do
	"$lab" run A "$haul" --mode=pre-copy "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
	job=$!
	works $after
	stop A
	wait $job && fail "a killed program was moved: $(cat "$dir/report")"
	! grep -q "No such file\|No such process" "$dir/stderr" || fail "killed after $after s: $(cat "$dir/stderr")"
	grep -q "process $pid has ended\|no process $pid\|was killed" "$dir/stderr" || fail "killed after $after s: $(cat "$dir/stderr")"
	note "  after $after s: $(head -1 "$dir/stderr")"
	start A "$work/writer" --mib 32 --rate 2000
done
"$lab" rate off
stop A
