#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-owner - what a user starts has no rights but the user's own, and arrives at the same user; a key with
# uids-allow brings processes of these users only, whatever the offer said.
. "$(dirname "$0")/lib.sh"
lab_up
in_a() { "$lab" run A "$@"; }
in_b() { "$lab" run B "$@"; }
conf() { in_b sh -c "printf '%s\n' '$1' >/etc/haul/haul.conf"; }

# her WAY: a process of tests/work/rights.py
her() {
	wdir=$dir/r.$RANDOM
	mkdir -m 777 "$wdir"
	pid=$("$lab" spawn A "$(basename "$wdir")" /usr/bin/python3 "$top/tests/work/rights.py" "$wdir" "$1")
	until_true 60 '[ -e "$wdir/ready" ]' || fail "$1: $(cat "$("$lab" log "$(basename "$wdir")")")"
}

# refused WORDS OPTION...: haul says them, and does not move or accept
refused() {
	local words=$1
	shift
	! in_a "$haul" "$@" >"$dir/out" 2>&1 || fail "not refused: haul $*: $(cat "$dir/out")"
	grep -qE "$words" "$dir/out" || fail "haul $*: not said: $words: $(cat "$dir/out")"
	in_a kill -0 "$pid" || fail "haul $*: the process is gone"
	in_b test ! -e "/proc/$pid" || fail "haul $*: a process is left on B"
}
# accepted OPTION...: nothing stands in the way but what this root cannot do, read the limits of other users' processes
accepted() {
	in_a "$haul" "$@" >"$dir/out" 2>&1 && return
	grep -q 'BLOCKER  limits' "$dir/out" || fail "haul $*: $(cat "$dir/out")"
	! grep BLOCKER "$dir/out" | grep -qv ' limits ' || fail "haul $*: $(cat "$dir/out")"
}

note "rights beside the user's own"
her plain
accepted --owner=4001 check "$pid" hostB
refused 'belongs to user 4001, not to 4002' --owner=4002 check "$pid" hostB
stop A
for case in 'group:group 4, which is not one of user 4001' 'setgid:group 4, which is not one of user 4001' \
	'capability:capabilities, which user 4001 does not have' 'closed:may not be looked at by user 4001'; do
	her "${case%%:*}"
	refused "${case#*:}" --owner=4001 check "$pid" hostB
	refused "${case#*:}" --owner=4001 --mode=stop-copy "$pid" hostB
	stop A
	note "  refused: ${case%%:*}"
done

her port
accepted check "$pid" hostB
refused 'TCP port 80 is for root at the destination' --owner=4001 check "$pid" hostB
in_b sysctl -qw net.ipv4.ip_unprivileged_port_start=80
accepted --owner=4001 check "$pid" hostB
in_b sysctl -qw net.ipv4.ip_unprivileged_port_start=1024
stop A
note "  refused: a port for root, which root bound at the source"

note "the same user on both hosts"
cp /etc/passwd "$dir/passwd.A"
cp /etc/passwd "$dir/passwd.B"
echo 'ann:x:4001:4001::/:/bin/sh' >>"$dir/passwd.A"
echo 'bob:x:4001:4001::/:/bin/sh' >>"$dir/passwd.B"
in_a mount --bind "$dir/passwd.A" /etc/passwd
her plain
refused 'user 4001 is ann at the source, but does not exist at the destination' --owner=4001 check "$pid" hostB
in_b mount --bind "$dir/passwd.B" /etc/passwd
refused 'user 4001 is ann at the source, but bob at the destination' --owner=4001 check "$pid" hostB
accepted check "$pid" hostB
in_b umount /etc/passwd
in_b mount --bind "$dir/passwd.A" /etc/passwd
accepted --owner=4001 check "$pid" hostB
stop A

note "a group that the user has at the source only"
cp /etc/group "$dir/group.A"
echo 'haul-test:x:4777:ann' >>"$dir/group.A"
in_a mount --bind "$dir/group.A" /etc/group
wdir=$dir/r.group
mkdir -m 777 "$wdir"
pid=$("$lab" spawn A r.group setpriv --reuid=4001 --regid=4001 --groups=4777 sh -c "exec /usr/bin/python3 $top/tests/work/holder.py $wdir >/dev/null 2>&1")
until_true 60 '[ -e "$wdir/ready" ]' || fail "no process in the group"
refused 'user 4001 does not have group 4777 here' --owner=4001 check "$pid" hostB
accepted check "$pid" hostB
in_b mount --bind "$dir/group.A" /etc/group
accepted --owner=4001 check "$pid" hostB

note "uids-allow"
print=$(ssh-keygen -lf "$dir/id.pub" | cut -d' ' -f2)
conf 'uids-allow = 4002-4010'
refused 'processes of user 4001 may not come from this host' check "$pid" hostB
conf 'uids-allow = 4000-4010'
accepted check "$pid" hostB
conf "uids-allow = $print=4001"
accepted check "$pid" hostB
conf "uids-allow = SHA256:another=4001 4002"
refused 'processes of user 4001 may not come from this host' check "$pid" hostB
conf "uids-allow ="
refused 'processes of user 4001 may not come from this host' check "$pid" hostB
conf 'uids-allow = 4001-'
refused 'uids-allow: "4001-" is not a user ID' check "$pid" hostB
! in_b "$hauld" --check-config >"$dir/out" 2>&1 || fail "--check-config takes 4001-"
grep -q 'uids-allow: 4001-: not UID' "$dir/out" || fail "expected 'uids-allow: 4001-: not UID' in: $(cat "$dir/out")"
stop A

