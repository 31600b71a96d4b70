#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-sockets - the UNIX sockets of a user are bound at the destination with her rights: whatever her directory leads to
# when that happens, root's socket of the same name lives, with its inode; an undo leaves her directory as it was.
. "$(dirname "$0")/lib.sh"
command -v /usr/bin/python3 >/dev/null || skip "no /usr/bin/python3"
command -v setpriv >/dev/null || skip "no setpriv"
lab_up

uid=4001
in_a() { "$lab" run A "$@"; }
in_b() { "$lab" run B "$@"; }
as_her() { "$lab" run "$1" setpriv --reuid=$uid --regid=$uid --clear-groups "${@:2}"; }
for h in A B; do
	"$lab" run $h install -d -o $uid -g $uid /srv/own /srv/own/d
	"$lab" run $h mkdir -p /srv/root
done

# begin UID [WORKER]: sets $pid and $wdir
begin() {
	wdir=$dir/n.$RANDOM
	mkdir -m 777 "$wdir"
	pid=$("$lab" spawn A "$(basename "$wdir")" /usr/bin/python3 "$top/tests/work/names.py" "$wdir" /srv/own/d "$@")
	until_true 60 '[ -e "$wdir/ready" ]' || fail "no process: $(cat "$("$lab" log "$(basename "$wdir")")")"
	turn=0
}

# right HOST: its sockets do what they shall there
right() {
	turn=$((turn + 1))
	"$lab" run "$1" kill -USR1 "$pid" || fail "no process on $1: $(cat "$dir/out" 2>/dev/null)"
	until_true 60 '[ -e "$wdir/faults.$turn" ]' || fail "it does not answer on $1"
	[ ! -s "$wdir/faults.$turn" ] || fail "on $1: $(cat "$wdir/faults.$turn")"
}

note "bound, listening, with connections that wait, datagrams, renamed and removed names: there and back"
for who in $uid 0 "0 $uid"; do
	# shellcheck disable=SC2086	# words
	begin $who
	right A
	for m in stop-copy post-copy; do
		move A --mode=$m
		note "    $m: stopped for $(($(field downtime_us) / 1000)) ms"
		right B
		move B --mode=$m
		right A
	done
	stop A
	in_a sh -c 'rm -f /srv/own/d/*'
	in_b sh -c 'rm -f /srv/own/d/*'
	note "  user $who"
done

# root's service, of which nothing may change
in_b /usr/bin/python3 -c '
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind("/srv/root/listens")
s.listen()
open(sys.argv[1], "w").close()
while True:
    s.accept()[0].send(b"root")' "$dir/service" &
service=$!
until_true 60 '[ -e "$dir/service" ]' || fail "root has no service"
in_b sh -c 'touch /srv/root/removed /srv/root/renamed; chmod 600 /srv/root/re*'
listing() { in_b sh -c "stat -c '%n %i %u %g %a' /srv/root /srv/root/*"; }
listing >"$dir/before"

