#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tcp-fates - connections that do not move: closed with a reset, refused, named by haul check;
# addresses that cannot move; peers on the source itself.
. "$(dirname "$0")/lib-tcp.sh"
net_up

# check_says CODE STATUS OPTION...
check_says() {
	local code=$1 want=$2 rc=0
	shift 2
	"$lab" run A "$haul" check --json "$@" "$pid" hostB >"$dir/check" 2>&1 || rc=$?
	[ $rc = "$want" ] || fail "check $*: status $rc: $(cat "$dir/check")"
	grep -q "\"code\": *\"$code\"" "$dir/check" || fail "check $*: no $code: $(cat "$dir/check")"
}

refused() {
	local rc=0
	"$lab" run A "$haul" --json "$@" "$pid" hostB >"$dir/report" 2>&1 || rc=$?
	[ $rc = 3 ] || fail "haul $*: status $rc, not 3: $(cat "$dir/report")"
	"$lab" run A kill -0 "$pid"
}

# wait_answer FILE TEXT: what a client of ours wrote
wait_answer() {
	until_true 60 'grep -q "$2" "$1"' "$@" || fail "$2 is not in $1: $(cat "$1")"
}

# an idle client that says how its connection ends
idle='import socket, sys
s = socket.create_connection((sys.argv[1], 7000), source_address=(sys.argv[2], 0) if sys.argv[2:] else None)
s.sendall(b"ECHO\nhello\n")
assert s.recv(99) == b"hello\n"
print("ready", flush=True)
try:
    print("end" if s.recv(9) == b"" else "data", flush=True)
except (ConnectionResetError, ConnectionAbortedError):
    print("reset", flush=True)
'
serve "$addr"
"$lab" run C python3 -c "$idle" "$addr" >"$dir/idle" &
wait_answer "$dir/idle" ready
# the listener's address is missing there, too: a blocker, unless programs of B may bind to any address
check_says address-missing 3
"$lab" run B sysctl -qw net.ipv4.ip_nonlocal_bind=1
check_says tcp-closed 0
"$lab" run B sysctl -qw net.ipv4.ip_nonlocal_bind=0
check_says tcp-moves 0 --move-address="$addr"
check_says tcp-open 3 --tcp=refuse
check_says address-missing 3 --tcp=move
check_says interface-missing 3 --move-address="$addr@eth7"
check_says address-in-use 3 --move-address="$("$lab" addr A)"
refused --tcp=refuse
refused --tcp=move
refused --move-address="$("$lab" addr A)"
"$lab" run A "$haul" check --move-address=192.0.2.1 "$pid" >"$dir/check" 2>&1 && fail "an address that is not here"
grep -q 'not one of this host' "$dir/check" || fail "expected 'not one of this host' in: $(cat "$dir/check")"
"$lab" run A ip route add 203.0.113.0/24 via "$("$lab" addr C)" src "$addr"
check_says address-in-use 3 --move-address="$addr"
"$lab" run A ip route del 203.0.113.0/24
note "  refusals and their reasons"

# closed: the server finds its connections closed, its clients theirs reset
"$lab" run B ip addr add "$addr/24" dev eth0
check_says address-taken 3 --move-address="$addr"
move A --tcp=close
wait_answer "$dir/idle" reset
note "  --tcp=close: reset"
"$lab" run B python3 -c "$idle" "$addr" >"$dir/idle" &
wait_answer "$dir/idle" ready
stop B
wait_answer "$dir/idle" 'end\|reset'
"$lab" run B ip addr del "$addr/24" dev eth0

# closed by the program, not yet read by the client: no descriptor is left. haul waits as long as it may
serve "$addr"
# closed_on HOST: until a connection of port 7000 has no descriptor any more
closed_on() {
	until_true 60 '[ -n "$("$lab" run "$1" ss -Htn state fin-wait-1 state closing state last-ack sport = :7000)" ]' "$@" || fail "no closed connection with data left on $1"
}
client orphan orphan "$addr" --mib 3 --every 0.15
closed_on A
check_says tcp-orphan 0 --move-address="$addr"
move A --move-address="$addr" --move-address="$addr6" --quiet-limit-ms=20000
[ "$(field connections_lost)" = 0 ] || fail "lost: $(field connections_lost)"
clients_ok
"$lab" run C python3 "$client_py" orphan "$addr" --mib 3 --every 0.15 >"$dir/orphan" 2>&1 &
orphan=$!
closed_on B
move B --move-address="$addr" --move-address="$addr6" --quiet-limit-ms=0
[ "$(field connections_lost)" = 1 ] || fail "lost: $(field connections_lost)"
wait $orphan && fail "the rest came by a closed socket"
grep -q 'ConnectionReset' "$dir/orphan" || fail "the client hears nothing: $(cat "$dir/orphan")"
note "  closed with data left: waited for; or counted, and the client is told by a reset"
stop A

# peers on the source itself: by the address that moves it is reset; by another one it moves
serve "$addr"
"$lab" run A python3 -c "$idle" "$addr" "$addr" >"$dir/idle" &
"$lab" run A python3 "$client_py" echo "$addr" --seconds 3 >"$dir/near" &
near=$!
wait_answer "$dir/idle" ready
check_says tcp-local-peer 0 --move-address="$addr"
watch 7000
client echo echo "$addr" --clients 4 --depth 4 --seconds 3
works 1
move A --move-address="$addr" --move-address="$addr6"
wait_answer "$dir/idle" reset
wait $near || fail "a client on A by A's own address: $(cat "$dir/near")"
clients_ok
watch_ok 7000
note "  local peers: one reset, one moved; the others: moved"
stop B
