#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tcp-stuck - a CRIU that hangs when the move is given up is killed while the sockets of the program are in repair
# mode: the program does not run before they are out of it, and clients do not notice.
. "$(dirname "$0")/lib-tcp.sh"
net_up
serve "$addr"
watch 7000
client put put "$addr" --mib 60 --mbyte-s 5
client echo echo "$addr" --clients 300 --depth 4 --seconds 3600
works 1
"$lab" run A env HAUL_FAULT=s-dumped:hold HAUL_FAULT_FILE="$dir/held" "$haul" --json --move-address="$addr" --move-address="$addr6" "$pid" hostB >"$dir/report" 2>&1 &
job=$!
until_true 60 '[ -s "$dir/held" ]' || fail "not dumped: $(cat "$dir/report")"
"$lab" run A pkill -STOP -P "$(cat "$dir/held")" criu || fail "no CRIU"
touch "$dir/held.over"
"$lab" run A kill -INT "$(cat "$dir/held")"
rm "$dir/held"
wait $job && fail "it was interrupted: $(cat "$dir/report")"
no_traces A
grep -q "does not end: killed" "$dir/report" || fail "CRIU was not killed: $(cat "$dir/report")"
works 0.5
note "  undone"
move A --move-address="$addr" --move-address="$addr6"
touch "$wdir/enough"
clients_ok
watch_ok 7000
stop B
