#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-link - the link breaks after the hand-over, in several ways: the process runs on, at the
# destination alone, with every page.
. "$(dirname "$0")/lib.sh"
lab_up
"$lab" rate 400mbit
broken=$dir/break
for h in A B; do
	"$lab" run "$h" setsid python3 "$top/tests/work/link-proxy.py" 4290 4285 "$broken.$h" \
		</dev/null >"$dir/proxy.$h.log" 2>&1 &
done
for h in A B; do
	listens "$h" 4290
done
"$lab" run A "$haul" trust -y -p 4290 hostB >/dev/null
"$lab" run B "$haul" trust -y -p 4290 hostA >/dev/null
start A "$work/writer" --mib 192 --rate 5000

# break_it FROM TO WORD: haul in post-copy mode; the link is broken while pages are missing
break_it() {
	local from=$1 to=$2 word=$3 job rc=0
	: >"$dir/report" # not the last one's
	"$lab" run "$from" "$haul" ${HAUL_OPTIONS:-} --json --mode=post-copy -p 4290 --link-limit-s=60 "$pid" "host$to" \
		>"$dir/report" 2>"$dir/stderr" &
	job=$!
	until_true 60 'grep -q "\"state\": *\"post-copy\"" "$dir/report"' || fail "no post-copy: $(cat "$dir/report")"
	works 0.4
	case $word in
	restart) # the destination's daemon is killed, another takes its place
		"$lab" run "$to" kill -9 "$(daemon "$to")"
		start_hauld "$to"
		echo reset >"$broken.$to"
		;;
	down)
		echo down >"$broken.$to"
		works 2
		! "$lab" run "$from" test -e "/proc/$pid" && fail "the copy on $from is gone while the link is down"
		stands "$from" "the copy on $from is not stopped"
		"$lab" run "$to" grep -q '^State:.*[RS]' "/proc/$pid/status" || fail "the process on $to does not run"
		echo up >"$broken.$to"
		;;
	*) echo "$word" >"$broken.$to" ;;
	esac
	wait "$job" || rc=$?
	[ $rc = 0 ] || { cat "$dir/stderr" "$dir/report" >&2; fail "$word: haul says $rc"; }
	grep -q '"event": *"link-lost"' "$dir/report" || { cat "$dir/report" >&2; fail "$word: the link was not lost in time"; }
	gone "$from"
	verify "$to"
	# it waited for at least one page while there was no link
	[ $word != down ] || [ "$(field degraded_us)" -gt 1000000 ] ||
		fail "down: degraded for $(field degraded_us) us, waited $(field fault_wait_us) us"
	[ -z "${HAUL_OPTIONS:-}" ] || cat "$dir/stderr" "$dir/report"; note "  $word: ran on, $(field faults_remote) faults at the source"
}

here=A
for word in ${BREAKS:-reset close down stall restart}; do
	there=$(other $here)
	break_it "$here" "$there" "$word"
	here=$there
done
stop "$here"
