#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-policy - policies on real moves: limits are kept, giving up leaves it where it is, watching
# leaves no trace. bench/predict.sh compares predicted with measured downtime.
. "$(dirname "$0")/lib.sh"
lab_up

# holds EXPRESSION: of python
holds() { python3 -c "import sys; sys.exit(not ($1))" || fail "$2: $1"; }

note "bandwidth-limit-mbit"
start A "$work/writer" --mib 64 --rate 1 --compress 0
move A --bandwidth-limit-mbit=200
verify B
seconds=$(python3 -c "print($(field wire_bytes) * 8 / 200e6)")
total=$(python3 -c "print($(field total_us) / 1e6)")
holds "0.85 * $seconds < $total" "64 MiB at 200 Mbit/s"
holds "$(field rounds) == 1" "an idle one takes one round"
note "  $(field wire_bytes) bytes in $total s"

# two files of 8 MiB, one in a tree and one that the program has open
note "bandwidth-limit-mbit, files"
stop B
for h in A B; do
	mkdir "$dir/disk.$h"
	"$lab" run $h mount --bind "$dir/disk.$h" /srv
	"$lab" run $h sh -c 'echo "fs-allow = /srv" >>/etc/haul/haul.conf'
done
mkdir "$dir/disk.A/tree"
head -c 8M /dev/urandom >"$dir/disk.A/tree/big"
head -c 8M /dev/urandom >"$dir/disk.A/one"
printf '#!/bin/sh\nexec 9</srv/one; exec "%s/writer" "$@"\n' "$work" >"$dir/opener"
chmod +x "$dir/opener"
start A "$dir/opener" --mib 1 --rate 1
move A --bandwidth-limit-mbit=40 --fs=/srv/tree --files=ship-missing
verify B
cmp "$dir/disk.A/one" "$dir/disk.B/one" && cmp "$dir/disk.A/tree/big" "$dir/disk.B/tree/big" || fail "files differ"
holds "$(field total_us) > 3.0e6" "16 MiB of files at 40 Mbit/s take 3.4 s"
holds "$(field downtime_us) < $(field total_us) / 2" "the stop does not pay for files"
note "  total $(($(field total_us) / 1000)) ms, downtime $(($(field downtime_us) / 1000)) ms"
stop B
start A "$work/writer" --mib 256 --rate 1 --compress 0
move A
verify B

# what a move takes without any memory, a third of a second, is not limited
note "cpu-limit-percent"
t0=$(date +%s%N)
cpu=$(bash -c "exec 2>&1; TIMEFORMAT='%U %S'; time '$lab' run B '$haul' --quiet --cpu-limit-percent=20 $pid hostA" | tail -1)
t1=$(date +%s%N)
verify A
share=$(python3 -c "u, s = map(float, '$cpu'.split()); print((u + s) / (($t1 - $t0) / 1e9))")
note "  $share of a CPU"
holds "$share < 0.35" "20 % of a CPU"
stop A

# 200 ms carry 600 pages: even on a busy machine it writes more in each round
note "giving up"
start A "$work/writer" --mib 64 --rate 0 --compress 0
"$lab" rate 100mbit
rc=0
"$lab" run A "$haul" --mode=pre-copy --downtime-max-ms=200 "$pid" hostB >"$dir/report" 2>"$dir/stderr" || rc=$?
[ $rc = 1 ] || fail "exit status $rc: $(cat "$dir/stderr")"
grep -q 'given up: .*downtime-max-ms' "$dir/stderr" || fail "expected 'given up: ... downtime-max-ms' in: $(cat "$dir/stderr")"
verify A
if "$lab" run B test -e "/proc/$pid"; then fail "it is on B, too"; fi
stop A

# the last moment at which it can be undone: the commit is on record, COMMIT is not said
note "a stop that lasts longer than was expected"
start A "$work/writer" --mib 8 --rate 500 --compress 0
"$lab" rate off
fault=$dir/late
(
	until_true 60 '[ -s "$fault" ]' || fail "s-commit-recorded was not reached"
	works 2
	rm -f "$fault"
) &
spoiler=$!
rc=0
"$lab" run A env HAUL_FAULT=s-commit-recorded:hold HAUL_FAULT_FILE="$fault" \
	"$haul" --mode=pre-copy --downtime-max-ms=1500 "$pid" hostB >"$dir/report" 2>"$dir/stderr" || rc=$?
wait $spoiler
[ $rc = 1 ] || fail "exit status $rc: $(cat "$dir/stderr")"
grep -q 'longer than downtime-max-ms, 1500 ms' "$dir/stderr" || fail "expected 'longer than downtime-max-ms' in: $(cat "$dir/stderr")"
verify A
if "$lab" run B test -e "/proc/$pid"; then fail "it is on B, too"; fi
stop A

# nothing is measured before the stop then: the operator's word holds all the same
note "without a tracker"
start A "$work/writer" --mib 256 --rate 0 --compress 0
"$lab" rate 500mbit
rc=0
"$lab" run A "$haul" --tracker=none --downtime-max-ms=200 --degraded-max-s=1 "$pid" hostB >"$dir/report" 2>"$dir/stderr" || rc=$?
[ $rc = 1 ] || fail "exit status $rc: $(cat "$dir/stderr")"
grep -q 'given up: .*downtime-max-ms' "$dir/stderr" || fail "expected 'given up: ... downtime-max-ms' in: $(cat "$dir/stderr")"
verify A
move A --tracker=none --downtime-max-ms=3000
verify B
holds "$(field remote_pages) > 60000" "post-copy without a tracker"
stop B

# without the deadline rounds continue for as long as a round brings anything: about 9 s
note "a deadline"
start A "$work/writer" --mib 256 --rate 9000 --compress 0
move A --mode=pre-copy --total-weight-percent=0 --deadline-s=8
verify B
grep -q '"why":"[^"]*deadline' "$dir/report" || fail "expected rounds that end for the deadline in: $(cat "$dir/report")"
note "  $(field rounds) rounds, downtime $(($(field downtime_us) / 1000)) ms, total $(($(field total_us) / 1000)) ms"

note "watching"
"$lab" rate off
"$lab" run B "$haul" watch --seconds=4 --sample-ms=100 --record="$dir/trace" "$pid" >"$dir/watch"
grep -q 'MiB/s written' "$dir/watch" || fail "expected 'MiB/s written' in: $(cat "$dir/watch")"
[ "$(grep -c '^[0-9]' "$dir/trace")" -ge 30 ] || fail "trace of $(wc -l <"$dir/trace") lines"
"$lab" run B grep -q 'VmFlags:.* uw' "/proc/$pid/smaps" && fail "watching left mappings registered"
"$lab" run B grep -q '^TracerPid:	0$' "/proc/$pid/status" || fail "watching left it traced"
"$lab" run B grep -q '^State:	[RSD]' "/proc/$pid/status" || fail "watching left it stopped"
verify B
"$haul" policy simulate --trace="$dir/trace" --bandwidth=500 >"$dir/sim"
grep -q '^default' "$dir/sim" || fail "expected 'default' in: $(cat "$dir/sim")"
cat "$dir/sim"
stop B

note "watching shared memory, which is sent in rounds, too"
start A "$work/writer" --mib 64 --shared-mib 32 --rate 500
"$lab" run A "$haul" watch --seconds=2 --bandwidth=300 "$pid" >"$dir/watch"
ms=$(awk '$1 == "default" { print $5 }' "$dir/watch")
holds "${ms:-9999} < 700" "32 MiB at 300 Mbit/s would take longer"
verify A
stop A
