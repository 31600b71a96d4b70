#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-maps - sparse, huge, locked, private file, shared, memfd, SysV mappings.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/maps"
in_every_mode
stop "$where"
