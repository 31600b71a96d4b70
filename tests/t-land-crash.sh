#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-land-crash - whatever is killed while a program moves from a haul run to a haul land: one copy, and its
# caller, wherever it is, sees what becomes of it.
. "$(dirname "$0")/lib.sh"
. "$top/tests/lib-land.sh"
lab_up
lives() { "$lab" run "$1" test -e "/proc/$pid" && "$lab" run "$1" grep -qE '^State:.[SRD]' "/proc/$pid/status"; }

# answers HOST NAME: the copy there runs, and is what the caller there has started
answers() {
	has "$2.out" '^out '
	tell "$1" USR1 "$2"
	has "$2.out" '^signal 10$'
}
# one_copy: at A with its haul run, or at B with its haul land; sets $where
one_copy() {
	until_true 60 'lives A || lives B' || fail "$1: no copy"
	if lives B; then
		where=B
		ends run 0
		answers B there
		until_true 30 '! "$lab" run A test -e "/proc/$pid"' || fail "$1: a copy stays at A"
	else
		where=A
		[ ! -s "$dir/run.status" ] || fail "$1: haul run has ended: $(cat "$dir/run.status")"
		answers A run
		until_true 30 '! "$lab" run B test -e "/proc/$pid"' || fail "$1: a copy stays at B"
	fi
}
# over: end what is left, by its callers
over() {
	tell "$where" TERM "$([ $where = A ] && echo run || echo there)"
	ends "$([ $where = A ] && echo run || echo there)" 7
	if [ $where = A ]; then
		tell B INT there
		ends there -2
	fi
	whole out "$dir/run.out" "$dir/there.out"
}
# begin: a program at A, a haul land at B
begin() {
	run_clerk A run k
	land B there k
}

# ---- the haul that moves it ----
for f in s-prepared s-freeze-recorded s-stopped s-dumped s-held-recorded s-sent s-restored-heard s-commit-recorded s-commit-sent s-running-heard s-drained-heard s-copy-killed; do
	begin
	"$lab" run A env HAUL_FAULT=$f:kill "$haul" --as=k "$pid" hostB >"$dir/out" 2>&1 && fail "$f: not killed"
	until_true 60 '"$lab" run A "$haul" recover --quiet' || fail "$f: recover: $("$lab" run A "$haul" recover 2>&1)"
	one_copy $f
	case $f in
	s-running-heard | s-drained-heard | s-copy-killed) [ $where = B ] || fail "$f: it is at A" ;;
	s-commit-sent) ;;
	*) [ $where = A ] || fail "$f: it is at B" ;;
	esac
	over
done
note "  haul is killed: one copy, and its caller knows"

# ---- the worker, and its hauld ----
for f in d-started d-placed-said d-gate d-gate-recorded d-restored-said d-commit-heard d-commit-recorded d-resumed d-running-said d-done-recorded; do
	stop_hauld B
	HAUL_FAULT=$f:kill HAUL_FAULT_FILE=$dir/fault start_hauld B
	begin
	rm -f "$dir/fault"
	"$lab" run A "$haul" --as=k "$pid" hostB >"$dir/out" 2>&1 || true
	until_true 60 '"$lab" run A "$haul" recover --quiet' || fail "$f: recover: $("$lab" run A "$haul" recover 2>&1)"
	one_copy $f
	over
	rm -f "$dir/fault"
done
stop_hauld B
start_hauld B
note "  the worker is killed: the same"

# at POINT COMMAND...: the haul waits at the point while the command is done
at() {
	local point=$1
	shift
	rm -f "$dir/held" "$dir/held.over"
	"$lab" run A env HAUL_FAULT="$point:hold" HAUL_FAULT_FILE="$dir/held" "$haul" --as=k "$pid" hostB >"$dir/out" 2>&1 &
	mover=$!
	until_true 60 '[ -s "$dir/held" ]' || fail "$point: not reached: $(cat "$dir/out")"
	"$@"
	rm -f "$dir/held"
	rc=0
	wait $mover || rc=$?
}
gone_everywhere() {
	until_true 60 '! "$lab" run A test -e "/proc/$pid" && ! "$lab" run B test -e "/proc/$pid"' || fail "$1: a copy is left"
}

# ---- who has started it ----
for f in s-rounds-done s-stopped s-restored-heard; do
	begin
	at $f tell A KILL run
	ends run -9
	gone_everywhere $f
	[ $rc != 0 ] || fail "$f: moved although its caller has killed it"
	tell B INT there
	ends there -2
done
begin
at s-commit-sent tell A KILL run
ends run -9
until_true 30 'lives B' || fail "given away, and lost with the caller that has left it"
where=B
tell B TERM there
ends there 7
note "  haul run is killed: its program ends with it, until it is given away"

for f in s-rounds-done s-sent s-restored-heard; do
	begin
	at $f tell B KILL there
	ends there -9
	[ $rc != 0 ] || fail "$f: moved to nobody"
	where=A
	answers A run
	until_true 30 '! "$lab" run B test -e "/proc/$pid"' || fail "$f: a copy at B"
	tell A TERM run
	ends run 7
done
begin
at s-copy-killed tell B KILL there
ends there -9
ends run 0
gone_everywhere "after the move"
note "  haul land is killed: the program stays, or ends with it when it has moved"

# ---- the process between ----
begin
"$lab" run A kill -9 "$(parent A)"
ends run 125
gone_everywhere holder
tell B INT there
ends there -2
note "  the holder is killed: the caller hears of it, and no program runs unseen"
