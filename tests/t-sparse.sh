#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-sparse - a sparse reservation of 64 GiB with pages, runs and huge pages in it.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/sparse"
in_every_mode
stop "$where"
