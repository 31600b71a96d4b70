#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-shape - a tree with 30,000 mappings of a page each and 20,000 open files in two processes goes there and back: every page,
# every mapping's rights, every file and its position. What the stops have cost is kept. No time is asserted: tests/bench/shape.py measures.
. "$(dirname "$0")/lib.sh"
mappings=30000 files=20000
[ "$(cat /proc/sys/vm/max_map_count)" -gt $((mappings + 2000)) ] || skip "vm.max_map_count is $(cat /proc/sys/vm/max_map_count)"
[ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -gt $((files / 2 + 2000)) ] || skip "the hard limit of open files is $(ulimit -Hn)"
lab_up
start A "$work/shape" --mappings $mappings --children 1 --files $((files / 2))
# files that others could swap are opened by hauld, which needs a descriptor for each
chmod 755 "$wdir"
note "  $mappings mappings, $files files"
MODES="pre-copy post-copy" in_every_mode --freeze-limit-ms=600000
stop "$where"

note "what stops have cost is kept, for each destination, and a file that makes no sense does no harm"
costs() { "$lab" run "$1" cat "/var/lib/haul/costs/$2" | cut -d' ' -f1 | tr '\n' ' '; }
all="base process thread connection mapping file-mapping descriptor wait "
[ "$(costs A hostB)" = "$all" ] || fail "costs of moves to hostB: $(costs A hostB)"
[ "$(costs B @all)" = "$all" ] || fail "costs of all moves from B: $(costs B @all)"
start A "$work/shape"
expected() { "$lab" run A "$haul" check "$pid" hostB 2>&1 | grep -o 'stop is expected to take about [0-9]* ms'; }
"$lab" run A sh -c 'echo base 500000 >/var/lib/haul/costs/hostB'
[ "$(expected | grep -o '[0-9]*')" -ge 500 ] || fail "a base of 500 ms is not expected: $(expected)"
"$lab" run A sh -c 'printf "base much\nno sense at all" >/var/lib/haul/costs/hostB'
[ "$(expected | grep -o '[0-9]*')" -lt 100 ] || fail "a file that makes no sense is believed: $(expected)"
stop A
