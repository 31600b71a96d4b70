#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-soak - six times there and back, and nothing has grown; make check-soak: 300 times.
[ "$(id -u)" = 0 ] || { echo "SKIP: needs root"; exit 77; }
exec "$(dirname "$0")/soak.py" --rounds 6 --every 2 --redis-every 0
