#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# predict.sh - moves of private and shared memory, with and without a switch-over, on two links: haul decides as it
# should, and the downtime that it predicted is the one that it was, within 30 % in nine of ten moves. Wants a quiet
# machine; four minutes.
. "$(dirname "$0")/../lib.sh"
lab_up

# event NAME FIELD: of the last such event of the report
event() {
	python3 -c 'import json, sys
v = ""
for line in open(sys.argv[1]):
    e = json.loads(line)
    if e.get("event") == sys.argv[2]: v = e.get(sys.argv[3], v)
print(v)' "$dir/report" "$1" "$2"
}
note "predicted and measured downtime"
# predict RATE PROGRAM ARGS: moves it; $p and $d are the predicted and the real stop, $was the verdict
predict() {
	"$lab" rate "$1"
	# shellcheck disable=SC2086	# words
	start A "$work/"$2
	# shellcheck disable=SC2086
	move A $3
	verify B
	stop B
	p=$(event round predicted_downtime_us) d=$(field downtime_us) was=$(event round verdict)
	note "  $1, $2, $3: $was, predicted $((p / 1000)) ms, measured $((d / 1000)) ms"
}
good=0 runs=0
while IFS='|' read -r rate verdict program args; do
	predict "$rate" "$program" "$args" </dev/null
	[ "$was" = "${verdict:-$was}" ] || fail "verdict $was, not $verdict"
	ok=$(python3 -c "print(int(abs($p - $d) <= 0.3 * $d))")
	good=$((good + ok)) runs=$((runs + 1))
done <<'END_OF_CASES'
800mbit|finish|writer --mib 192 --compress 0 --rate 3000|--mode=pre-copy --max-rounds=1
800mbit|finish|writer --mib 192 --compress 0 --rate 20000|--mode=pre-copy --max-rounds=1
800mbit|finish|writer --mib 192 --compress 0 --rate 20000|--mode=pre-copy --max-rounds=2
800mbit|finish|writer --mib 192 --compress 0 --rate 40000|--mode=pre-copy --max-rounds=1
800mbit|finish|writer --mib 192 --compress 0 --rate 40000|--mode=pre-copy --max-rounds=3
800mbit|finish|writer --mib 192 --compress 0 --rate 0|--mode=pre-copy --max-rounds=2
800mbit|finish|writer --mib 192 --compress 0 --rate 12000|--mode=pre-copy --max-rounds=3
800mbit|finish|writer --mib 96 --shared-mib 64 --compress 0 --rate 500|--mode=auto
300mbit|switch|writer --mib 64 --shared-mib 32 --compress 0 --rate 500|--mode=hybrid
800mbit|switch|writer --mib 192 --shared-mib 96 --compress 0 --rate 0|--mode=auto
800mbit||writer --compress 0 --mib 64 --rate 500|--mode=auto
800mbit||writer --compress 0 --mib 192 --rate 3000|--mode=auto
800mbit||writer --compress 0 --mib 192 --rate 12000|--mode=auto
800mbit||writer --compress 0 --mib 192 --rate 40000|--mode=auto
800mbit||writer --compress 0 --mib 512 --rate 2000|--mode=auto
800mbit||writer --compress 0 --mib 512 --rate 10000|--mode=auto
800mbit||writer --compress 0 --mib 512 --rate 50000|--mode=auto
800mbit||writer --compress 0 --mib 1024 --rate 1000|--mode=auto
800mbit||writer --compress 0 --mib 1024 --rate 8000|--mode=auto
800mbit||writer --compress 0 --mib 1024 --rate 30000|--mode=auto
300mbit||writer --compress 0 --mib 192 --rate 3000|--mode=auto
300mbit||writer --compress 0 --mib 128 --shared-mib 64 --rate 500|--mode=auto
800mbit||writer --compress 0 --mib 512 --shared-mib 128 --rate 50000|--mode=auto
END_OF_CASES
note "  within 30 %: $good of $runs"
[ -n "${HAUL_SANITIZED:-}" ] || [ "$good" -ge $((runs * 9 / 10)) ] || fail "predictions: $good of $runs"

# a stop of some 25 ms, of which a busy machine makes twice as much: not counted
predict 800mbit "writer --mib 192 --compress 0 --rate 0" --mode=auto
[ "$was" = switch ] || fail "verdict $was, not switch"
