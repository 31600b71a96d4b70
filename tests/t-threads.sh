#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-threads - 8 threads that write.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/threads"
in_every_mode
stop "$where"
