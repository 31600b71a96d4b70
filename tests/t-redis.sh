#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-redis - redis-server under load from its own host: every acknowledged key is on the other.
. "$(dirname "$0")/lib.sh"
command -v redis-server >/dev/null || skip "redis-server is not installed"
lab_up

mkdir "$dir/data"
chmod 777 "$dir/data"
acked_keys redis-load.py 6379 redis-server --port 6379 --save '' --appendonly no --dir "$dir/data" --protected-mode no
