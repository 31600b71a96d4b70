#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-churn - forks, maps, unmaps, moves and discards all the time.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/churn"
in_every_mode
stop "$where"
