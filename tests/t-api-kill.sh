#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-api-kill - hauld, its API process, the runner of a migration killed in the middle: nothing is
# lost, nothing runs twice, what had ended stays listed.
. "$(dirname "$0")/lib.sh"
. "$top/tests/page/lab.sh"
api_options=("migrations-max = 1")
api_up
in_a() { "$lab" run A "$@"; }
ask() { in_a python3 "$top/tests/api/watch.py" "$@"; }
slow='{"options": {"bandwidth-limit-mbit": 80, "mode": "pre-copy"}}'

# on HOST: this process is there, and not on the other
on() {
	"$lab" run "$1" kill -0 "$pid" || fail "process $pid is not on $1"
	! "$lab" run "$(other "$1")" test -e "/proc/$pid" || fail "process $pid is on both"
}
ended() {
	local got
	got=$(ask wait "$1")
	[ "$got" = "$2" ] || fail "migration $1: $got, not $2: $(ask field "$1" error)"
	[ "$(ask count "$1" started)" = 1 ] || fail "migration $1 was started more than once"
	[ "$(ask count "$1" ended)" = 1 ] || fail "migration $1 ended more than once"
}

# ---- SIGKILL of hauld: one runs, one waits, one is over ----
start A "$work/writer" --mib 8 --rate 100
over=$(ask start "$pid" hostB)
ended "$over" done
start A "$work/writer" --mib 64 --rate 500
running_pid=$pid running_dir=$wdir
running=$(ask start "$pid" hostB "${slow/80/20}") # hauld starts anew meanwhile
start A "$work/writer" --mib 8 --rate 100
waiting=$(ask start "$pid" hostB)
ask state "$running" rounds
runner=$(in_a pgrep -f "^hauld-runner.*$running")
in_a kill -9 "$(in_a pgrep -xo hauld)"
until_true 60 '! in_a pgrep -x hauld-api >/dev/null' || fail "the API process outlives hauld"
in_a kill -0 "$runner" || fail "the runner died with hauld"
start_hauld A
[ "$(ask field "$over" status)" = done ] || fail "what was over is not listed any more"
[ "$(ask field "$running" status)" = running ] || fail "the running one: $(ask field "$running" status)"
[ "$(ask field "$waiting" status)" = queued ] || fail "the waiting one: $(ask field "$waiting" status)"
[ "$(in_a pgrep -f "^hauld-runner.*$running")" = "$runner" ] || fail "it has another runner"
ended "$running" done
ended "$waiting" done
on B
pid=$running_pid wdir=$running_dir verified=0
on B
verify B
note "  hauld killed in the rounds: the migration continued and was picked up, the queue too"

# ---- both haulds, in mid-migration, back from B ----
on_b() { "$lab" run B python3 "$top/tests/api/watch.py" "$@"; }
id=$(on_b start "$pid" hostA "$slow")
on_b state "$id" rounds
for h in A B; do
	"$lab" run "$h" kill -9 "$("$lab" run "$h" pgrep -xo hauld)"
done
start_hauld A
start_hauld B
[ "$(on_b wait "$id")" = done ] || fail "after both haulds: $(on_b field "$id" status) $(on_b field "$id" error)"
on A
verify A
note "  hauld killed on both hosts: done all the same"

# ---- the API process alone ----
id=$(ask start "$pid" hostB "$slow")
ask state "$id" rounds
daemon=$(in_a pgrep -xo hauld)
in_a kill -9 "$(in_a pgrep -x hauld-api)"
ended "$id" done
[ "$(in_a pgrep -xo hauld)" = "$daemon" ] || fail "hauld is another one"
on B
verify B
note "  the API process killed: hauld started another one"

# ---- the runner: haul undoes, the process runs on here ----
start A "$work/writer" --mib 64 --rate 500
id=$(ask start "$pid" hostB "$slow")
ask state "$id" rounds
in_a pkill -9 -f "^hauld-runner.*$id"
ended "$id" interrupted
on A
verify A
id=$(ask start "$pid" hostB)
ended "$id" done
on B
verify B
note "  the runner killed: it is undone and says so; the next one moves it"

# ---- the destination is lost after the hand-over: the operator decides ----
start A "$work/writer" --mib 64 --rate 100
id=$(ask start "$pid" hostB '{"options": {"bandwidth-limit-mbit": 20, "mode": "post-copy"}, "connect_limit_ms": 700, "link_limit_s": 0}')
ask state "$id" post-copy
ip -n "hl-$LAB-sw" link set pB down
for p in $("$lab" run B pgrep -x "hauld|haul-guard") $pid; do "$lab" run B kill -9 "$p" 2>/dev/null || true; done
ended "$id" unresolved
resolve() { in_a curl -s --unix-socket /run/haul/api.sock --json "$1" "http://h/v1/migrations/$id/resolve"; }
resolve '{"copy_here": "maybe"}' | grep -q bad-value || fail "resolve maybe"
resolve '{"copy_here": "keep"}' >"$dir/resolved"
grep -q '"status":"failed"' "$dir/resolved" || fail "resolve: $(cat "$dir/resolved")"
resolve '{"copy_here": "keep"}' | grep -q not-open || fail "resolved twice"
ip -n "hl-$LAB-sw" link set pB up
start_hauld B
on A
verify A
note "  the destination lost after the hand-over: unresolved, until the operator keeps the copy here"

# ---- kill -9 of all that is hauld's, ten times, in a queue of six ----
pids=() dirs=() ids=()
for i in 1 2 3 4 5 6; do
	start A "$work/writer" --mib 16 --rate 200
	pids+=("$pid") dirs+=("$wdir")
	ids+=("$(ask start "$pid" hostB '{"options": {"bandwidth-limit-mbit": 200, "mode": "pre-copy"}}')")
done
for i in $(seq 10); do
	in_a kill -9 "$(in_a pgrep -xo hauld)"
	start_hauld A
	sleep "0.$((RANDOM % 10))"
done
for i in "${!ids[@]}"; do
	ended "${ids[i]}" done
	pid=${pids[i]} wdir=${dirs[i]} verified=0
	on B
	verify B
done
note "  ten kills during a queue of six: each moved once"
