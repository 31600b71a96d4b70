#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-python - CPython with threads.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$top/tests/work/pythreads.py"
in_every_mode
stop "$where"
