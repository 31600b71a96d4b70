#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-slow-link - at 1 Mbit/s, by a limit and by the link itself: a round that takes longer than any
# silence may last goes through, and the stop is not longer for what was sent before it.
. "$(dirname "$0")/lib.sh"
lab_up

# event NAME FIELD: of the last such event of the report
event() {
	python3 -c 'import json, sys
for line in open(sys.argv[1]):
    e = json.loads(line)
    if e.get("event") == sys.argv[2]: v = e.get(sys.argv[3], "")
print(v)' "$dir/report" "$1" "$2"
}

start A "$work/writer" --mib 9 --rate 1 --compress 0
move A --bandwidth-limit-mbit=1 --streams=4
verify B
total=$(field total_us) down=$(field downtime_us) predicted=$(event round predicted_downtime_us)
note "  a limit of 1 Mbit/s: total $((total / 1000)) ms, downtime $((down / 1000)) ms, predicted $((predicted / 1000)) ms"
[ "$total" -gt 65000000 ] || fail "9 MiB in $total us: is there a limit?"
[ "$down" -lt $((predicted + 500000)) ] || fail "stopped for $down us, predicted were $predicted us"

"$lab" rate 1mbit
move B
verify A
note "  a link of 1 Mbit/s: total $(($(field total_us) / 1000)) ms, downtime $(($(field downtime_us) / 1000)) ms"
stop A
