#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trackers - on two machines that are alike: each tracker that the kernel has brings a writer
# over by rounds; one that it lacks is refused by name, and the writer runs on.
. "$(dirname "$0")/../lib.sh"
lab_up
debian=${HAUL_VM_HOSTS%% *}
case $debian in
bookworm) has=(soft-dirty) lacks=(scan) best=soft-dirty ;;
*) has=(scan soft-dirty) lacks=() best=scan ;;
esac

tracking() {
	python3 -c 'import json, sys
for line in open(sys.argv[1]):
    e = json.loads(line)
    if e["event"] == "freeze": print(e["tracking"])' "$dir/report"
}

start A "$work/writer" --mib "${WRITER_MIB:-128}" --rate "${WRITER_RATE:-20000}"
h=A
for t in auto "${has[@]}" none; do
	mode=pre-copy
	[ "$t" != none ] || mode=stop-copy
	move "$h" --mode=$mode --tracker="$t"
	h=$(other "$h")
	verify "$h"
	want=$t
	[ "$t" != auto ] || want=$best
	[ "$(tracking)" = "$want" ] || fail "--tracker=$t took $(tracking), not $want"
	note "  --tracker=$t: $(tracking), $(field rounds) rounds, downtime $(($(field downtime_us) / 1000)) ms"
	[ $mode = stop-copy ] || [ "$(field rounds)" -gt 0 ] || fail "no rounds with $t"
done
for t in "${lacks[@]}"; do
	rc=0
	"$lab" run "$h" "$haul" --tracker="$t" "$pid" "host$(other "$h")" >"$dir/out" 2>&1 || rc=$?
	[ $rc = 1 ] || fail "--tracker=$t: exit status $rc"
	grep -q "tracker $t cannot be used on this host" "$dir/out" || fail "--tracker=$t: $(cat "$dir/out")"
	grep -q -- "--tracker=auto would take $best" "$dir/out" || fail "no remedy: $(cat "$dir/out")"
	verify "$h"
	note "  --tracker=$t: $(tail -2 "$dir/out" | xargs)"
done
stop "$h"
