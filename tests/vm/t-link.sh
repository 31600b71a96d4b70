#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-link - over a link with delay and loss: a writer goes there and back, every page.
. "$(dirname "$0")/../lib.sh"
lab_up
start A "$work/writer" --mib 16 --rate 500
"$lab" link delay 15ms loss 0.5% rate 100mbit
h=A
for m in auto post-copy; do
	move "$h" --mode=$m
	h=$(other "$h")
	verify "$h"
	note "  $m to $h: downtime $(($(field downtime_us) / 1000)) ms, total $(($(field total_us) / 1000)) ms, round trip $(field rtt_us) us"
done
"$lab" link off
stop "$h"
