#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-strangers - peers that have shown no key do not stop a rightful move: 26 connections a second for a minute,
# 256 preambles with unknown routes, connections that say nothing, SSH that never logs in; hauld out of descriptors
# waits, and takes the next peer when it has some.
. "$(dirname "$0")/lib.sh"
lab_up

start A "$work/writer" --mib 8 --rate 200
where=A

# strangers HOW...: they begin at the other host, and at this one; the test goes on when they are many
strangers() {
	rm -f "$dir/many"
	"$lab" run "$where" python3 "$top/tests/work/strangers.py" "host$(other "$where")" "$dir/many" "$@" >"$dir/strangers" 2>&1 &
	crowd=$!
	until_true 60 '[ -e "$dir/many" ]' || fail "strangers $*: $(cat "$dir/strangers")"
}

# rightful WORDS: a move while they are there, and what hauld is made of meanwhile
rightful() {
	local to
	to=$(other "$where")
	"$lab" run "$where" kill -0 "$crowd" 2>/dev/null || kill -0 $crowd || fail "$1: the strangers have ended: $(cat "$dir/strangers")"
	n=$("$lab" run "$to" pgrep -xc hauld)
	[ "$n" -le 100 ] || fail "$1: $n processes of hauld"
	move "$where" --mode=pre-copy
	where=$to
	verify "$where"
	kill $crowd
	wait $crowd || true
	note "  $1: moved beside them; $n processes of hauld"
}

strangers --rate 26 --say silence
rightful "26 connections a second that say nothing"
strangers --rate 26 --say preamble
rightful "26 a second with a preamble"
strangers --rate 26 --say ssh
rightful "26 a second that begin SSH and do not log in"
strangers --at-once 256 --say unknown-route
rightful "256 preambles with unknown routes"
strangers --at-once 500 --say silence
rightful "500 connections that say nothing"

# ---- out of descriptors: no spin, and the next peer is taken when there are some ----
to=$(other "$where")
d=$(daemon "$to")
limit=$("$lab" run "$to" sh -c "ls /proc/$d/fd | wc -l")
"$lab" run "$to" prlimit --pid "$d" --nofile="$limit:4096" || skip "prlimit"
strangers --at-once 40 --say silence
ticks() { "$lab" run "$to" cut -d' ' -f14,15 "/proc/$d/stat" | tr ' ' + | bc; }
before=$(ticks)
works 3
used=$(($(ticks) - before))
[ "$used" -lt 60 ] || fail "out of descriptors hauld uses $used ticks in 3 s"
grep -q 'out of descriptors' "$dir/hauld.$to.log" || fail "it does not say that it is out of descriptors"
"$lab" run "$to" prlimit --pid "$d" --nofile=1024:4096
rightful "out of descriptors for 3 s ($used ticks of processor time)"
stop "$where"
