#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-misc - locked and inaccessible pages, timers, eventfd, epoll, signals, files.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/misc"
in_every_mode
stop "$where"
