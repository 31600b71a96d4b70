#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-hints - what is lost, and only the kernel's memory tells: haul check names each, by these words and no others.
# What the program could not do without is refused by check and move, and the program runs on.
. "$(dirname "$0")/lib.sh"
lab_up

# codes SEVERITY: those of the last check
codes() { awk -v s="$1" '$1 == s { print $2 }' "$dir/check" | sort -u | xargs; }

note "named"
start A "$work/kept_hints.py"
verify A
"$lab" run A "$haul" check --verbose "$pid" hostB >"$dir/check" 2>&1 || fail "haul check: $(cat "$dir/check")"
want="directory-notify exit-signal flow-label multicast-interface o-tmpfile reuseport-program task-flags"
[ "$(codes warning)" = "$want" ] || fail "haul check warns of $(codes warning): $(cat "$dir/check")"
for code in write-hint read-advice $(grep -q '"busies": true' "$wdir/verify.1" && echo epoll-busy); do
	codes note | grep -qw "$code" || fail "no $code: $(cat "$dir/check")"
done
for h in A B; do
	move $h
	verify "$(other $h)"
done
stop A

for more in "deadline scheduler" "alarm timer-clock" "ports io-ports" "ldt ldt" "sysv sysv-ipc"; do
	if ! "$lab" run A "$work/kept_hints.py" --probe --with="${more% *}" 2>"$dir/why"; then
		note "  NOT SHOWN here: $(cat "$dir/why")"
		continue
	fi
	start A "$work/kept_hints.py" --with="${more% *}"
	rc=0
	"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || rc=$?
	[ $rc = 3 ] && [ "$(codes BLOCKER)" = "${more#* }" ] || fail "check ${more% *}: status $rc: $(cat "$dir/check")"
	rc=0
	"$lab" run A "$haul" "$pid" hostB >"$dir/report" 2>&1 || rc=$?
	[ $rc = 3 ] || fail "${more% *}: status $rc: $(cat "$dir/report")"
	verify A
	stop A
	note "${more% *}: refused (${more#* })"
done
