#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-fs-undo: directories that cannot come are refused in the negotiation; a full file system, a refused
# restore, haul or the worker killed: the process runs on, the destination is as it was.
. "$(dirname "$0")/lib.sh"

lab_up
"$lab" run A sh -c 'mkdir -p /srv/x'
"$lab" run B sh -c 'echo "fs-allow = /srv" >>/etc/haul/haul.conf; mkdir -p /srv/x'

start A "$work/filekeeper.py" --tree /srv/x/keeper
"$lab" run A dd if=/dev/urandom of=/srv/x/keeper/bulk bs=1M count=60 status=none

# all of B's /srv: names, and times of change
state() { "$lab" run B find /srv -printf '%p %i %T@ %s\n' | LC_ALL=C sort; }

goes_on() {
	local what=$1
	verify A
	until_true 60 '[ -z "$("$lab" run B ls -A /run/haul/fs)" ]' || fail "$what: /run/haul/fs of B is not empty"
	state >"$dir/after"
	diff "$dir/before" "$dir/after" >"$dir/diff" || fail "$what: B is not as it was: $(cat "$dir/diff")"
	note "  $what: $(grep -o '"text":"[^"]*"' "$dir/report" | tail -1)"
}

# restart_hauld [FAULT]: of B
restart_hauld() {
	for p in $("$lab" run B pidof hauld); do "$lab" run B kill -9 "$p" 2>/dev/null || true; done
	"$lab" run B env ${1:+HAUL_FAULT="$1"} setsid "$hauld" -v </dev/null >>"$dir/hauld.B.log" 2>&1 &
	listens B 4285
}

# refused WHAT CODE [OPTION]...
refused() {
	local what=$1 code=$2
	shift 2
	state >"$dir/before"
	! "$lab" run A "$haul" --json --fs=/srv/x/keeper "$@" "$pid" hostB >"$dir/report" 2>&1 || fail "$what: it moved"
	grep -q "$code" "$dir/report" || fail "$what: no $code in $(cat "$dir/report")"
	goes_on "$what"
}

"$lab" run B sh -c 'mkdir /srv/x/keeper; echo mine >/srv/x/keeper/file'
refused "a directory that is not empty" fs-exists
"$lab" run B sh -c 'rm -r /srv/x/keeper; echo mine >/srv/x/keeper'
refused "a file" fs-taken --fs-replace
"$lab" run B sh -c 'rm /srv/x/keeper; ln -s /etc /srv/x/keeper'
refused "a link" fs-taken --fs-replace
"$lab" run B sh -c 'rm /srv/x/keeper; mv /srv/x /srv/y; ln -s /srv/y /srv/x'
refused "a link above it" fs-parent
"$lab" run B sh -c 'rm /srv/x; mv /srv/y /srv/x; sed -i "s,/srv,/srv/other," /etc/haul/haul.conf'
refused "not allowed there" fs-not-allowed
"$lab" run B sh -c 'sed -i "s,= .*,= SHA256:another=/srv," /etc/haul/haul.conf'
refused "allowed to another key" fs-not-allowed
key=$(ssh-keygen -lf "$dir/id.pub" | cut -d' ' -f2)
"$lab" run B sh -c "sed -i 's,= .*,= $key=/srv,' /etc/haul/haul.conf"

# a small file system: too small by its size, then one that fills up on the way
"$lab" run B mount -t tmpfs -o size=32m small /srv/x
refused "no room" fs-space
"$lab" run B mount -o remount,size=1g /srv/x
"$lab" run A sh -c 'truncate -s 200m /srv/x/keeper/sparse'
state >"$dir/before"
"$lab" run A bash -c "while :; do dd if=/dev/urandom of=/srv/x/keeper/more bs=1M count=150 status=none; done" &
growing=$!
"$lab" run B mount -o remount,size=100m /srv/x
! "$lab" run A "$haul" --json --fs=/srv/x/keeper --mode=pre-copy "$pid" hostB >"$dir/report" 2>&1 || fail "full: it moved"
kill $growing
wait $growing || true
grep -q 'No space left\|fs-space' "$dir/report" || fail "full: $(cat "$dir/report")"
goes_on "a file system that fills up"
"$lab" run A rm -f /srv/x/keeper/more /srv/x/keeper/sparse
"$lab" run B umount /srv/x
"$lab" run B mount -t tmpfs -o size=500m,nr_inodes=9 few /srv/x
refused "no inodes" fs-inodes
"$lab" run B umount /srv/x
"$lab" run A mkdir /srv/y
"$lab" run A dd if=/dev/zero of=/srv/y/second bs=1M count=60 status=none
"$lab" run B mount -t tmpfs -o size=100m two /srv
"$lab" run B mkdir /srv/x
refused "no room for two" fs-space --fs=/srv/y
"$lab" run B umount /srv
"$lab" run A rm -r /srv/y

# the restore fails after the directory is in its place, with and without something to replace
for old in "" yes; do
	[ -z "$old" ] || "$lab" run B sh -c 'mkdir /srv/x/keeper; echo mine >/srv/x/keeper/file'
	state >"$dir/before"
	for what in int kill; do
		rm -f "$dir/fault"
		! "$lab" run A env HAUL_FAULT=s-restored-heard:$what HAUL_FAULT_FILE="$dir/fault" "$haul" --json --fs=/srv/x/keeper --fs-replace \
			--mode=stop-copy "$pid" hostB >"$dir/report" 2>&1 || fail "$what at the gate: it moved"
		[ $what = int ] || "$lab" run A "$haul" recover >/dev/null
		goes_on "$what of haul at the gate${old:+, something replaced}"
	done
	for at in d-gate-recorded d-switch-heard; do
		restart_hauld "$at:kill"
		! "$lab" run A "$haul" --json --fs=/srv/x/keeper --fs-replace --mode=stop-copy "$pid" hostB >"$dir/report" 2>&1 || fail "$at: it moved"
		goes_on "the worker dies at $at${old:+, something replaced}"
	done
	restart_hauld
done

# haul or the worker is killed in the first pass
for who in haul worker; do
	state >"$dir/before"
	"$lab" rate 100mbit
	"$lab" run A bash -c "echo \$\$ >$dir/haul.pid; exec $haul --json --fs=/srv/x/keeper --fs-replace $pid hostB" >"$dir/report" 2>&1 &
	moving=$!
	until_true 60 '"$lab" run B sh -c "ls /srv/x/.haul-*/new/bulk"' || fail "$what: no file arrives"
	case $who in
	haul) "$lab" run A kill -9 "$(cat "$dir/haul.pid")" ;;
	worker) "$lab" run B kill -9 "$(grep -o 'worker=[0-9]* route' "$dir/hauld.B.log" | tail -1 | grep -o '[0-9]*')" ;;
	esac
	! wait $moving || fail "$who: it moved"
	"$lab" rate off
	goes_on "$who is killed in the first pass"
done

move A --fs=/srv/x/keeper --fs-replace
verify B
stop B
