#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tcp-each - each TCP connection of a program has a fate of its own: those of an address that moves, and those
# within the program move, the others are reset on both sides, at once; haul check has said so. An undo keeps all.
. "$(dirname "$0")/lib-tcp.sh"
net_up
own=$("$lab" addr A)
far=$("$lab" addr C)
each=$top/tests/work/tcpeach.py
peers=()

# peer NAME HOST ARG...: a process with connections of the program; $dir/NAME says how they end
peer() {
	local name=$1 h=$2
	shift 2
	"$lab" run "$h" python3 "$each" --dir "$dir" "$@" >"$dir/$name" 2>&1 </dev/null &
	peers+=($!)
}

says() { until_true 60 'grep -qE "$2" "$1"' "$1" "$2" || fail "${1##*/} does not say '$2': $(cat "$1")"; }
quiet() { ! grep -qE 'reset|end' "$1" || fail "${1##*/} noticed: $(cat "$1")"; }

# check STATUS OPTION... / told TEXT: what haul check says
check() {
	local want=$1 rc=0
	shift
	"$lab" run A "$haul" check --verbose "$@" "$pid" hostB >"$dir/check" 2>&1 || rc=$?
	[ $rc = "$want" ] || fail "check $*: status $rc: $(cat "$dir/check")"
}
told() { grep -qE "$1" "$dir/check" || fail "haul check does not say '$1': $(cat "$dir/check")"; }

# begin: the program on A, with two clients at C for each of its addresses, a server at C, one on A's loopback,
# and a connection within itself
begin() {
	rm -f "$dir/enough"
	peer far C serve "$far" 7100
	peer near A serve 127.0.0.1 7101
	says "$dir/far" ready
	says "$dir/near" ready
	start A "$each" program "$far:7100" 127.0.0.1:7101
	peer vip C connect "$addr"
	peer idle C connect "$addr" idle
	peer own C connect "$own"
	peer own-idle C connect "$own" idle
	says "$wdir/state" "incoming 4"
	says "$wdir/state" "made to 7101"
	says "$dir/own-idle" ready
}

# finish HOST
finish() {
	local p
	stop "$1"
	for p in "${peers[@]}"; do
		kill "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
	"$lab" run A pkill -f "$each" || true
	"$lab" run C pkill -f "$each" || true
	peers=()
}

# address_back: A has the address again, and C knows it
address_back() {
	"$lab" run B ip addr del "$addr/24" dev eth0
	"$lab" run A ip addr add "$addr/24" dev eth0
	"$lab" run C ip neigh flush to "$addr"
}

# others_reset: everybody but those of the address that moves
others_reset() {
	for f in far near own own-idle; do says "$dir/$f" reset; done
	for t in "to 7100: reset" "to 7101: reset" "at $own: reset"; do says "$wdir/state" "$t"; done
}

for mode in ${MODES:-auto post-copy}; do
	note "$mode: those of the address that moves, and those within the program"
	begin
	check 0 --move-address="$addr"
	told "TCP $addr port 7000 with .* moves, with its address"
	told "TCP 127.0.0.1 port [0-9]+ with 127.0.0.1 port [0-9]+ .*moves, with its other end"
	told "TCP $own port 7000 with .* will be closed"
	told "TCP .* with $far port 7100 will be closed"
	told "TCP 127.0.0.1 .* port 7101, pid [0-9]+ \(python3\) of this host, will be closed"
	told "clients have to connect again, to the destination"
	told "the program has to connect again; --move-address"
	told "the program has to connect again, to the python3 of the destination"
	printf '#!/bin/sh\nexit 1\n' >"$dir/no"
	chmod +x "$dir/no"
	"$lab" run A "$haul" --json --move-address="$addr" --hook=frozen="$dir/no" "$pid" hostB >"$dir/report" 2>&1 && fail "the hook said no"
	works 0.5
	for f in far near own own-idle vip idle; do quiet "$dir/$f"; done
	quiet "$wdir/state"
	verify A
	note "  undone: nobody has noticed"
	move A --mode="$mode" --move-address="$addr"
	others_reset
	verify B
	move B --mode="$mode" --move-address="$addr"
	verify A
	quiet "$dir/idle"
	touch "$dir/enough"
	says "$dir/vip" fine
	finish A
done

note "haul dies when it has handed over: the recovery resets the others"
begin
"$lab" run A env HAUL_FAULT=s-commit-sent:kill "$haul" --json --move-address="$addr" "$pid" hostB >"$dir/report" 2>&1 && fail "haul was not killed"
"$lab" run A "$haul" recover >"$dir/recover" 2>&1 || fail "recover: $(cat "$dir/recover")"
others_reset
verify B
quiet "$dir/idle"
touch "$dir/enough"
says "$dir/vip" fine
finish B
address_back

note "--tcp=close: peers of the address that moves are told, too"
begin
check 0 --move-address="$addr" --tcp=close
told "TCP $addr port 7000 with .* will be closed"
move A --move-address="$addr" --tcp=close
others_reset
says "$dir/vip" reset
says "$dir/idle" reset
says "$wdir/state" "at $addr: reset"
finish B
address_back

note "without any option: those within the program"
begin
check 0
told "moves, with its other end"
told "TCP $addr port 7000 with .* will be closed"
move A
others_reset
says "$dir/vip" reset
says "$dir/idle" reset
verify B
finish B
