#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-streams - connections to the journal, to syslog and to other UNIX sockets of the destination are made as the
# process that gets them: the server sees its user, groups and number; none is made that its user could not make there.
. "$(dirname "$0")/lib.sh"
lab_up

in_a() { "$lab" run A "$@"; }
in_b() { "$lab" run B "$@"; }
journal=/run/systemd/journal/stdout

# A journald: for each connection DIR/HOST.PID has who connected (SO_PEERCRED, SO_PEERGROUPS) and what was sent first. It
# notes what it knows of the stream as systemd's does.
cat >"$dir/journald" <<'END'
import os, socket, struct, sys, threading
path, out = sys.argv[1:]
s = socket.socket(socket.AF_UNIX)
s.bind(path)
os.chmod(path, 0o666)
s.listen(8)
def serve(c):
    pid, uid, gid = struct.unpack("3i", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    raw = c.getsockopt(socket.SOL_SOCKET, 59, 1024)
    groups = ",".join(map(str, struct.unpack("%di" % (len(raw) // 4), raw)))
    f = c.makefile("r")
    head = [f.readline().rstrip("\n") for _ in range(7)]
    if not head[6]:
        return
    st = os.fstat(c.fileno())
    os.makedirs("/run/systemd/journal/streams", exist_ok=True)
    with open("/run/systemd/journal/streams/%d:%d" % (st.st_dev, st.st_ino), "w") as state:
        state.write("# This is private data. Do not parse\nPRIORITY=%s\nLEVEL_PREFIX=%s\nFORWARD_TO_SYSLOG=%s\n"
            "FORWARD_TO_KMSG=%s\nFORWARD_TO_CONSOLE=%s\nSTREAM_ID=1\n" % tuple(head[2:]))
        state.write("IDENTIFIER=%s\n" % head[0] if head[0] else "")
        state.write("UNIT=%s\n" % head[1] if head[1] else "")
    with open("%s.%d" % (out, pid), "w") as o:
        o.write("pid=%d uid=%d gid=%d groups=%s head=%s\n" % (pid, uid, gid, groups, "|".join(head)))
    for line in f:
        with open("%s.lines" % out, "a") as o:
            o.write(line)
while True:
    c = s.accept()[0]
    threading.Thread(target=serve, args=(c,), daemon=True).start()
END
for h in A B; do
	"$lab" run $h mkdir -p /run/systemd/journal
	"$lab" spawn $h journald$h python3 "$dir/journald" $journal "$dir/journal.$h" >/dev/null
	until_true 60 '"$lab" run "$1" test -S '$journal $h || fail "no journald on $h"
done

# Its arguments: DIR HEAD CHILD-USER USER GROUPS. It connects to the journal, then becomes USER as far as files are
# concerned; a child becomes CHILD-USER and connects, too, or has the parent's connection ("same"), which it has made ("own"); "-": no child. HEAD /PATH: the
# connection is of datagrams, to PATH.
# SIGUSR1: it writes a line.
cat >"$dir/speaker" <<'END'
import ctypes, os, signal, socket, sys
there, head, child, uid, groups = sys.argv[1:]
libc = ctypes.CDLL(None)
def become(uid, groups):
    os.setgroups(groups)
    libc.setfsgid(uid)
    libc.setfsuid(uid)
    libc.prctl(4, 1, 0, 0, 0)
def stream(head):
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/systemd/journal/stdout")
    s.shutdown(socket.SHUT_RD)
    s.send(head.encode().decode("unicode_escape").encode())
    return s
number = [0]
def say(*_):
    number[0] += 1
    try:
        s.send(b"line %d of %d\n" % (number[0], os.getpid()))
    except OSError as e:
        open(there + "/failed", "w").write(str(e))
if child == "own":
    libc.setfsuid(4002)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if head[0] == "/" else stream(head)
if head[0] == "/":
    s.connect(head)
libc.setfsuid(0)
signal.signal(signal.SIGUSR1, say)
if child != "-" and os.fork() == 0:
    if child in ("same", "own"):
        become(4002, [])
    else:
        s = stream(head.replace("first", "second"))
        become(int(child), [])
    with open(there + "/child.part", "w") as f:
        f.write("%d" % os.getpid())
    os.rename(there + "/child.part", there + "/child")
    while True:
        signal.pause()
become(int(uid), [int(g) for g in groups.split(",") if g])
open(there + "/ready", "w").close()
while True:
    signal.pause()
END

# speaks HEAD CHILD-USER USER GROUPS: sets $pid and $child
speaks() {
	wdir=$dir/s.$RANDOM
	mkdir "$wdir"
	chmod 777 "$wdir"
	child=
	pid=$("$lab" spawn A "$(basename "$wdir")" /usr/bin/python3 "$dir/speaker" "$wdir" "$@")
	until_true 60 '[ -e "$wdir/ready" ]' || fail "speaker: $(cat "$("$lab" log "$(basename "$wdir")")")"
	[ "$2" = - ] || { until_true 60 '[ -s "$wdir/child" ]' || fail "no child"; child=$(cat "$wdir/child"); }
	rm -f "$dir"/journal.B.[0-9]*
}

# says HOST PID N: it writes its Nth line, and that arrives at the journal there
says() {
	"$lab" run "$1" kill -USR1 "$2"
	until_true 60 'grep -qx "$1" "$2"' "line $3 of $2" "$dir/journal.$1.lines" || fail "line $3 of $2 is not in the journal of $1"
}

# as PID TEXT: how it is connected at B
as() {
	until_true 60 '[ -s "$1" ]' "$dir/journal.B.$1" || fail "no connection of process $1: $(cat "$dir"/journal.B.*)"
	grep -qx "$2" "$dir/journal.B.$1" || fail "connected as $(cat "$dir/journal.B.$1"), not $2"
}

note "a user's program: its user, groups and number, and the header that its launcher wrote"
speaks 'first\nits.service\n4\n0\n1\n0\n0\n' - 4001 4003,4004
says A "$pid" 1
move A --mode=stop-copy
as "$pid" "pid=$pid uid=4001 gid=4001 groups=4003,4004 head=first|its.service|4|0|1|0|0"
says B "$pid" 2
stop B

note "two users' programs in one tree: each is itself"
speaks 'first\n\n6\n1\n0\n0\n0\n' 4002 4001 ''
move A --mode=stop-copy
as "$pid" "pid=$pid uid=4001 gid=4001 groups= head=first||6|1|0|0|0"
as "$child" "pid=$child uid=4002 gid=4002 groups= head=second||6|1|0|0|0"
says B "$pid" 1
says B "$child" 1
in_b kill -9 "$child"
stop B

note "one connection of two users: root's if root made it, as at the source"
speaks 'first\n\n6\n1\n0\n0\n0\n' same 0 ''
move A --mode=stop-copy
as "$pid" "pid=$pid uid=0 gid=0 groups= head=first||6|1|0|0|0"
says B "$child" 1
in_b kill -9 "$child"
stop B

note "one connection that a user has handed to root's program: the user's"
speaks 'first\n\n6\n1\n0\n0\n0\n' own 0 ''
move A --mode=stop-copy
as "$child" "pid=$child uid=4002 gid=4002 groups= head=first||6|1|0|0|0"
says B "$child" 1
in_b kill -9 "$child"
stop B

# datagrams HOST PATH: a program there takes datagrams at PATH
datagrams() {
	"$lab" spawn "$1" "datagrams$RANDOM" python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
f = open(sys.argv[2], "ab", 0)
while True:
    f.write(s.recv(65536))' "$2" "$dir/journal.$1.lines" >/dev/null
	until_true 60 '"$lab" run "$1" test -S "$2"' "$1" "$2" || fail "no program at $2 of $1"
}

# refused WORDS OPTION...: by the move; it runs on, and no line came to B
refused() {
	local words=$1
	shift
	in_a "$haul" --mode=stop-copy "$@" "$pid" hostB >"$dir/out" 2>&1 && fail "moved: $words"
	grep -q "$words" "$dir/out" || fail "not said: $words: $(cat "$dir/out")"
	in_b test ! -e "/proc/$pid" || fail "a process is left on B: $words"
	says A "$pid" 1
	stop A
}

note "datagrams: to a socket that its user may use there, and to none else"
for h in A B; do
	"$lab" run $h install -d -o 4001 -g 4001 /srv/own
	"$lab" run $h mkdir -p /srv/root
	for s in own/s root/s; do
		datagrams $h /srv/$s
		"$lab" run $h chmod 666 /srv/$s
	done
done
speaks /srv/root/s - 4001 ''
move A --mode=stop-copy
says B "$pid" 1
stop B
in_b chmod 600 /srv/root/s
speaks /srv/root/s - 4001 ''
refused 'no process of the tree may use /srv/root/s'
in_b sh -c 'cd /srv/own; rm s; setpriv --reuid=4001 --regid=4001 --clear-groups ln -s /srv/root/s s'
speaks /srv/own/s - 4001 ''
refused 'no process of the tree may use /srv/own/s'
# nor in a tree with a process of root's
speaks /srv/root/s same 0 ''
refused 'user 4002.*may not send'

note "she swaps the name between hauld's look and the connection: it is made with her rights"
in_b rm /srv/own/s
datagrams B /srv/own/s
in_b chmod 666 /srv/own/s
stop_hauld B
HAUL_FAULT=d-placed-said:hold HAUL_FAULT_FILE=$dir/fault start_hauld B
for mode in 600 666; do
	in_b chmod $mode /srv/root/s
	speaks /srv/own/s - 4001 ''
	rm -f "$dir/fault" "$dir/fault.over"
	in_a "$haul" --mode=stop-copy --freeze-limit-ms=60000 "$pid" hostB >"$dir/out" 2>&1 &
	job=$!
	until_true 60 '[ -s "$dir/fault" ]' || fail "hauld did not come to the point: $(cat "$dir/out")"
	in_b sh -c 'cd /srv/own; mv s s.mine; setpriv --reuid=4001 --regid=4001 --clear-groups ln -s /srv/root/s s'
	: >"$dir/fault.over"
	rm "$dir/fault"
	if wait $job; then
		[ $mode = 666 ] || fail "connected to a socket of root's"
		says B "$pid" 1
		stop B
	else
		[ $mode = 600 ] || fail "to a socket that she may use: $(cat "$dir/out")"
		grep -q 'user 4001): that user may not send to the UNIX socket /srv/own/s' "$dir/out" || fail "it was not said why: $(cat "$dir/out")"
		says A "$pid" 1
		stop A
	fi
	in_b mv -f /srv/own/s.mine /srv/own/s
done
in_b chmod 600 /srv/root/s
stop_hauld B
start_hauld B

note "a mapped connection: not to a socket that its user may not use"
speaks 'first\n\n6\n1\n0\n0\n0\n' - 4001 ''
refused 'user 4001 may not connect to /srv/root/s' --map=unix:$journal=unix:/srv/root/s
