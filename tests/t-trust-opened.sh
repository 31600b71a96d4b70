#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-opened - a file that the program opens, maps or replaces after haul's look is never taken from the
# destination unseen: the move is undone, and begun anew with another look, which compares or ships it.
. "$(dirname "$0")/lib.sh"
lab_up
fault=$dir/fault

# SIGUSR2: opens, maps or replaces what DIR/do says; SIGUSR1: what it reads there, into DIR/got.N
cat >"$dir/opener" <<'END'
#!/usr/bin/env python3
import mmap, os, signal, socket, sys
there = sys.argv[sys.argv.index("--dir") + 1]
held, n = {}, 0
def do(number, frame):
    with open(there + "/do") as f:
        how, path = f.read().split()
    if how == "open":
        held[path] = open(path, "rb", buffering=0)
    elif how == "map":
        with open(path, "rb") as f:
            held[path] = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
    elif how in ("pass", "behind"): # into the queue of a socket; behind another message
        kind = socket.SOCK_STREAM if how == "pass" else socket.SOCK_DGRAM
        held["sender"], held[path] = socket.socketpair(socket.AF_UNIX, kind)
        if how == "behind":
            held["sender"].send(b"first")
        with open(path, "rb") as f:
            socket.send_fds(held["sender"], [b"x"], [f.fileno()])
    elif how == "rotate":
        os.rename(path, path + ".1")
        old, held[path] = held.get(path), open(path, "ab", buffering=0)
        held[path].write(b"first line of the new log\n")
    elif how == "cwd":
        os.chdir(path)
    elif how == "unlink":
        os.unlink(path)
    elif how == "exec":
        open(there + "/done", "w").close()
        os.execv(path, [path, there + "/opener.py", "--dir", there])
    elif how == "nothing":
        pass
    elif how == "again":
        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        again(0, None)
    open(there + "/done", "w").close()
def again(number, frame):
    global n
    n += 1
    path = f"/srv/many/{n}"
    with open(path, "w") as f:
        f.write("x")
    held["many"] = open(path, "rb")
def get(number, frame):
    with open(there + "/do") as f:
        how, path = f.read().split()
    f = held[path]
    if isinstance(f, socket.socket):
        while not (fds := socket.recv_fds(f, 9, 1)[1]):
            pass
        f = held[path] = os.fdopen(fds[0], "rb", 0)
    data = f[:] if isinstance(f, mmap.mmap) else os.pread(f.fileno(), 100, 0)
    with open(there + "/got.part", "wb") as out:
        out.write(data)
    os.rename(there + "/got.part", there + "/got")
signal.signal(signal.SIGUSR2, do)
signal.signal(signal.SIGUSR1, get)
if os.path.exists("/srv/log"):
    held["/srv/log"] = open("/srv/log", "ab", buffering=0)
open(there + "/ready", "w").close()
while True:
    signal.pause()
END
chmod 755 "$dir/opener"

does() { # does HOW PATH: the program on A does that
	rm -f "$wdir/done"
	echo "$1 $2" >"$wdir/do"
	"$lab" run A kill -USR2 "$pid"
	until_true 30 '[ -e "$wdir/done" ]' || fail "the program does not $1 $2"
}

reads() { # reads HOST WANT: what the program reads there
	rm -f "$wdir/got"
	"$lab" run "$1" kill -USR1 "$pid" || fail "process $pid is not on host $1"
	until_true 30 '[ -e "$wdir/got" ]' || fail "the program on $1 does not read"
	[ "$(cat "$wdir/got")" = "$2" ] || fail "the program on $1 reads \"$(cat "$wdir/got")\", not \"$2\""
}

# held_at POINT HOW PATH [OPTION]...: haul waits at POINT while the program does that; sets $rc
held_at() {
	local point=$1 how=$2 path=$3 job
	shift 3
	rm -f "$fault" "$fault.over"
	"$lab" run A env HAUL_FAULT="$point:hold" HAUL_FAULT_FILE="$fault" "$haul" --mode=pre-copy "$@" "$pid" hostB \
		>"$dir/report" 2>"$dir/stderr" &
	job=$!
	until_true 60 '[ -s "$fault" ]' || fail "haul did not come to $point: $(cat "$dir/report" "$dir/stderr")"
	does "$how" "$path"
	touch "$fault.over"
	rm "$fault"
	rc=0
	wait "$job" || rc=$?
}

both() { "$lab" run A sh -c "$1"; "$lab" run B sh -c "$2"; }
both 'echo ours >/srv/data' 'echo thrs >/srv/data; touch -r /etc/hostname /srv/data'
both 'mkdir -p /srv/many' 'mkdir -p /srv/many'

