#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-ten-times - there and back again, ten times, in changing modes.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/writer" --mib "${WRITER_MIB:-64}" --rate "${WRITER_RATE:-20000}"
modes=(auto hybrid pre-copy post-copy stop-copy)
for i in $(seq 0 19); do
	from=$([ $((i % 2)) = 0 ] && echo A || echo B)
	move "$from" --mode="${modes[$((i % 5))]}"
	verify "$(other "$from")"
done
note "  20 moves"
stop A
