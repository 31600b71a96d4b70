#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tree - a ring of processes with pipes and socket pairs.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/tree"
in_every_mode
stop "$where"
