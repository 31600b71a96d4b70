#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-shared - shared memory and memfd, written by two processes.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/shared"
in_every_mode
stop "$where"
