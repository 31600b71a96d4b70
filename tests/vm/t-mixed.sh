#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-mixed - an older host A and a newer host B. A program with libraries is refused, and what
# differs is named; one that needs nothing of its host goes to the newer Debian in every mode,
# and is refused on the way back because of the older CRIU. The refused one runs on each time.
. "$(dirname "$0")/../lib.sh"
lab_up
# The same file on both hosts: in the folder that both see.
cc -std=c17 -D_GNU_SOURCE -O1 -static -pthread -I"$top" -o "$dir/writer-static" \
	"$top"/tests/work/{writer,work,report,pace,area,crew}.c

# refused FROM PATTERN: by what the destination says
refused() {
	local rc=0
	"$lab" run "$1" "$haul" "$pid" "host$(other "$1")" >"$dir/out" 2>&1 || rc=$?
	[ $rc = 1 ] || [ $rc = 3 ] || fail "from $1: exit status $rc: $(cat "$dir/out")"
	grep -q "$2" "$dir/out" || fail "from $1: no '$2' in: $(cat "$dir/out")"
	verify "$1"
	note "  refused from $1: $(grep -m1 "$2" "$dir/out")"
}

start A "$work/writer" --mib 8 --rate 500
refused A 'libc.*at the destination'
stop A

for m in stop-copy pre-copy post-copy hybrid auto; do
	start A "$dir/writer-static" --mib "${WRITER_MIB:-32}" --rate "${WRITER_RATE:-5000}"
	move A --mode=$m
	verify B
	note "  $m from A to B: downtime $(($(field downtime_us) / 1000)) ms, total $(($(field total_us) / 1000)) ms"
	[ $m = auto ] || stop B
done
refused B 'is older than'
stop B
