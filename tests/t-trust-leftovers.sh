#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-leftovers - what a failed migration made ends: tasks of a restore that hangs, also when its worker is
# killed; a copy that waits for pages of a source that is gone, when the host shuts down; a migration that the
# operator has resolved is not listed as unresolved; of a copy that is dead haul does not say that it is stopped.
. "$(dirname "$0")/lib.sh"
lab_up

# A lock on a file that B has, too: there a process has an OFD lock on it, which belongs to no process, so that
# haul does not see it beforehand. The copy on B waits for it.
for h in A B; do "$lab" run $h sh -c 'echo one >/srv/lock'; done
"$lab" spawn B holder python3 -c 'import fcntl, signal, struct
f = open("/srv/lock", "r+")
fcntl.fcntl(f, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
signal.pause()' >/dev/null
until_true 20 '"$lab" run B grep -q OFDLCK /proc/locks' || fail "no lock on B"
cat >"$dir/locker" <<'END'
#!/usr/bin/env python3
import fcntl, os, signal, sys
there = sys.argv[sys.argv.index("--dir") + 1]
f = open("/srv/lock")
fcntl.lockf(f, fcntl.LOCK_SH)
signal.signal(signal.SIGUSR2, lambda number, frame: fcntl.lockf(f, fcntl.LOCK_UN))
if os.fork():
    open(there + "/ready", "w").close()
while True:
    signal.pause()
END
chmod 755 "$dir/locker"

# waits_in_lock: a task that CRIU has made on B waits for the lock
waits_in_lock() { "$lab" run B sh -c "cat /proc/$pid/wchan /proc/$pid/stack 2>/dev/null | grep -q 'fcntl_setlk\|posix_lock\|do_lock_file_wait'"; }
# clean HOST: nothing of CRIU and no task of the tree is there
clean() { ! "$lab" run "$1" pgrep -x criu && ! "$lab" run "$1" test -e "/proc/$pid" && ! "$lab" run "$1" test -e "/proc/$child"; }
begin_hanging() {
	: >"$dir/hauld.B.log"
	"$lab" run A "$haul" --mode=stop-copy --freeze-limit-ms=8000 "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
	job=$!
	until_true 60 waits_in_lock || fail "the restore does not hang: $(cat "$dir/report" "$dir/stderr")"
}
undone() {
	local rc=0
	wait "$job" || rc=$?
	[ $rc != 0 ] || fail "haul says that all is well: $(cat "$dir/report")"
	until_true 20 '"$lab" run A grep -q "^State:.*[SR] (" "/proc/$pid/status"' || fail "the program does not run on A"
}

start A "$dir/locker"
child=$("$lab" run A pgrep -P "$pid")
begin_hanging
undone
grep -q 'longer than freeze-limit-ms, 8000 ms' "$dir/report" "$dir/stderr" || fail "the limit is not named: $(cat "$dir/report" "$dir/stderr")"
until_true 20 'clean B' || fail "left on B: $("$lab" run B ps -ef)"
grep -q 'made by the restore.*: killed' "$dir/hauld.B.log" || fail "not said: $(cat "$dir/hauld.B.log")"
note "  a restore that hangs is given up: $(grep -o 'made by the restore[^"]*' "$dir/hauld.B.log" | head -1)"

begin_hanging
worker=$(grep -m1 -oE 'worker=[0-9]+' "$dir/hauld.B.log" | tail -1 | cut -d= -f2)
"$lab" run B kill -KILL "$worker"
undone
until_true 30 'clean B' || fail "left on B when the worker was killed: $("$lab" run B ps -ef)"
note "  the worker of a restore that hangs is killed: nothing is left"

begin_hanging
"$lab" run B pkill -KILL -x criu
undone
until_true 20 'clean B' || fail "left on B when CRIU was killed: $("$lab" run B ps -ef)"
note "  CRIU is killed while its tasks hang: nothing is left"

# the pids are free again: the rightful move works
"$lab" run A kill -USR2 "$pid"
works 0.2
move A --mode=stop-copy
"$lab" run B test -e "/proc/$pid" || fail "not moved"
stop B
"$lab" run B kill -KILL "$child" 2>/dev/null || true

note "the source is lost in post-copy, and the destination shuts down"
cat >"$dir/stubborn" <<'END'
#!/usr/bin/env python3
import os, signal, sys
data = bytearray(os.urandom(48 << 20))
signal.signal(signal.SIGTERM, lambda number, frame: None)
open(sys.argv[sys.argv.index("--dir") + 1] + "/ready", "w").close()
while True:
    for i in range(0, len(data), 4096):
        data[i] = 1
