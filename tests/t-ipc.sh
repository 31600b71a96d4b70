#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-ipc - an IPC namespace goes along: System V shared memory, semaphores, a queue; and 8 TiB
# that are reserved and empty cost nothing. In the host's namespace they are blockers.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/ipc.py"
"$lab" run A "$haul" check "$pid" hostB | grep -q 'ipc-moves' || fail "check does not say that the namespace moves"
in_every_mode
stop "$where"
