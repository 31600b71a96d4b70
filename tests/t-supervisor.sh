#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-supervisor - who would start a second copy, what is shared with a process outside, what an open
# would break: refused by name, and the program runs on; the remedies that are given work.
. "$(dirname "$0")/lib.sh"
lab_up

# refused CODE [OPTION]...: by check and move alike, with status 3, and the process runs on
refused() {
	local code=$1 status
	shift
	for c in check move; do
		status=0
		if [ $c = check ]; then
			"$lab" run A "$haul" check --json "$@" "$pid" >"$dir/out" 2>&1 || status=$?
		else
			"$lab" run A "$haul" --json "$@" "$pid" hostB >"$dir/out" 2>&1 || status=$?
		fi
		[ $status = 3 ] || fail "$c: status $status, not 3: $(cat "$dir/out")"
		grep -q "\"$code\"" "$dir/out" || fail "$c does not name $code: $(cat "$dir/out")"
		"$lab" run A grep -q '^State:.[SRD]' "/proc/$pid/status" || fail "$c: the process is not as it was"
		! "$lab" run B test -e "/proc/$pid" || fail "$c: there is a copy on B"
	done
	note "  $code is refused by check and move"
}
child_of() { "$lab" run A pgrep -P "$1"; }

# a loop starts its program again
loop=$("$lab" spawn A loop sh -c 'while :; do sleep 100000; done')
until_true 20 'child_of "$loop"' || fail "the loop starts nothing"
pid=$(child_of "$loop")
refused supervised
grep -q "pid $loop (sh)" "$dir/out" || fail "the parent is not named: $(cat "$dir/out")"
"$lab" run A "$haul" --supervisor=ignore "$pid" hostB >"$dir/out" 2>&1 || fail "--supervisor=ignore: $(cat "$dir/out")"
"$lab" run B grep -q '^State:.S' "/proc/$pid/status" || fail "it does not run on B"
until_true 20 'child_of "$loop"' || fail "the loop is no supervisor after all"
note "  --supervisor=ignore moves; the loop has started another one"
"$lab" run A kill -9 "$loop"

# the remedy: without a parent that waits
"$lab" spawn A alone sh -c 'setsid -f sleep 100001' >/dev/null
until_true 20 '"$lab" run A pgrep -f "sleep 100001"' || fail "nothing is started"
pid=$("$lab" run A pgrep -f 'sleep 100001')
"$lab" run A "$haul" "$pid" hostB >"$dir/out" 2>&1 || fail "setsid -f: $(cat "$dir/out")"
! grep -q supervised "$dir/out" || fail "a supervisor is named, and there is none: $(cat "$dir/out")"
note "  started by setsid -f it moves"

# one worker of a server that keeps two
cat >"$dir/prefork.py" <<'P'
import os, signal
kids = set()
while True:
    while len(kids) < 2:
        child = os.fork()
        if child == 0:
            while True:
                signal.pause()
        kids.add(child)
    kids.discard(os.wait()[0])
P
master=$("$lab" spawn A prefork python3 "$dir/prefork.py")
until_true 20 '[ "$(child_of "$master" | wc -l)" = 2 ]' || fail "the server starts no workers"
pid=$(child_of "$master" | head -1)
refused supervised
grep -q "keeps a number of workers" "$dir/out" && grep -q "haul $master HOST" "$dir/out" || fail "the server is not named: $(cat "$dir/out")"
pid=$master
"$lab" run A "$haul" "$pid" hostB >"$dir/out" 2>&1 || fail "the whole server: $(cat "$dir/out")"
[ "$("$lab" run B pgrep -cP "$master")" = 2 ] || fail "the server has not its workers on B"
"$lab" run B pkill -KILL -P "$master" || true
"$lab" run B kill -9 "$master"
note "  one worker is refused, the whole server moves"

# a parent and a child with shared memory: each alone, and both
cat >"$dir/pair.py" <<'P'
import mmap, os, sys, time
m = mmap.mmap(-1, 4096)
m[0] = 1
child = os.fork()
while True:
    time.sleep(0.05)
    if child:
        m[1] = m[0]
    else:
        m[0] = m[0] % 100 + 1
    open(sys.argv[1] + (".parent" if child else ".child"), "w").write(str(m[1]))
P
parent=$("$lab" spawn A pair python3 "$dir/pair.py" "$dir/pair")
until_true 20 'test -s "$dir/pair.child"' || fail "the pair does not start"
pid=$(child_of "$parent")
refused shared-outside --supervisor=ignore
grep -q "pid $parent (python3)" "$dir/out" || fail "the other process is not named: $(cat "$dir/out")"
pid=$parent
"$lab" run A "$haul" "$pid" hostB >"$dir/out" 2>&1 || fail "the tree of both: $(cat "$dir/out")"
before=$(cat "$dir/pair.child")
until_true 60 'now=$(cat "$dir/pair.child"); [ -n "$now" ] && [ "$now" != "$before" ]' || fail "the pair does not share its memory on B"
note "  the remedy, the tree of both, moves"

# a lease: an open of the file would end its holder
cat >"$dir/lease.py" <<'P'
import fcntl, mmap, sys, time
f = open(sys.argv[1], "w+")
f.truncate(4096)
m = mmap.mmap(f.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ)
fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
open(sys.argv[1] + ".ready", "w").write("1")
time.sleep(100000)
P
pid=$("$lab" spawn A lease python3 "$dir/lease.py" "$dir/leased")
until_true 20 'test -s "$dir/leased.ready"' || fail "no lease"
refused lease
status=0
"$lab" run A "$haul" check "$pid" hostB >"$dir/out" 2>&1 || status=$?
[ $status = 3 ] || fail "check with a host: status $status: $(cat "$dir/out")"
"$lab" run A grep -q '^State:.S' "/proc/$pid/status" || fail "check with a host ended the holder of a lease"
note "  check with a host leaves the lease alone"
echo ok
