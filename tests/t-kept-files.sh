#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-files - names that a program has: a UNIX socket below /var/run (a link), one whose file was renamed after
# it was bound, memory in /dev/shm, an SQLite database, a FIFO of another user. At the destination they are there; where it was, nothing of
# the program is left in /dev/shm, and what others have there stays.
. "$(dirname "$0")/lib.sh"
lab_up

lab_sh() { "$lab" run "$1" sh -c "$2"; }
others=/dev/shm/kept-others
for h in A B; do lab_sh $h "echo other >$others; chmod 711 /run"; done

for mode in auto post-copy; do
	start A "$work/kept_files.py" --journal wal
	verify A
	lab_sh A "$haul check $pid hostB" >"$dir/check" 2>&1 || { cat "$dir/check"; fail "haul check"; }
	grep -q "bound to /var/run/kept/sockets/temporary, whose name is /var/run/kept/sockets/real now" "$dir/check" ||
		{ cat "$dir/check"; fail "haul check does not name the renamed socket"; }
	! grep -q sqlite-moved "$dir/check" || fail "a database with a write-ahead log is no obstacle"
	for h in A B; do
		move $h --mode=$mode --files=ship-differing
		to=$(other $h)
		verify "$to"
		lab_sh "$to" "test -S /run/kept/sockets/real && test ! -e /run/kept/sockets/temporary" || fail "sockets on $to"
		lab_sh "$h" "test ! -e /dev/shm/kept-mine" || fail "shared memory is left on $h"
		lab_sh "$h" "grep -q other $others" || fail "another program's file on $h is gone"
		note "  $mode to $to: downtime $(($(field downtime_us) / 1000)) ms"
	done
	stop A
	for h in A B; do lab_sh $h "rm -rf /run/kept /srv/kept /dev/shm/kept-mine"; done
done

note "a rollback journal: named, and what the warning says is what happens"
start A "$work/kept_files.py" --journal delete
verify A
lab_sh A "$haul check $pid hostB" >"$dir/check" 2>&1 || { cat "$dir/check"; fail "haul check"; }
grep -q "/srv/kept/db is an SQLite database with a rollback journal" "$dir/check" ||
	{ cat "$dir/check"; fail "haul check does not name the database"; }
move A --files=ship-differing
(verify B) 2>"$dir/said" || true
grep -q '"sqlite write: attempt to write a readonly database"\]' "$dir/said" || { cat "$dir/said"; fail "another fault than the warning says"; }
stop B

note "the credentials of a client of another user in the tree: it would become root to the server, so it stays"
start A "$work/kept_peer.py"
verify A
rc=0
lab_sh A "$haul check $pid hostB" >"$dir/check" 2>&1 || rc=$?
[ $rc = 3 ] || { cat "$dir/check"; fail "haul check: status $rc"; }
grep -q "BLOCKER.*whose other end is of user 4001, group 4001" "$dir/check" || { cat "$dir/check"; fail "haul check does not name the client"; }
! lab_sh A "$haul $pid hostB" >"$dir/out" 2>&1 || fail "moved"
verify A
stop A

note "a link that leads elsewhere at the destination: known before anything stops"
lab_sh A "rm -rf /run/kept /srv/kept /dev/shm/kept-mine"
lab_sh B "rm -rf /run/kept /srv/kept /dev/shm/kept-mine; mkdir /srv/elsewhere; ln -s /srv/elsewhere /run/kept"
start A "$work/kept_files.py"
rc=0
lab_sh A "$haul check $pid hostB" >"$dir/check" 2>&1 || rc=$?
[ $rc = 3 ] || { cat "$dir/check"; fail "haul check: status $rc"; }
grep -q "/run/kept/sockets is reached through a symbolic link at the destination" "$dir/check" ||
	{ cat "$dir/check"; fail "haul check does not name the link"; }
verify A
lab_sh B "rm /run/kept"
move A --files=ship-differing
verify B
