#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-writer - a writer that stamps pages at random, there and back in every mode.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/writer" --mib "${WRITER_MIB:-128}" --rate "${WRITER_RATE:-20000}"
in_every_mode
stop "$where"
