#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-criu-old - CRIU 4.1.1, whose page stream has the older headers, on both hosts: a
# program without sockets goes there and back in every mode.
. "$(dirname "$0")/lib.sh"
old=
for c in /var/lib/haul/criu/*/criu; do
	case $("$c" --version 2>/dev/null | head -1) in
	*" 3."* | *" 4.0"* | *" 4.1"*) old=$c; break ;;
	esac
done
[ -n "$old" ] || skip "no CRIU older than 4.2 under /var/lib/haul/criu (contrib/find-criu unpacks Debian 13's)"
note "  $("$old" --version | head -1)"
lab_up
for h in A B; do
	"$lab" run "$h" pkill -x hauld || true
	until_true 60 '! "$lab" run "$h" pgrep -x hauld >/dev/null' || fail "hauld on $h does not end"
	start_hauld "$h" --criu "$old"
done
start A "$work/writer" --mib 64 --rate 10000
in_every_mode --criu "$old"
stop "$where"
start A "$work/shared"
move A --criu "$old"
verify B
stop B