note "a key that is limited to users: nothing but their rights here counts, whatever root of the source did"
limited() { # limited WORDS OPTION...: the words are said to such a key, and not to another
	conf ""
	in_a "$haul" "${@:2}" check "$pid" hostB >"$dir/free" 2>&1 || true
	! grep -qE "$1" "$dir/free" || fail "also without uids-allow: $(cat "$dir/free")"
	conf 'uids-allow = 4000-4010'
	refused "$1" "${@:2}" check "$pid" hostB
	note "  refused: $1"
}
for h in a b; do
	"in_$h" sh -c 'mkdir -p /srv/log /srv/tree; echo "root only" >/srv/log/x; touch -d 2026-01-01 /srv/log/x; chmod 640 /srv/log/x'
done
in_b rmdir /srv/tree
wdir=$dir/h.limited
mkdir -m 777 "$wdir"
pid=$("$lab" spawn A h.limited /usr/bin/python3 "$top/tests/work/holder.py" "$wdir" --drop 4001 append:/srv/log/x)
until_true 60 '[ -e "$wdir/ready" ]' || fail "holder: $(cat "$("$lab" log h.limited)")"
limited 'no process of the tree may write /srv/log/x'
limited '/srv/log/x at the destination is not for this process' --map=fd:1=file:/srv/log/x
limited 'may not make /etc/cron.d/evil' --map=fd:1=file:/etc/cron.d/evil
limited 'brings processes of users, and no directories' --fs=/srv/tree
limited 'brings processes of users, and no other root' --into-root=/srv
stop A
her port
limited 'TCP port 80 is for root at the destination'
stop A
conf 'uids-allow = 4000-4010'
start A "$work/writer" --mib 4 --rate 100
refused 'processes of user 0 may not come from this host' --mode=stop-copy "$pid" hostB
conf 'uids-allow = 0 4001'
move A --mode=stop-copy
verify B
stop B

note "connections within the tree, whose ends would be said to be root's"
cat >"$dir/pair.py" <<'P'
import os, socket, sys, time
def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
s = socket.socket(socket.AF_UNIX)
if sys.argv[2] == "one":
    become(4001)
s.bind("\0haul-test-pair")
s.listen()
if os.fork() == 0:
    s.close()
    if sys.argv[2] == "two":
        become(4001)
    c = socket.socket(socket.AF_UNIX)
    c.connect("\0haul-test-pair")
    while True:
        time.sleep(1000)
c = s.accept()[0]
open(sys.argv[1], "w").close()
while True:
    time.sleep(1000)
P
conf ""
for users in two one; do
	mkdir -m 777 "$dir/pair.$users"
	pid=$("$lab" spawn A "pair.$users" /usr/bin/python3 "$dir/pair.py" "$dir/pair.$users/ready" $users)
	until_true 60 '[ -e "$dir/pair.$users/ready" ]' || fail "no pair: $(cat "$("$lab" log "pair.$users")")"
	in_a "$haul" --json check "$pid" hostB >"$dir/out" 2>&1 || true
	grep '"peer-credentials"' "$dir/out" >"$dir/said" || fail "$users: nothing is said: $(cat "$dir/out")"
	if [ $users = two ]; then
		grep -q '"blocker"' "$dir/said" || fail "a user would become root to a server: $(cat "$dir/said")"
		! in_a "$haul" --mode=stop-copy "$pid" hostB >"$dir/out" 2>&1 || fail "moved"
		in_a kill -0 "$pid" || fail "it does not run on"
	else
		! grep -q '"blocker"' "$dir/said" || fail "one user's: $(cat "$dir/said")"
	fi
	in_a pkill -9 -P "$pid"
	stop A
done
conf 'uids-allow = 0 4001'

note "a process that is another user's when it is stopped, at last"
her fsuid
accepted check "$pid" hostB
in_a "$haul" --mode=pre-copy --bandwidth-limit-mbit=8 --max-rounds=2 --json "$pid" hostB >"$dir/out" 2>&1 &
mover=$!
until_true 60 'grep -q "\"rounds\"" "$dir/out"' || fail "no rounds: $(cat "$dir/out")"
in_a kill -USR1 "$pid"
until_true 60 '[ -e "$wdir/other" ]' || fail "it does not take on user 4002"
! wait $mover || fail "it was moved: $(cat "$dir/out")"
grep -q 'processes of user 4002 may not come from this host' "$dir/out" || fail "expected 'processes of user 4002 may not come from this host' in: $(cat "$dir/out")"
in_a kill -0 "$pid" || fail "it does not run on"
in_b test ! -e "/proc/$pid" || fail "a process is left on B"
stop A
