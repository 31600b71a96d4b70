#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-huge - memory in huge pages is in huge pages again at the destination, and right.
. "$(dirname "$0")/lib.sh"
grep -q '\[never\]' /sys/kernel/mm/transparent_hugepage/enabled && skip "this kernel gives no transparent huge pages"
lab_up
huge_kib() {
	"$lab" run "$1" awk '/^AnonHugePages:/ { n += $2 } END { print n + 0 }' "/proc/$pid/smaps"
}
start A "$work/writer" --mib 256 --rate 100 --thp 1
had=$(huge_kib A)
[ "$had" -ge 200000 ] || skip "the kernel has no huge pages to give: $had KiB of 262144"
for m in pre-copy post-copy; do
	move "${where:-A}" --mode=$m
	where=$(other "${where:-A}")
	until_true 60 'has=$(huge_kib "$where"); [ "$has" -ge $((had * 9 / 10)) ]' || true
	note "  $m to $where: $had KiB in huge pages before, $has KiB after"
	[ "$has" -ge $((had * 9 / 10)) ] || fail "huge pages were lost"
	verify "$where"
done
stop "$where"
