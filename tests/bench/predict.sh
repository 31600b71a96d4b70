#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# predict.sh - ten moves as haul decides, with and without a switch-over: the downtime that it
# predicted when it decided, and the one that it was. Wants a quiet machine; two minutes.
. "$(dirname "$0")/../lib.sh"
lab_up
"$lab" rate 800mbit

predicted_us() {
	python3 -c 'import json, sys
print([e["predicted_downtime_us"] for e in map(json.loads, open(sys.argv[1])) if e.get("event") == "round"][-1])' "$dir/report"
}

good=0 runs=0
for args in "--mib 64 --rate 500" "--mib 192 --rate 3000" "--mib 192 --rate 12000" "--mib 192 --rate 40000" \
	"--mib 512 --rate 2000" "--mib 512 --rate 10000" "--mib 512 --rate 50000" "--mib 1024 --rate 1000" \
	"--mib 1024 --rate 8000" "--mib 1024 --rate 30000"; do
	# shellcheck disable=SC2086	# words
	start A "$work/writer" $args --compress 0
	sleep 1
	move A --mode=auto
	verify B
	stop B
	p=$(predicted_us) d=$(field downtime_us)
	ok=$(python3 -c "print(int(abs($p - $d) <= 0.3 * $d))")
	note "$args: predicted $((p / 1000)) ms, was $((d / 1000)) ms, $(field remote_pages) pages in post-copy"
	good=$((good + ok)) runs=$((runs + 1))
done
note "within 30 %: $good of $runs"
