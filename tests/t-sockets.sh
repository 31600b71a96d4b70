#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-sockets - UDP, UNIX and loopback sockets whose other ends are in the tree, with data and descriptors
# waiting in them, half-closed ones, options, timers: all is there after each move, and after one undone.
. "$(dirname "$0")/lib-tcp.sh"
net_up
start A "$top/tests/work/sockets.py"
verify A
"$lab" run A "$haul" check --json --tcp=move "$pid" >"$dir/check" 2>&1 || true
! grep -q '"code": *"passed-files"' "$dir/check" || fail "check: a descriptor in a queue was not seen: $(cat "$dir/check")"
printf '#!/bin/sh\nexit 1\n' >"$dir/no"
chmod +x "$dir/no"
"$lab" run A "$haul" --json --tcp=move --hook=frozen="$dir/no" "$pid" hostB >"$dir/report" 2>&1 && fail "the hook said no"
grep -q 'says no' "$dir/report" || fail "not undone by the hook: $(tail -3 "$dir/report")"
verify A
note "  undone: all is there"
in_every_mode --tcp=move
stop "$where"

# what haul check says of each kind
"$lab" run A ip addr add 192.0.2.9/24 dev eth0
wdir=$dir/kinds
mkdir "$wdir"
pid=$("$lab" spawn A kinds python3 -c '
import socket, sys, time
keep = []
def tcp(family, addr):
    s = socket.socket(family); s.bind((addr, 0)); s.listen(4); c = socket.socket(family); c.connect(s.getsockname())
    keep.extend([s, c])  # nobody accepts it
tcp(socket.AF_INET, "127.0.0.1")
tcp(socket.AF_INET6, "::1")
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("192.0.2.9", 5353))
v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); v.connect(("192.0.2.9", 5353)); v.send(b"waits")
open(sys.argv[1], "w").close()
time.sleep(1000)' "$wdir/ready")
until_true 60 '[ -e "$wdir/ready" ]' || fail "the program is not ready"
"$lab" run A "$haul" check --json --tcp=move "$pid" >"$dir/check" 2>&1 || true
for code in backlog address-bound datagrams; do
	grep -q "\"code\": *\"$code\"" "$dir/check" || fail "check: no $code: $(cat "$dir/check")"
done
stop A
