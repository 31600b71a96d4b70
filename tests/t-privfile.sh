#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-privfile - private mappings of a file with some pages written.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/privfile"
in_every_mode
stop "$where"
