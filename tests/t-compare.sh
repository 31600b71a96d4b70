#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-compare - a process with every kind of mapping: what CRIU alone would send of it frozen, and
# what haul brings when it answers CRIU's page scans, are the same pages; and they arrive.
. "$(dirname "$0")/lib.sh"
lab_up
criu=${HAUL_CRIU:-$(head -1 /var/lib/haul/criu/chosen)}
kinds=$builddir/tests/kinds
left_out() { note "  LEFT OUT: $*"; }

# huge pages by name need a pool; the machine gets it back
pool=/proc/sys/vm/nr_hugepages
exec 9>/run/haul-test-hugepages # no other run of this test may give it back meanwhile
flock 9
had=$(cat $pool)
[ "$had" -ge 4 ] || { echo 4 >$pool; trap 'echo "$had" >$pool; lab_down' EXIT; }

compare() {
	"$lab" run A timeout 120 "$builddir/tests/compare" "$criu" "$@"
	! grep 'left out' "$dir/kinds.log" || note "  (not on this host)"
}
compare "$kinds" "$dir"
if ${CC:-cc} -D_GNU_SOURCE -O1 -fsanitize=address -pthread -o "$dir/kinds-asan" "$top/tests/kinds.c" 2>"$dir/cc.log"; then
	note "built with ASan:"
	compare "$dir/kinds-asan" "$dir"
else
	left_out "a program built with ASan ($(head -1 "$dir/cc.log"))"
fi
note "System V shared memory has to be refused, the process has to go on:"
compare "$kinds" "$dir" sysv

# the same process hauled while it is stopped; its memory there, page by page
wait_stopped() {
	until_true 60 '"$lab" run "$1" grep -q "^State:.T" "/proc/$pid/status"' "$@" || fail "the process did not stop on $1"
}
arrives() {
	pid=$("$lab" spawn A "kinds.$2" "$1" "$dir/kinds.data")
	wait_stopped A
	"$lab" run A kill -CONT "$pid"
	"$lab" run A kill -USR1 "$pid"
	wait_stopped A
	"$lab" run A "$builddir/tests/pagesum" write "$pid" "$dir/sums"
	move A --mode="$2"
	"$lab" run B "$builddir/tests/pagesum" check "$pid" "$dir/sums" || fail "memory at B differs ($2)"
	note "  $2: downtime $(($(field downtime_us) / 1000)) ms"
	"$lab" run B kill -9 "$pid"
}
for m in stop-copy pre-copy post-copy; do
	arrives "$kinds" $m
done