for how in open map; do
	for point in s-prepared s-rounds-done; do
		# another content of the same size at B: refused by the second look, and by name
		start A "$dir/opener"
		held_at "$point" $how /srv/data
		[ $rc != 0 ] || fail "$how at $point: moved to where /srv/data differs"
		grep -q '/srv/data was opened or mapped after haul had looked' "$dir/stderr" || fail "$how at $point: $(cat "$dir/report" "$dir/stderr")"
		grep -q '/srv/data' <(grep -h 'differ\|another content' "$dir/report" "$dir/stderr") || fail "$how at $point: the second look: $(cat "$dir/report" "$dir/stderr")"
		reads A ours
		stop A
		# replaced where that is allowed; and shipped where it is missing
		start A "$dir/opener"
		held_at "$point" $how /srv/data --files=ship-differing
		[ $rc = 0 ] || fail "$how at $point, ship-differing: status $rc: $(cat "$dir/report" "$dir/stderr")"
		reads B ours
		stop B
		"$lab" run B rm /srv/data
		start A "$dir/opener"
		held_at "$point" $how /srv/data
		[ $rc = 0 ] || fail "$how at $point, missing: status $rc: $(cat "$dir/report" "$dir/stderr")"
		reads B ours
		stop B
		"$lab" run B sh -c 'echo thrs >/srv/data; touch -r /etc/hostname /srv/data'
		note "  $how at $point: $(grep -o 'trying again.*' "$dir/stderr" | head -1)"
	done
done

# a descriptor that waits in a queue is one that the program has open: compared, shipped; seen in time, or not moved
start A "$dir/opener"
does pass /srv/data
rc=0
"$lab" run A "$haul" --mode=pre-copy "$pid" hostB >"$dir/report" 2>&1 || rc=$?
[ $rc = 3 ] && grep -q '/srv/data has another content' "$dir/report" || fail "in a queue, another content: status $rc: $(cat "$dir/report")"
"$lab" run B rm /srv/data
move A --mode=pre-copy
reads B ours
stop B
"$lab" run B sh -c 'echo thrs >/srv/data; touch -r /etc/hostname /srv/data'
start A "$dir/opener"
held_at s-rounds-done pass /srv/data
[ $rc != 0 ] || fail "passed at s-rounds-done: moved to where /srv/data differs"
grep -q '/srv/data waits in the queue of a UNIX socket' "$dir/stderr" || fail "passed: $(cat "$dir/report" "$dir/stderr")"
grep -q '/srv/data has another content' "$dir/report" "$dir/stderr" || fail "passed: the second look: $(cat "$dir/report" "$dir/stderr")"
reads A ours
stop A
start A "$dir/opener"
does behind /srv/data
"$lab" run A "$haul" check "$pid" hostB >"$dir/report" 2>&1 || true
grep -q '1 descriptors wait in queues of UNIX sockets behind others' "$dir/report" || fail "behind another message: $(cat "$dir/report")"
rc=0
"$lab" run A "$haul" --mode=pre-copy "$pid" hostB >"$dir/report" 2>&1 || rc=$?
[ $rc != 0 ] && grep -q '/srv/data waits in the queue of a UNIX socket, and was not compared' "$dir/report" || fail "behind another message: status $rc: $(cat "$dir/report")"
reads A ours
stop A
note "  in the queue of a socket: compared, shipped, or not moved"

# the name of a log leads to a new file
both 'echo old >/srv/log' 'rm -f /srv/log'
start A "$dir/opener"
held_at s-rounds-done rotate /srv/log
[ $rc = 0 ] || fail "rotated: status $rc: $(cat "$dir/report" "$dir/stderr")"
grep -q 'trying again' "$dir/stderr" || fail "rotated, and not noticed: $(cat "$dir/stderr")"
[ "$("$lab" run B cat /srv/log)" = "first line of the new log" ] || fail "rotated: B has $("$lab" run B cat /srv/log)"
note "  a log that is rotated: $(grep -o 'trying again.*' "$dir/stderr" | head -1)"
stop B

