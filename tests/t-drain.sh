#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-drain - contrib/haul-drain empties a host by the API alone, and the commands of docs/SCHEDULERS.md
# that are said to work do.
. "$(dirname "$0")/lib.sh"
. "$top/tests/page/lab.sh"
api_options=("migrations-max = 2")
api_prepare() { "$lab" run "$1" sh -c "mkdir -p /etc/haul/policies && cp $top/policies/*.json /etc/haul/policies/"; }
api_up
drain=$top/contrib/haul-drain
in_a() { "$lab" run A "$@"; }
all=()
for mib in 16 24 32; do
	start A "$work/writer" --mib $mib --rate 500
	all+=("$pid:$wdir")
done
start A "$work/tree" --mib 8 2>/dev/null || start A "$work/writer" --mib 8 --rate 100
in_a "$drain" --comm writer --dry-run hostB >"$dir/out" || fail "dry run: $(cat "$dir/out")"
[ "$(grep -c 'would go to hostb' "$dir/out")" -ge 3 ] || fail "dry run: $(cat "$dir/out")"
for p in "${all[@]}"; do in_a test -e "/proc/${p%%:*}" || fail "a dry run moves"; done
in_a "$drain" --comm writer --comm tree hostB >"$dir/out" || fail "drain: $(cat "$dir/out")"
sed 's/^/  /' "$dir/out"
for p in "${all[@]}"; do
	pid=${p%%:*} wdir=${p#*:} verified=0
	gone A
	verify B
done
in_a "$drain" --comm writer hostB >"$dir/out" || fail "nothing left to do: $(cat "$dir/out")"
[ ! -s "$dir/out" ] || fail "nothing was left: $(cat "$dir/out")"

# a spot notice on B, by TLS from A: the token of an operator, a deadline
printf %s "$operator" >"$dir/token"
"$lab" run B "$haul" trust -y hostA >/dev/null
in_a "$drain" --agent https://hostB:8443 --token-file "$dir/token" --ca "$dir/cert.pem" --comm writer --within 60 hostA >"$dir/out" ||
	fail "by TLS: $(cat "$dir/out")"
sed 's/^/  /' "$dir/out"
for p in "${all[@]}"; do
	pid=${p%%:*} wdir=${p#*:} verified=1
	verify A
done

# what stays says why, and the status is 1
pid=$(in_a sh -c 'setsid python3 -c "import os, time; os.pipe2(os.O_DIRECT); time.sleep(1000)" </dev/null >/dev/null 2>&1 & echo $!')
until_true 60 'in_a ls -l "/proc/$pid/fd" | grep -q pipe:' || fail "the process with a pipe of packets does not begin"
rc=0
in_a "$drain" --pid "$pid" hostC hostB >"$dir/out" || rc=$?
[ $rc = 1 ] && grep -q "($pid) *stays: here: " "$dir/out" || fail "a process that cannot move: $rc $(cat "$dir/out")"
rc=0
in_a "$drain" --comm writer hostC >"$dir/out" || rc=$?
[ $rc = 1 ] && grep -q 'hostC: its key is not known here' "$dir/out" || fail "an unknown host: $rc $(cat "$dir/out")"
