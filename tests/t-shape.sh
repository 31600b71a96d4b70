#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-shape - a tree with 30,000 mappings of a page each and 20,000 open files in two processes goes there and back: every page,
# every mapping's rights, every file and its position. No time is asserted: tests/bench/shape.py measures.
. "$(dirname "$0")/lib.sh"
mappings=30000 files=20000
[ "$(cat /proc/sys/vm/max_map_count)" -gt $((mappings + 2000)) ] || skip "vm.max_map_count is $(cat /proc/sys/vm/max_map_count)"
[ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -gt $((files / 2 + 2000)) ] || skip "the hard limit of open files is $(ulimit -Hn)"
lab_up
start A "$work/shape" --mappings $mappings --children 1 --files $((files / 2))
note "  $mappings mappings, $files files"
MODES="pre-copy post-copy" in_every_mode --freeze-limit-ms=600000
stop "$where"