END
chmod 755 "$dir/stubborn"
"$lab" rate 20mbit
start A "$dir/stubborn"
"$lab" run A setsid "$haul" --json --mode=post-copy --link-limit-s=1 "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
until_true 120 'grep -q "\"event\":\"running\"" "$dir/report"' || fail "does not run on B: $(cat "$dir/report" "$dir/stderr")"
worker=$(grep -oE 'worker=[0-9]+' "$dir/hauld.B.log" | tail -1 | cut -d= -f2)
"$lab" run A pkill -KILL -x haul || fail "haul had ended"
works 1
"$lab" run B test -e "/proc/$pid" || fail "the copy on B did not wait"
"$lab" run B kill -TERM "$worker" "$pid"
until_true 40 '! "$lab" run B test -e "/proc/$pid" && ! "$lab" run B test -e "/proc/$worker" && ! "$lab" run B pgrep -x haul-guard' ||
	fail "a shutdown of B would be delayed: $("$lab" run B ps -ef)"
grep -q 'told to end while the source is away' "$dir/hauld.B.log" || fail "not said: $(tail -5 "$dir/hauld.B.log")"
"$lab" rate off
note "  the copy that could not go on was ended"

note "what is said is looked at first"
rc=0
"$lab" run A "$haul" recover >"$dir/said" 2>&1 || rc=$?
[ $rc = 4 ] || fail "haul recover: status $rc, not 4: $(cat "$dir/said")"
grep -q "The stopped copy on this host (pid $pid) is the last one" "$dir/said" || fail "of a copy that is stopped: $(cat "$dir/said")"
"$lab" run A kill -KILL "$pid"
id=$("$lab" run A sh -c 'ls /run/haul/journal/source-*')
id=${id##*-}
rc=0
"$lab" run A "$haul" recover >"$dir/said" 2>&1 || rc=$?
! grep -q 'is the last one\|stays stopped' "$dir/said" || fail "said of a copy that is dead: $(cat "$dir/said")"
note "  of a copy that was killed: $(head -1 "$dir/said")"
"$lab" run A "$haul" resolve -y "$id" --drop-here >"$dir/said" 2>&1 || true


# killed while haul uses it, before all pages were read
"$lab" rate 20mbit
start A "$dir/stubborn"
"$lab" run A "$haul" --json --mode=post-copy --link-limit-s=1 "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
job=$!
until_true 120 'grep -q "\"event\":\"running\"" "$dir/report"' || fail "does not run on B: $(cat "$dir/report" "$dir/stderr")"
"$lab" run A kill -KILL "$pid"
rc=0
wait "$job" || rc=$?
"$lab" rate off
[ $rc = 4 ] || fail "the stopped copy was killed: haul ended with $rc, not 4: $(tail -3 "$dir/report" "$dir/stderr")"
grep -q 'The copy on this host (pid .*) is dead' "$dir/stderr" || fail "said of a copy that is dead: $(cat "$dir/stderr")"
! grep -q 'stays stopped' "$dir/stderr" || fail "said of a copy that is dead: $(cat "$dir/stderr")"
note "  of one that was killed in post-copy: $(grep -o 'The copy on this host.*' "$dir/stderr")"
stop B
"$lab" run A "$haul" recover >"$dir/said" 2>&1 || fail "haul recover: $(cat "$dir/said")"

note "haul ls"
"$lab" rate 20mbit
start A "$dir/stubborn"
"$lab" run A env -u HAUL_AGENT "$haul" --mode=post-copy --link-limit-s=20 "$pid" hostB >"$dir/said" 2>&1 &
job=$!
until_true 120 'grep -q "running at hostB" "$dir/said"' || fail "does not run on B: $(cat "$dir/said")"
"$lab" run B kill -KILL "$pid"
"$lab" rate off
rc=0
wait "$job" || rc=$?
[ $rc = 4 ] || fail "by hauld: status $rc, not 4: $(cat "$dir/said")"
lists() { "$lab" run A env -u HAUL_AGENT "$haul" ls 2>&1 | grep -w "$pid" >"$dir/said"; }
until_true 20 'lists; grep -q unresolved "$dir/said"' || fail "haul ls: $(cat "$dir/said")"
id=$("$lab" run A sh -c 'ls /run/haul/journal/source-*')
"$lab" run A "$haul" resolve -y "${id##*-}" --keep-here >"$dir/out" 2>&1 || fail "resolve: $(cat "$dir/out")"
until_true 20 'lists; ! grep -q unresolved "$dir/said"' || fail "haul ls for good: $(cat "$dir/said")"
grep -q failed "$dir/said" || fail "resumed on A, but haul ls says: $(cat "$dir/said")"
note "  resolved: $(tr -s ' ' <"$dir/said")"
stop A
