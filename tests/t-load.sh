#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-load - loads that go wrong: an archive that is cut off or damaged is refused and nothing runs; one that cannot
# be read for a while makes threads wait; haul load is killed at each step: nothing runs, or recovery completes it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive.sh"
lab_up
ar=$dir/writer.haul
start A "$work/writer" --mib 16 --rate 5000
verify A
save A --end
gone A
good=$dir/good.haul
cp "$ar" "$good"
size=$(stat -c %s "$good")

# nothing_runs WORDS
nothing_runs() { "$lab" run A test ! -e "/proc/$pid" || fail "$1: a process runs"; }

step=$((size / 24))
[ -z "${FULL:-}" ] || step=4096 # make check-archive
n=0
for at in 0 1 4095 4096 8192 12288 12289 $(seq 16384 "$step" "$size") $((size - 1)); do
	[ "$at" -lt "$size" ] || continue
	cp "$good" "$ar"
	truncate -s "$at" "$ar"
	refused 1 'is not an archive\|cut off\|damaged' "$lab" run A "$haul" load "$ar"
	nothing_runs "cut off at $at"
	n=$((n + 1))
done
note "  cut off at $n lengths: refused"

# a byte of the data is changed: if it is one that counts, the load is refused before anything runs
n=0 hit=0
for at in 20 4100 4130 8200 8230 $(seq 12300 $((size / 12)) "$size"); do
	cp "$good" "$ar"
	python3 - "$ar" "$at" <<'PY'
import sys
f = open(sys.argv[1], "r+b")
f.seek(int(sys.argv[2]))
b = f.read(1)[0]
f.seek(-1, 1)
f.write(bytes([b ^ 0x55]))
PY
	n=$((n + 1))
	rc=0
	"$lab" run A "$haul" load --lazy=no --copy "$ar" >"$dir/report" 2>"$dir/stderr" || rc=$?
	if [ $rc = 0 ]; then
		verified=1
		verify A
		end A
	else
		hit=$((hit + 1))
		grep -q 'damaged\|not an archive' "$dir/stderr" || fail "byte $at: $(cat "$dir/stderr")"
		nothing_runs "byte $at changed"
	fi
done
[ $hit -ge 8 ] || fail "only $hit of $n changes were noticed"
note "  $n bytes changed, $hit of them noticed: refused; the others are in what no page needs"

cp "$good" "$ar"
for point in s-connected s-negotiated s-prepared s-rounds-done  s-sent s-restored-heard \
	a-index-synced a-root-synced a-use-noted s-commit-recorded; do
	rm -f "$dir/fault"
	"$lab" run A env HAUL_FAULT="$point:kill" HAUL_FAULT_FILE="$dir/fault" "$haul" -q load "$ar" >"$dir/out" 2>&1 &&
		fail "not killed at $point"
	"$lab" run A "$haul" -q recover >"$dir/out" 2>&1 || fail "recover after $point: $(cat "$dir/out")"
	until_true 20 '"$lab" run A test ! -e "/proc/$pid"' || fail "$point: a process runs"
	verified=1
	load A
	verify A
	end A
done
note "  haul killed at ten points before COMMIT: nothing runs, and it can be loaded"

for point in s-commit-sent s-running-heard s-pushing s-drained-heard; do
	rm -f "$dir/fault"
	"$lab" run A env HAUL_FAULT="$point:kill" HAUL_FAULT_FILE="$dir/fault" "$haul" -q load \
		--bandwidth-limit-mbit=200 "$ar" >"$dir/out" 2>&1 && fail "not killed at $point"
	"$lab" run A "$haul" recover >"$dir/out" 2>&1 || fail "recover after $point: $(cat "$dir/out")"
	if "$lab" run A test -e "/proc/$pid"; then
		verified=1
		verify A
		refused 3 "lives: process $pid" "$lab" run A "$haul" load "$ar"
		end A
	else
		grep -q "was not loaded" "$dir/out" || fail "$point: $(cat "$dir/out")"
	fi
done
note "  and at four behind it: recovery completes it"

verified=1
"$lab" run A "$haul" load --bandwidth-limit-mbit=40 "$ar" >"$dir/report" 2>"$dir/stderr" &
loader=$!
until_true 20 'grep -q " running" "$dir/report"' || fail "it does not run: $(cat "$dir/report" "$dir/stderr")"
truncate -s 12288 "$ar"
until_true 20 'grep -q "wait until it can be read" "$dir/stderr"' || fail "nothing is said: $(cat "$dir/stderr")"
"$lab" run A kill -USR1 "$pid"
[ ! -e "$wdir/failed" ] || fail "workload noticed: $(cat "$wdir/failed")"
kill -0 $loader || fail "haul load has ended"
cat "$good" >"$ar"
wait $loader || fail "haul load: $(cat "$dir/report" "$dir/stderr")"
until_true 60 '[ -e "$wdir/verify.2" ]' || fail "no answer from the workload"
grep -q '"ok": *true' "$wdir/verify.2" || fail "verification: $(cat "$wdir/verify.2")"
verified=2
verify A
note "  an archive that vanishes for a while: its pages are waited for"
end A
