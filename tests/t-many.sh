#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-many - a tree of 600 processes moves, by haul and hauld whose soft limit of open files is 256;
# with a hard limit that is too low it is named before anything moves.
. "$(dirname "$0")/lib.sh"
[ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -ge 4096 ] || { echo "SKIP: the hard limit of open files is $(ulimit -Hn)"; exit 77; }
ulimit -Sn 256
lab_up
start A "$top/tests/work/many.py" --children 599
# 600 processes cost a busy machine two minutes
move A --mode=post-copy --freeze-limit-ms=600000
verify B
note "  $(field tasks) processes, downtime $(($(field downtime_us) / 1000)) ms, total $(($(field total_us) / 1000)) ms"
[ "$(field tasks)" = 600 ] || fail "$(field tasks) processes"
rc=0
"$lab" run B bash -c "ulimit -n 256; exec '$haul' '$pid' hostA" >"$dir/report" 2>&1 || rc=$?
[ $rc = 3 ] && grep -q 'open files for 600 processes' "$dir/report" || fail "exit status $rc: $(cat "$dir/report")"
verify B
"$lab" run B pkill -9 -f many.py || true
