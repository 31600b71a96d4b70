#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-ipc - python's multiprocessing by spawn and forkserver, named semaphores, files that have lost the name by
# which they were opened but have another one: there and back, nothing left where they were; POSIX message
# queues are refused by name, and no option closes them.
. "$(dirname "$0")/lib.sh"
lab_up

left() { "$lab" run "$1" sh -c 'ls /dev/shm /srv/kept 2>/dev/null' | grep -v -e '^$' -e ':$' || true; }

for how in spawn forkserver; do
	start A "$work/kept_ipc.py" --how $how --files /srv/kept
	verify A
	for m in auto post-copy; do
		for h in A B; do
			move $h --mode=$m --files=ship-differing
			to=$(other $h)
			verify "$to"
			! "$lab" run "$h" ls /dev/shm | grep . || fail "left in /dev/shm of $h"
			! left "$to" | grep -q deleted || fail "on $to: $(left "$to")"
			note "  $how, $m to $to: downtime $(($(field downtime_us) / 1000)) ms"
		done
	done
	rc=0
	"$lab" run A env HAUL_FAULT=s-restored-heard:int "$haul" --files=ship-differing "$pid" hostB >"$dir/report" 2>"$dir/stderr" || rc=$?
	[ $rc != 0 ] || fail "the move was not undone: $(cat "$dir/report")"
	verify A
	! left A | grep -q deleted || fail "after an undo: $(left A)"
	"$lab" run A pkill -KILL -f kept_ipc.py || true
	"$lab" run A pkill -KILL -f multiprocessing || true
	for h in A B; do "$lab" run $h sh -c 'rm -rf /srv/kept /dev/shm/*'; done
done

note "POSIX message queues"
cat >"$dir/queue" <<'END'
#!/usr/bin/env python3
import ctypes, os, signal, sys
q = ctypes.CDLL(None).mq_open(b"/kept", os.O_RDWR | os.O_CREAT, 0o600, None)
open(sys.argv[2] + "/ready", "w").close()
signal.pause()
END
chmod 755 "$dir/queue"
start A "$dir/queue"
for option in "" --stray=close; do
	rc=0
	# shellcheck disable=SC2086	# none, or one
	"$lab" run A "$haul" check $option "$pid" hostB >"$dir/check" 2>&1 || rc=$?
	[ $rc = 3 ] && grep -q 'is the POSIX message queue /kept, which CRIU cannot dump' "$dir/check" ||
		fail "haul check $option: status $rc: $(cat "$dir/check")"
done
