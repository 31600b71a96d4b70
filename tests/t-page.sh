#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-page - the page of hauld, used by a person in headless Chromium: signs in, checks, moves a real
# process and watches it arrive, cancels another. Pictures: $HAUL_SHOTS (tests/page/shots).
. "$(dirname "$0")/lib.sh"
. "$top/tests/page/lab.sh"
export CHROMIUM=${CHROMIUM:-chromium}
command -v "$CHROMIUM" >/dev/null || fail "no chromium: apt-get install chromium"
shots=${HAUL_SHOTS:-$builddir/tests/page/shots}
api_options=()
api_up
start A "$work/writer" --mib 64 --rate 500
second=$pid second_dir=$wdir
start A "$work/writer" --mib 96 --rate 1500
"$lab" rate 60mbit
"$lab" run A python3 "$top/tests/page/browser.py" https://hostA:8443 "$operator" writer "$pid" hostB "$shots" "$second" ||
	{ "$lab" run A sh -c "cat /var/lib/haul/migrations/*/events.jsonl" | tail -30 >&2; fail "the page: see $shots"; }
gone A
verify B
stop B
pid=$second wdir=$second_dir verified=0
verify A
stop A
