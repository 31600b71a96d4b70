#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-hostile - peers that break the protocol and guess: each is refused with a clear error, and migrations
# that are under way at the same hauld are not disturbed. Peers that lie: t-hostile-lies.sh.
. "$(dirname "$0")/lib.sh"
lab_up --hosts 3
"$lab" run C cp "$dir/id" /etc/haul/id_ed25519
"$lab" run C "$haul" trust -y hostB >/dev/null
evil=$builddir/tests

# attack ARGS...: tests/hostile from host C, at B's hauld
attack() {
	"$lab" run C "$evil/hostile" hostB "$@" >"$dir/attack" 2>&1 || { cat "$dir/attack" >&2; fail "hostile $*"; }
	note "  $1: $(tail -1 "$dir/attack")"
}

# under_way MODE OPTION...: a migration of $pid from A to B that takes a while; $job, $route
under_way() {
	local mode=$1
	shift
	rm -f "$dir/secret" "$dir/report"
	HOSTILE=tell:$dir/secret "$lab" run A "$evil/hostile-haul" --json --mode="$mode" "$@" "$pid" hostB \
		>"$dir/report" 2>"$dir/stderr" &
	job=$!
	until_true 60 '[ -s "$dir/secret" ] && grep -q "\"state\": *\"$waits_in\"" "$dir/report"' || fail "no migration under way: $(cat "$dir/stderr")"
	read -r route secret <"$dir/secret" || fail "no migration under way: $(cat "$dir/stderr")"
}

still_in() {
	tail -1 "$dir/report" | grep -q "$waits_in\|round\|progress" || { cat "$dir/report"; fail "the migration was over before the attack was"; }
	kill -0 "$job" || fail "haul ended: $(cat "$dir/stderr")"
}

ended_well() {
	wait "$job" || { cat "$dir/stderr" "$dir/report" >&2; fail "the migration was disturbed"; }
	gone A
	verify B
}

# silent N HOST BYTES: connections that say BYTES and no more, for 9 s
silent() {
	"$lab" run C python3 - "$@" <<-'END' &
		import socket, sys, time
		n, data = int(sys.argv[1]), bytes.fromhex(sys.argv[2])
		held = []
		for i in range(n):
		    s = socket.create_connection(("hostB", 4285))
		    s.sendall(data)
		    held.append(s)
		time.sleep(9)
	END
	silent_jobs+=($!)
}
silent_jobs=()
start A "$work/writer" --mib 256 --rate 2000

note "while pages are copied (rounds), and then to its end"
waits_in=rounds
"$lab" rate 12mbit
old=$(printf '%064d' 0)
no_ticket=$(printf '%096d' 0)
under_way pre-copy --downtime-limit-ms=300
attack strangers "$route" "$old"
silent 25 "4841554c02020000$route$no_ticket"
silent 80 "4841554c020100000000000000000000$no_ticket"
silent 200 ''
works 0.5
attack lengths
attack frames
still_in
"$lab" rate off
ssh-keygen -q -t ed25519 -N '' -f "$dir/foreign"
rc=0
"$lab" run C "$haul" check -i "$dir/foreign" 1 hostB >"$dir/out" 2>&1 || rc=$?
[ $rc = 1 ] && grep -qi "key.*authorized_keys\|not.*authori\|refuse" "$dir/out" || fail "an untrusted key: $rc $(cat "$dir/out")"
ended_well
attack replay "$route" "$secret"
old=$secret

note "while it runs there and pages are missing (post-copy)"
move B --mode=stop-copy
verify A
waits_in=post-copy
"$lab" rate 20mbit
rm -f "$dir/secret"
under_way post-copy
attack strangers "$route" "$old"
silent 25 "4841554c02020000$route$no_ticket"
attack order
still_in
"$lab" rate off
ended_well
attack switch
attack replay "$route" "$secret"
stop B

# what ended stays on record for a week: its source may ask
left=$("$lab" run B bash -c 'find /run/haul -mindepth 1 ! -path "/run/haul/journal*" ! -path /run/haul/fs ! -path /run/haul/files ! -path /run/haul/api.sock; pgrep -a criu' || true)
[ -z "$left" ] || fail "left on B: $left"