# untouched WORDS
untouched() {
	listing >"$dir/after"
	cmp -s "$dir/before" "$dir/after" || fail "$1: root's directory: $(diff "$dir/before" "$dir/after")"
	[ "$(in_b /usr/bin/python3 -c '
import socket
s = socket.socket(socket.AF_UNIX)
s.connect("/srv/root/listens")
print(s.recv(9).decode())')" = root ] || fail "$1: root's service does not answer"
}

note "she puts a link to root's directory there between hauld's look and CRIU"
fault=$dir/fault
stop_hauld B
HAUL_FAULT=d-placed-said:hold HAUL_FAULT_FILE=$fault start_hauld B
for name in left none; do
	begin $uid
	[ $name = none ] || as_her B /usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/srv/own/d/unused")'
	in_b sh -c 'stat -c "%n %i %a" /srv/own/d/* 2>/dev/null || true' >"$dir/hers"
	rm -f "$fault" "$fault.over"
	in_a "$haul" --mode=stop-copy --freeze-limit-ms=60000 "$pid" hostB >"$dir/out" 2>&1 &
	job=$!
	until_true 60 '[ -s "$fault" ]' || fail "hauld did not come to the point: $(cat "$dir/out")"
	as_her B sh -c 'cd /srv/own; mv d r; ln -s /srv/root d'
	: >"$fault.over"
	rm "$fault"
	! wait $job || fail "moved through a link to root's directory"
	grep -q 'bind the UNIX socket .* as user 4001' "$dir/out" || fail "it was not said why: $(cat "$dir/out")"
	in_b sh -c 'cd /srv/own; rm d; mv r d'
	untouched "a link"
	in_b sh -c 'stat -c "%n %i %a" /srv/own/d/* 2>/dev/null || true' | cmp -s - "$dir/hers" || fail "her directory is not as it was: $(in_b ls -l /srv/own/d)"
	right A
	stop A
	in_a sh -c 'rm -f /srv/own/d/*'
	in_b sh -c 'rm -f /srv/own/d/*'
done

note "an undo after the names were bound"
begin $uid
as_her B /usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/srv/own/d/listens")'
in_b stat -c '%n %i %a' /srv/own/d/listens >"$dir/hers"
stop_hauld B
rm -f "$fault" "$fault.over"
HAUL_FAULT=d-gate:hold HAUL_FAULT_FILE=$fault start_hauld B
in_a "$haul" --mode=stop-copy --freeze-limit-ms=3000 "$pid" hostB >"$dir/out" 2>&1 &
job=$!
until_true 60 '[ -s "$fault" ]' || fail "hauld did not come to the gate: $(cat "$dir/out")"
in_b test -S /srv/own/d/packets || fail "a name was not bound"
! wait $job || fail "moved"
: >"$fault.over"
rm "$fault"
until_true 60 'in_b sh -c "stat -c \"%n %i %a\" /srv/own/d/*" | cmp -s - "$dir/hers"' || fail "her directory is not as it was: $(in_b ls -l /srv/own/d)"
right A
stop A
in_a sh -c 'rm -f /srv/own/d/*'
in_b sh -c 'rm -f /srv/own/d/*'
stop_hauld B
start_hauld B

# Renaming without a pause keeps every look at a path on this machine waiting, those of other tests, too:
# make check-trust does so, for longer.
note "she swaps all the time"
as_her B sh -c 'ln -s /srv/root /srv/own/l; exec /usr/bin/python3 -c "
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
while not os.path.exists(sys.argv[1]):
    libc.renameat2(-100, b\"/srv/own/d\", -100, b\"/srv/own/l\", 2)
    time.sleep(float(sys.argv[2]))
" "$0" "$1"' "$dir/enough" "${RACE_PAUSE_S:-0.002}" &
swapper=$!
moved=0 undone=0 end=$((SECONDS + ${RACE_S:-5}))
while [ $SECONDS -lt $end ]; do
	begin $uid
	if in_a "$haul" --mode=stop-copy "$pid" hostB >"$dir/out" 2>&1; then
		moved=$((moved + 1)) h=B
	else
		undone=$((undone + 1)) h=A
	fi
	untouched "try $((moved + undone)) of the race"
	grep -h '^haul:' "$dir/out" >>"$dir/reasons" || true
	"$lab" run $h kill -0 "$pid" || fail "the process does not live on $h"
	stop $h
	in_a sh -c 'rm -f /srv/own/d/*'
	in_b sh -c 'cd /srv/own && for i in 1 2 3 4 5 6 7 8; do for d in d l; do [ -L $d ] || find $d/ -maxdepth 1 -user 4001 -type s -delete; done; done' 2>/dev/null || true
done
: >"$dir/enough"
wait $swapper || true
note "  $moved moves, $undone undone:"
sort "$dir/reasons" | uniq -c | sort -rn | while read -r line; do note "    $line"; done
kill $service 2>/dev/null || true
