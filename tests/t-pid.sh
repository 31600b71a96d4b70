#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-pid - pids that are taken at the destination: the tree keeps its own in a pid namespace there, and moves on
# from it, into another one or into the host's; --pid=keep refuses; faults leave one copy and nothing else.
. "$(dirname "$0")/lib.sh"
lab_up

# take HOST: another process gets $pid there
take() {
	until_true 30 '"$lab" run "$1" bash -c "
		echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
		setsid sleep 1000 </dev/null >/dev/null 2>&1 &
		[ \$! = $pid ] || { kill \$!; exit 1; }"' "$1" || fail "pid $pid cannot be taken on $1"
}

give_back() {
	"$lab" run "$1" kill "$pid"
	until_true 30 '! "$lab" run "$1" test -e "/proc/$pid"' "$1" || fail "the process that had pid $pid on $1 does not end"
}

# go FROM PID [OPTION]...: the process that has PID on FROM, to the other host; sets $here, its pid there
go() {
	local from=$1 p=$2
	shift 2
	"$lab" run "$from" "$haul" --json "$@" "$p" "host$(other "$from")" >"$dir/report" 2>"$dir/stderr" ||
		fail "haul $* from $from: $(cat "$dir/stderr" "$dir/report")"
	here=$(field host_pid)
}

# checks HOST: the workload, which is $here there, finds no fault; no other copy is there
checks() {
	local p=$pid
	pid=${here:-$pid}
	verify "$1"
	pid=$p
	[ "$("$lab" run "$1" pgrep -cx tree)" = 7 ] || fail "processes on $1: $("$lab" run "$1" ps -ef)"
	[ "$("$lab" run "$(other "$1")" pgrep -cx tree)" = 0 ] || fail "processes on $(other "$1"): $("$lab" run "$(other "$1")" ps -ef)"
}

# no_space HOST: no pid namespace is left there
no_space() {
	until_true 30 '! "$lab" run "$1" pgrep -f "hauld --keep-space"' "$1" || fail "process 1 of a pid namespace is left on $1"
	[ -z "$("$lab" run "$1" sh -c 'ls -d /sys/fs/cgroup/haul-tree-* 2>/dev/null' || true)" ] ||
		until_true 30 '[ -z "$("$lab" run "$1" sh -c "cat /sys/fs/cgroup/haul-tree-*/cgroup.procs")" ]' "$1" || fail "processes in a cgroup of haul's on $1"
}

start A "$work/tree"
take B
"$lab" run A "$haul" check --json --pid=keep "$pid" hostB >"$dir/check" 2>&1 && fail "pid $pid is taken: $(cat "$dir/check")"
grep -q pid-taken "$dir/check" || fail "check: $(cat "$dir/check")"
"$lab" run A "$haul" check --json "$pid" hostB >"$dir/check" 2>&1 || fail "check: $(cat "$dir/check")"
grep -q pid-namespace "$dir/check" || fail "check: $(cat "$dir/check")"
no_space B
note "  --pid=keep refuses; auto says what it does"

"$lab" run A "$haul" --json --hook=frozen=/bin/false "$pid" hostB >"$dir/report" 2>&1 && fail "the hook was not asked"
no_space B
go A "$pid"
[ -n "$here" ] || fail "the report names no pid on host B: $(cat "$dir/report")"
"$lab" run B grep -q "^NSpid:.*[^0-9]${here}[^0-9]*$pid\$" "/proc/$here/status" || fail "$("$lab" run B grep NSpid "/proc/$here/status")"
[ "$("$lab" run B cat "/proc/$here/root/proc/$pid/comm")" = tree ] || fail "its /proc is not its own"
"$lab" run B grep -qx sleep "/proc/$pid/comm" || fail "the process that had pid $pid on B is gone"
"$lab" run B grep -q haul-tree- "/proc/$here/cgroup" || fail "it is in the cgroup $("$lab" run B cat "/proc/$here/cgroup")"
checks B
note "  an undo, and a move: pid $pid is $here on host B"

# from one pid namespace into another; a haul that is killed, and one that is stopped, on the way
take A
HAUL_FAULT=s-restored-heard:kill "$lab" run B "$haul" --json "$here" hostA >"$dir/report" 2>&1 && fail "not killed"
until_true 30 '"$lab" run B grep -q "^State:.*T (" "/proc/$here/status"' || fail "the copy is not stopped"
"$lab" run B "$haul" recover >"$dir/said" 2>&1 || fail "recover: $(cat "$dir/said")"
grep -q 'it resumed here' "$dir/said" || fail "recover: $(cat "$dir/said")"
no_space A
checks B
HAUL_FAULT=s-restored-heard:kill "$lab" run B "$haul" --json "$here" hostA >"$dir/report" 2>&1 && fail "not killed"
"$lab" run B "$haul" recover --list >"$dir/said" 2>&1
id=$(grep -o '[0-9a-f]\{16\}' "$dir/said")
"$lab" run B "$haul" resolve -y "$id" --keep-here >"$dir/said" 2>&1 || fail "resolve: $(cat "$dir/said")"
no_space A
checks B
note "  haul killed: recovered and resolved from outside"

go B "$here" --mode=post-copy
[ -n "$here" ] || fail "the report names no pid on host A: $(cat "$dir/report")"
no_space B
checks A
note "  moved on, into another one"

# the worker dies when the tree runs: its successor finishes
first=$here
"$lab" run B "$haul" trust -y hostA >/dev/null
give_back B
go A "$first" --mode=post-copy
[ -z "$here" ] || fail "pid $pid is free on host B"
no_space A
checks B
give_back A
note "  and out of it: pid $pid is free there"

stop_hauld A
HAUL_FAULT=d-resumed:kill start_hauld A
go B "$pid" --pid=own-namespace --mode=post-copy
checks A
stop_hauld A
start_hauld A
note "  --pid=own-namespace; the worker dies after the commit"

"$lab" run A kill "$here"
until_true 60 '! "$lab" run A pgrep -x tree' || "$lab" run A pkill -KILL -x tree
no_space A
note "  with its last process the pid namespace ends"