# another working directory, another program: looked at again
both 'mkdir -p /srv/dir' 'touch /srv/dir'
start A "$dir/opener"
held_at s-rounds-done cwd /srv/dir
[ $rc != 0 ] || fail "a working directory that is a file at B: moved"
grep -q '/srv/dir was opened or mapped after' "$dir/stderr" || fail "another working directory: $(cat "$dir/report" "$dir/stderr")"
stop A
both true 'rm /srv/dir'
start A "$dir/opener"
held_at s-rounds-done cwd /srv/dir
[ $rc = 0 ] && [ "$("$lab" run B readlink "/proc/$pid/cwd")" = /srv/dir ] || fail "another working directory: status $rc: $(cat "$dir/report" "$dir/stderr")"
stop B
note "  another working directory: $(grep -o 'trying again.*' "$dir/stderr" | head -1)"
both 'cp /usr/bin/python3 /srv/python' 'cp /usr/bin/python3 /srv/python; printf x >>/srv/python'
start A "$dir/opener"
cp "$dir/opener" "$wdir/opener.py"
held_at s-rounds-done exec /srv/python
[ $rc != 0 ] || fail "another program, which differs at B: moved"
grep -q '/srv/python was opened or mapped after' "$dir/stderr" || fail "another program: $(cat "$dir/report" "$dir/stderr")"
stop A
note "  another program: $(grep -o 'trying again.*' "$dir/stderr" | head -1)"

# mapped, then without a name: what it had goes along
both 'echo ours >/srv/data' 'echo thrs >/srv/data'
start A "$dir/opener"
does map /srv/data
held_at s-rounds-done unlink /srv/data --files=ship-differing
[ $rc = 0 ] || { [ $rc = 3 ] && grep -q 'no longer the same file' "$dir/stderr"; } || fail "unlinked: status $rc: $(cat "$dir/report" "$dir/stderr")"
h=$([ $rc = 0 ] && echo B || echo A)
echo "map /srv/data" >"$wdir/do"
reads $h ours
note "  mapped, then unlinked: on $h"
stop $h

# a name that looks as if the file had lost it
both 'echo ours >"/srv/x (deleted)"' 'echo thrs >"/srv/x (deleted)"'
cat >"$dir/odd" <<'END'
#!/usr/bin/python3
import os, signal, sys
there = sys.argv[sys.argv.index("--dir") + 1]
f = open("/srv/x (deleted)", "rb")
open(there + "/ready", "w").close()
signal.pause()
END
chmod 755 "$dir/odd"
start A "$dir/odd"
rc=0
"$lab" run A "$haul" --mode=stop-copy "$pid" hostB >"$dir/report" 2>&1 || rc=$?
[ $rc = 3 ] && grep -q 'x (deleted) has another content' "$dir/report" || fail "a name that looks deleted: status $rc: $(cat "$dir/report")"
stop A
note "  a file called \"x (deleted)\": compared"

# the same file, with another content than was compared: at A, at B
for h in A B; do
	both 'echo same >/srv/data' 'echo same >/srv/data'
	start A "$dir/opener"
	does open /srv/data
	rm -f "$fault" "$fault.over"
	"$lab" run A env HAUL_FAULT="s-rounds-done:hold" HAUL_FAULT_FILE="$fault" "$haul" --mode=pre-copy "$pid" hostB \
		>"$dir/report" 2>"$dir/stderr" &
	job=$!
	until_true 60 '[ -s "$fault" ]' || fail "haul did not come to s-rounds-done: $(cat "$dir/report" "$dir/stderr")"
	"$lab" run $h sh -c 'echo thrs >/srv/data'
	touch "$fault.over"
	rm "$fault"
	rc=0
	wait $job || rc=$?
	[ $rc != 0 ] || fail "changed at $h after the comparison: moved"
	grep -q '/srv/data.*was changed' "$dir/stderr" || fail "changed at $h: $(cat "$dir/report" "$dir/stderr")"
	echo "open /srv/data" >"$wdir/do"
	reads A "$([ $h = A ] && echo thrs || echo same)"
	stop A
	note "  changed at $h after the comparison: $(grep 'was changed' "$dir/stderr" | head -1 | cut -c1-120)"
done

# it never holds still: given up after three looks, with the name, and it runs on
start A "$dir/opener"
does again /srv/many
rc=0
"$lab" run A "$haul" --mode=stop-copy "$pid" hostB >"$dir/report" 2>"$dir/stderr" || rc=$?
if [ $rc = 0 ]; then
	note "  NOT SHOWN: three looks in a row met no new file"
	stop B
else
	grep -q '/srv/many/[0-9]* ' "$dir/stderr" || fail "always another file: $(cat "$dir/report" "$dir/stderr")"
	[ "$(grep -c 'trying again' "$dir/stderr")" -le 2 ] || fail "tried too often: $(cat "$dir/stderr")"
	until_true 20 '"$lab" run A grep -q "^State:.*[SR] (" "/proc/$pid/status"' || fail "it does not run on A"
	note "  always another file: $(tail -2 "$dir/stderr" | head -1 | cut -c1-120)"
	stop A
fi
