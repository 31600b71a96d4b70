#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# predict.sh - moves as haul decides, of private and shared memory, with and without a switch-over, on
# two links: the downtime that it predicted when it decided, and the one that it was. Wants a quiet
# machine; three minutes.
. "$(dirname "$0")/../lib.sh"
lab_up

predicted_us() {
	python3 -c 'import json, sys
print([e["predicted_downtime_us"] for e in map(json.loads, open(sys.argv[1])) if e.get("event") == "round"][-1])' "$dir/report"
}

good=0 runs=0
while read -r -u 3 rate args; do
	"$lab" rate "$rate"
	# shellcheck disable=SC2086	# words
	start A "$work/"$args
	sleep 1
	move A --mode=auto
	verify B
	stop B
	p=$(predicted_us) d=$(field downtime_us)
	ok=$(python3 -c "print(int(abs($p - $d) <= 0.3 * $d))")
	note "$rate $args: predicted $((p / 1000)) ms, was $((d / 1000)) ms, $(field remote_pages) pages in post-copy"
	good=$((good + ok)) runs=$((runs + 1))
done 3<<'END_OF_CASES'
800mbit writer --compress 0 --mib 64 --rate 500
800mbit writer --compress 0 --mib 192 --rate 3000
800mbit writer --compress 0 --mib 192 --rate 12000
800mbit writer --compress 0 --mib 192 --rate 40000
800mbit writer --compress 0 --mib 512 --rate 2000
800mbit writer --compress 0 --mib 512 --rate 10000
800mbit writer --compress 0 --mib 512 --rate 50000
800mbit writer --compress 0 --mib 1024 --rate 1000
800mbit writer --compress 0 --mib 1024 --rate 8000
800mbit writer --compress 0 --mib 1024 --rate 30000
300mbit writer --compress 0 --mib 192 --rate 3000
300mbit writer --compress 0 --mib 128 --shared-mib 64 --rate 500
800mbit writer --compress 0 --mib 512 --shared-mib 128 --rate 50000
END_OF_CASES
note "within 30 %: $good of $runs"
