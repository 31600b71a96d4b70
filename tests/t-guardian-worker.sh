#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-guardian-worker - the worker at the destination is killed after the commit: its successor fills
# what is here and takes the rest from the source; with no guardian left the tree is killed.
. "$(dirname "$0")/lib.sh"
lab_up

# killed_at PATTERN MODE: haul in MODE from A; as soon as hauld on B says PATTERN its worker
# dies by $kill; what haul said is in $dir/out, its exit status in $rc
killed_at() {
	local pattern=$1 mode=$2 from worker
	from=$(wc -l <"$dir/hauld.B.log")
	"$lab" run A "$haul" --link-limit-s=8 --mode="$mode" "$pid" hostB >"$dir/out" 2>&1 &
	local h=$!
	UNTIL_STEP_S=0.002 until_true 60 'tail -n +$((from + 1)) "$dir/hauld.B.log" | grep -q "$pattern"' || fail "hauld on B does not say \"$pattern\""
	worker=$(tail -n +$((from + 1)) "$dir/hauld.B.log" | grep -m1 -oE 'worker=[0-9]+' | cut -d= -f2) || true
	[ -n "$worker" ] || fail "no worker on B: $(cat "$dir/out")"
	$kill "$worker"
	rc=0
	wait $h || rc=$?
	tail -n +$((from + 1)) "$dir/hauld.B.log" >"$dir/since"
}

one() { "$lab" run B kill -9 "$1" || note "  (the worker had ended)"; }

# Stopped first, so that none sees the other die.
all() {
	local g1 g2
	g1=$("$lab" run B pgrep -P "$1" -x haul-guard) || fail "worker $1 has no guardian"
	g2=$("$lab" run B pgrep -P "$g1" -x haul-guard) || fail "guardian $g1 has no second guardian"
	"$lab" run B kill -STOP "$1" "$g1" "$g2" || fail "one of $1 $g1 $g2 had ended"
	"$lab" run B kill -KILL "$1" "$g1" "$g2"
}

since() { # since PATTERN: hauld on B says it
	until_true 60 'tail -n +1 "$dir/hauld.B.log" >"$dir/since"; grep -qE "$1" "$dir/since"' "$1" || fail "hauld on B does not say \"$1\": $(tail -5 "$dir/since")"
}

forget() { # the copies of this case, on both hosts
	stop A
	stop B
	: >"$dir/hauld.B.log"
}

# ---- every page is in the store: no link is needed ----
kill=one
for attempt in 1 2 3 4 5; do
	start A "$work/writer" --mib 512 --rate 2000
	killed_at 'next=running' pre-copy
	since 'takes its place|every page is in place'
	left=0
	if grep -q 'takes its place' "$dir/since"; then
		since 'taken over'
		left=$(grep -m1 -oE 'over; [0-9]+ pages' "$dir/since" | grep -oE '[0-9]+')
	fi
	[ "$left" = 0 ] || break
	forget # all was in place before the kill came
done
grep -q ' 0 of them at the source' "$dir/since" || fail "pages at the source in pre-copy mode: $(grep over "$dir/since")"
[ "$left" -gt 0 ] || fail "the kill came too late $attempt times: nothing was missing"
since 'every page is in place'
verify B
[ $rc = 0 ] || fail "haul fails although nothing was missing: $(cat "$dir/out")"
gone A
note "  worker killed with $left pages not yet in place: all verified"
forget

# ---- some are at the source: it comes back to the successor, and brings them ----
"$lab" rate 100mbit
start A "$work/writer" --mib 64 --rate 2000
killed_at 'next=running' post-copy
since 'taken over'
left=$(grep -m1 -oE ', [0-9]+ of them at the source' "$dir/since" | grep -oE '[0-9]+')
[ "$left" -gt 0 ] || fail "nothing was at the source any more"
since 'every page is in place'
verify B
[ $rc = 0 ] || fail "haul did not find the successor: $(cat "$dir/out")"
gone A
note "  worker killed with $left pages at the source: all brought and verified"
forget

# ---- and when nobody is left ----
start A "$work/writer" --mib 64 --rate 2000
kill=all
killed_at 'next=running' post-copy
since 'the tree .* (was killed|had ended before)'
gone B
# between the last death and the kill there is a moment: docs/HANDOVER.md section 8
! grep -q 'had ended before' "$dir/since" || note "  NOT SHOWN: the program met a page that was missing before it was killed, and ended itself"
[ $rc != 0 ] || fail "haul says that all is well: $(cat "$dir/out")"
stands A "the copy on A is not held"
note "  worker and guardians killed: $(grep -m1 -oE 'the tree .*' "$dir/since")"
forget
