#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-memcached - memcached under load from its own host: every acknowledged key is on the other.
. "$(dirname "$0")/lib.sh"
command -v memcached >/dev/null || skip "memcached is not installed"
lab_up

acked_keys memcached-load.py 11311 memcached -u root -p 11311 -U 0 -l 0.0.0.0 -m 256
