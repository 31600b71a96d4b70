#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-shared-rounds - shared memory is sent in rounds: eight processes write one object at random through
# different addresses, by mappings and by calls, by mappings and processes that come and go; they make
# holes, and the object smaller and larger. Every byte is right in every mode, there and back.
. "$(dirname "$0")/lib.sh"
lab_up
note "an anonymous object of 32 MiB, eight writers"
start A "$work/objects" --mib 32 --procs 8 --rate 500 --holes --passing --forks
in_every_mode
stop "$where"
note "a memory file that is written by calls, too"
start A "$work/objects" --mib 16 --kind memfd --rate 1000 --calls --holes --passing --forks --sizes
in_every_mode
stop "$where"
note "a System V segment in an IPC namespace of its own"
printf '#!/bin/sh\nexec unshare --ipc "%s" "$@"\n' "$work/objects" >"$dir/own-ipc"
chmod 755 "$dir/own-ipc"
start A "$dir/own-ipc" --mib 16 --kind sysv --rate 500 --holes --passing
MODES="pre-copy post-copy" in_every_mode
stop "$where"
note "what does not change is sent once, and before the stop"
start A "$work/objects" --mib 64 --rate 20
move A --mode=pre-copy
verify B
[ "$(field final_pages)" -lt 4000 ] || fail "$(field final_pages) pages of 16384 were sent in the stop"
[ "$(field rounds)" -gt 0 ] || fail "no rounds"
[ "$(field eager_pages)" -gt 15000 ] || fail "not all of it counts as shared"
[ "$(field data_pages)" -lt 25000 ] || fail "$(field data_pages) pages were sent of 16384"
# control, object, and what it should hold
grep -q 'shared memory that CRIU takes as they are: 3' "$dir/hauld.B.log" || fail "CRIU has read images of shared memory"
[ "$("$lab" run B grep -c 'rw-s.*/memfd:/dev/zero (deleted)' "/proc/$pid/maps")" -ge 3 ] ||
	fail "the shared memory has another name"
note "in post-copy, too, it goes in rounds before the stop"
move B --mode=post-copy
verify A
[ "$(field rounds)" -gt 0 ] || fail "no rounds"
[ "$(field final_pages)" -lt 4000 ] || fail "$(field final_pages) pages of 16384 were sent in the stop"
stop A
