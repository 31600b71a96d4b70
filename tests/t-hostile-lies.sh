#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-hostile-lies - a haul or a hauld that lies once in the migration of a real process: the other side says
# what is wrong, and exactly one copy remains, whole.
# HOSTILE_ALL=1 (make check-hostile): every message in the place of every other.
. "$(dirname "$0")/lib.sh"
lab_up --hosts 3
"$lab" run C cp "$dir/id" /etc/haul/id_ed25519
evil=$builddir/tests
all=${HOSTILE_ALL:-}

note "haul lies to hauld"
start A "$work/writer" --mib 4 --rate 500

# either STATUS: moved to $to and whole, or on A and whole; and never twice
either() {
	"$lab" rate off
	if [ "$1" = 0 ]; then
		gone A
		verify "$to"
		"$lab" run "$to" env -u HOSTILE "$haul" --json "$pid" hostA >"$dir/back" 2>&1 || { cat "$dir/back" >&2; fail "the way back"; }
	else
		"$lab" run "$to" test ! -e "/proc/$pid" || fail "a copy is on $to"
	fi
	verify A
}

# lie LIE STATUS TEXT OPTION...: STATUS may be "any"
lie() {
	local lie=$1 want=$2 text=$3 rc=0
	shift 3
	"${as[@]}" --json "$@" "$pid" "host$to" >"$dir/report" 2>"$dir/stderr" || rc=$?
	grep -q "hostile: $lie" "$liar_log" || { cat "$dir/report" "$liar_log" >&2; fail "$lie: was not said"; }
	[ "$want" = any ] || [ "$rc" = "$want" ] || { cat "$dir/report" "$dir/stderr" >&2; fail "$lie: status $rc, not $want"; }
	grep -qF -- "$text" "$dir/report" "$dir/stderr" || { cat "$dir/report" "$dir/stderr" >&2; fail "$lie: not a word of \"$text\""; }
	! grep -q $'\033' "$dir/report" "$dir/stderr" || fail "$lie: an escape comes through"
	if [ "$rc" = 4 ]; then # the operator asks again, and once more when he is told the truth
		stands A "$lie: the copy here is not held"
		"$lab" run A "$haul" recover >"$dir/recover" 2>&1 || true
		"$lab" run "$to" test -e "/proc/$pid" && "$lab" run A grep -qs '^State:.*[RS]' "/proc/$pid/status" && fail "$lie: two copies"
		"$lab" run "$to" kill "$(daemon_of "$to")"
		start_hauld "$to"
		if "$lab" run A test -e "/proc/$pid"; then
			"$lab" run A "$haul" recover >"$dir/recover" 2>&1 || { cat "$dir/recover"; fail "$lie: recover"; }
		fi
		rc=0
	fi
	either $rc
	note "  $lie: status $rc"
}

to=B
liar_log=$dir/stderr
haul_lies() {
	as=("$lab" run A env "HOSTILE=$1" "$evil/hostile-haul")
	lie "$@"
}
haul_lies pages:0 0 '"done"' --mode=pre-copy
haul_lies say:9:7 1 "message 7 in state gate"
haul_lies say:9:18 1 "message 18 in state gate"
haul_lies before:9:1 1 "message 1 in state gate"
haul_lies before:9:9 0 '"done"'
haul_lies parked:9 1 "packets for no connection of the tree"
haul_lies huge:7 1 "a message of 4294967295 bytes"
# attributes of B's process 1: it keeps its own; those that no thread can have are only logged
was=$("$lab" run B cat /proc/1/oom_score_adj /proc/1/timerslack_ns)
haul_lies threads:7 0 '"done"'
[ "$("$lab" run B cat /proc/1/oom_score_adj /proc/1/timerslack_ns)" = "$was" ] || fail "threads: process 1 of B was changed"

note "hauld lies to haul"
to=C
liar_log=$dir/hauld.C.log
"$lab" run C cp "$dir/id.pub" /etc/haul/authorized_keys
"$lab" run C "$haul" trust -y hostA >/dev/null
hauld=$evil/hostile-hauld
as=("$lab" run A "$haul")
hauld_lies() {
	: >"$liar_log"
	HOSTILE=$1 start_hauld C
	[ -n "${trusted:-}" ] || { "$lab" run A "$haul" trust -y hostC >/dev/null; trusted=1; }
	lie "$@"
	"$lab" run C kill "$(daemon_of C)"
}
daemon_of() {
	"$lab" run "$1" ss -Hltnp 'sport = :4285' | grep -o 'pid=[0-9]*' | head -1 | cut -d= -f2
}
hauld_lies say:1:1 1 "the destination speaks protocol 0"
hauld_lies say:1:12 1 "unexpected message 12 in state connect"
hauld_lies before:3:12 1 "unexpected message 12 in state negotiate"
hauld_lies answer:3 3 "all is well?]0;owned? really"
hauld_lies before:5:10 1 "unexpected message 10 in state prepare"
hauld_lies before:6:12 1 "unexpected message 12 in state" --mode=pre-copy
hauld_lies huge:6 1 "a message of 4294967295 bytes"
hauld_lies before:8:10 1 "unexpected message 10 in state restore"
hauld_lies before:8:12 1 "unexpected message 12 in state restore"
hauld_lies say:8:18 1 "unexpected message 18 in state restore"
hauld_lies say:10:8 0 "unexpected message 8 in state commit"
hauld_lies before:6:21 1 "unexpected message 21 in state" --mode=pre-copy
hauld_lies say:21:8 1 "unexpected message 8 in state restore"
hauld_lies say:8:21 1 "unexpected message 21 in state restore"
slow() { # LIE...: on a link on which a page has to be waited for
	"$lab" rate 8mbit
	hauld_lies "$@" --mode=post-copy
}
slow want:0:1 any "the destination asks for pages of pid 1"
slow want:0:2 any "bad page frame: length of a run"
slow outcome:18:1 4 "now that it never did"
slow missing:19:0 4 "the destination asks for pages of object 101"
slow missing:19:"$pid" 4 "page map is cut short"

if [ -n "$all" ]; then
	note "every message in the place of every other"
	for k in 1 3 5 6 8 10 12 21; do
		for w in $(seq 21) 30; do hauld_lies before:$k:$w any ''; hauld_lies say:$k:$w any ''; done
	done
	to=B liar_log=$dir/stderr
	for k in 4 7 9 17 30; do
		for w in $(seq 21) 30; do haul_lies before:$k:$w any ''; haul_lies say:$k:$w any ''; done
	done
fi
stop A
# what ended stays on record for a week: its source may ask
left=$("$lab" run B bash -c 'find /run/haul -mindepth 1 ! -path "/run/haul/journal*" ! -path /run/haul/fs ! -path /run/haul/files ! -path /run/haul/api.sock; pgrep -a criu' || true)
[ -z "$left" ] || fail "left on B: $left"
