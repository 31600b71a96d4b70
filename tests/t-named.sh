#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-named - a signal at the parent's end does not kill the copy that arrives; an address that the
# destination lacks, a UNIX name that a program has there, a filter of a thread: known before the stop.
. "$(dirname "$0")/lib.sh"
lab_up
command -v python3 >/dev/null || skip "needs python3"

# program NAME TEXT: python; sets $pid, and waits for $dir/NAME
program() {
	printf 'import ctypes, os, socket, sys, threading, time\n%s\nopen(sys.argv[1], "w").write("1")\ntime.sleep(100000)\n' "$2" >"$dir/$1.py"
	pid=$("$lab" spawn "${3:-A}" "$1" python3 "$dir/$1.py" "$dir/$1")
	until_true 60 'test -s "$dir/$1"' "$1" || fail "$1 is not ready"
}

# refused CODE: by check and move with status 3, before anything stops; the process runs on
refused() {
	local status c
	for c in check ''; do
		status=0
		# shellcheck disable=SC2086	# no word when it is empty
		"$lab" run A "$haul" $c --json "$pid" hostB >"$dir/out" 2>&1 || status=$?
		[ $status = 3 ] || fail "${c:-move}: status $status, not 3: $(cat "$dir/out")"
		grep -q "\"$1\"\|$2" "$dir/out" || fail "${c:-move} does not name $1: $(cat "$dir/out")"
		! grep -q '"state":"freeze"' "$dir/out" || fail "it was stopped first"
	done
	"$lab" run A grep -q '^State:.[SRD]' "/proc/$pid/status" || fail "the process is not as it was"
	note "  $1: refused before the stop"
}

# the parent of the root stays: its end is nothing that the copy should hear of
for mode in auto post-copy; do
	pid=$("$lab" spawn A "pdeath-$mode" setpriv --pdeathsig TERM sleep 100002)
	until_true 20 '"$lab" run A grep -q sleep "/proc/$pid/comm"' || fail "setpriv"
	"$lab" run A "$haul" --mode=$mode "$pid" hostB >"$dir/out" 2>&1 || fail "pdeathsig, $mode: $(cat "$dir/out")"
	works 1 # the signal, if there were one, would have come by now
	"$lab" run B grep -q '^State:.S' "/proc/$pid/status" || fail "$mode: the copy on B has not lived"
	"$lab" run B "$haul" --mode=$mode "$pid" hostA >"$dir/out" 2>&1 || fail "pdeathsig back, $mode: $(cat "$dir/out")"
	"$lab" run A grep -q '^State:.S' "/proc/$pid/status" || fail "$mode: the copy on A has not lived"
	note "  a signal at the parent's end, $mode: there and back"
done

# an address of the source
"$lab" run A ip addr add 192.0.2.9/32 dev lo
program bound 's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.0.2.9", 5353))'
refused address-missing 192.0.2.9
"$lab" run B ip addr add 192.0.2.9/32 dev lo
"$lab" run A "$haul" "$pid" hostB >"$dir/out" 2>&1 || fail "with the address there: $(cat "$dir/out")"
note "  with the address there it moves"

# a name that a program has at the destination, and one that a program has left there
"$lab" run A mkdir -p /srv
"$lab" run B mkdir -p /srv
program there 's = socket.socket(socket.AF_UNIX)
s.bind("/srv/name")
s.listen(4)' B
there=$pid
program named 's = socket.socket(socket.AF_UNIX)
s.bind("/srv/name")
s.listen(4)'
refused unix-taken /srv/name
"$lab" run B python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("/srv/name")' || fail "the service of B lost its name"
"$lab" run B kill -9 "$there"
until_true 20 '! "$lab" run B test -e "/proc/$there"' || fail "the service of B does not end"
"$lab" run A "$haul" "$pid" hostB >"$dir/out" 2>&1 || fail "the name is free: $(cat "$dir/out")"
"$lab" run B python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("/srv/name")' || fail "it does not listen on B"
note "  when the name is free it moves"

# a filter of a thread that is not the leader: CRIU has to know before it is filtered itself
program filtered 'libc = ctypes.CDLL(None, use_errno=True)
def other():
    insn = (ctypes.c_uint64 * 1)(0x7fff000000000006)  # return SECCOMP_RET_ALLOW
    prog = (ctypes.c_uint64 * 2)(1, ctypes.addressof(insn))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(prog), 0, 0): os._exit(3)
    open(sys.argv[1] + ".on", "w").write("1")
    while True: time.sleep(0.1)
threading.Thread(target=other, daemon=True).start()
while not os.path.exists(sys.argv[1] + ".on"): time.sleep(0.05)'
tid=$("$lab" run A sh -c "grep -l '^Seccomp:.2' /proc/$pid/task/*/status" | grep -v "/$pid/status" | cut -d/ -f5)
[ -n "$tid" ] || fail "no thread has a filter"
"$lab" run A "$haul" "$pid" hostB >"$dir/out" 2>&1 || fail "a filter of a thread: $(cat "$dir/out")"
"$lab" run B grep -q '^Seccomp:.2' "/proc/$pid/task/$tid/status" || fail "the filter of the thread is lost"
"$lab" run B grep -q '^Seccomp:.0' "/proc/$pid/status" || fail "the leader has got a filter"
note "  a filter of one thread moves, and stays that thread's"
program vfork 'libc = ctypes.CDLL(None)
def late():
    if libc.vfork() == 0:
        libc.sleep(100000)
open(sys.argv[1], "w").write("1")
late()'
until_true 20 '"$lab" run A grep -q "^State:.D" "/proc/$pid/status"' || fail "no vfork"
refused vfork 'waits in vfork'
"$lab" run A pkill -KILL -P "$pid"
note "a connection to a program that stays, by the loopback address: both ends hear that it has ended"
cat >"$dir/near.py" <<'END'
import socket, sys
s = socket.socket()
if sys.argv[1] == "serve":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 7070))
    s.listen()
    open(sys.argv[2], "w").write("1")
    s, _ = s.accept()
else:
    s.connect(("127.0.0.1", 7070))
    open(sys.argv[2], "w").write("1")
try:
    said = "got %r" % s.recv(10)
except OSError as e:
    said = "failed: %s" % e
print(said, flush=True)
while sys.argv[1] != "serve":
    socket.socketpair()[0].recv(1)
END
"$lab" spawn A serve python3 "$dir/near.py" serve "$dir/serves" >/dev/null
until_true 60 'test -s "$dir/serves"' || fail "no server"
pid=$("$lab" spawn A connect python3 "$dir/near.py" connect "$dir/connected")
until_true 60 'test -s "$dir/connected"' || fail "not connected"
"$lab" run A "$haul" --tcp=move "$pid" hostB >"$dir/out" 2>&1 || fail "a peer that stays: $(cat "$dir/out")"
for end in serve connect; do
	until_true 20 'grep -q failed "$("$lab" log $1)"' $end || fail "$end does not hear of it: $(cat "$("$lab" log $end)")"
done
echo ok
