#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-check - haul check for people: findings of one kind are one line, what stands in the way comes after the
# rest, the verdict last; --verbose and --json have all of them. The expected stop; remedies for namespaces.
. "$(dirname "$0")/lib.sh"
lab_up
[ -e /dev/loop-control ] || skip "needs /dev/loop-control, as a device that cannot move"

cat >"$dir/many" <<'END'
#!/usr/bin/env python3
import os, signal, sys
for n in range(30):
    f = open("/srv/gone%d" % n, "w")
    os.dup2(f.fileno(), 100 + n)
    f.close()
    os.unlink("/srv/gone%d" % n)
d = os.open("/dev/loop-control", os.O_RDWR)
for n in range(11):
    os.dup2(d, 200 + n)
open(sys.argv[2] + "/ready", "w").close()
signal.pause()
END
chmod 755 "$dir/many"
start A "$dir/many"

# check OPTION...: to $dir/check; status 3
check() {
	local rc=0
	"$lab" run A "$haul" check "$@" "$pid" hostB >"$dir/check" 2>&1 || rc=$?
	[ $rc = 3 ] || fail "haul check $*: status $rc: $(cat "$dir/check")"
}
# lines WORDS NUMBER: so many lines of the check have them
lines() { [ "$(grep -c -- "$1" "$dir/check")" = "$2" ] || fail "not $2 lines with '$1': $(cat "$dir/check")"; }

check
lines '  note     deleted-file ' 1
lines 'and 29 more of this kind' 1
lines '  BLOCKER ' 1
lines 'and 11 more of this kind' 1
tail -1 "$dir/check" | grep -q '^cannot be hauled' || fail "the verdict is not last: $(cat "$dir/check")"
grep -n 'BLOCKER\|  note  ' "$dir/check" | tail -1 | grep -q BLOCKER || fail "what stands in the way is not after the rest: $(cat "$dir/check")"
note "  $(wc -l <"$dir/check") lines for 42 descriptors"
check --verbose
lines '  note     deleted-file ' 30
lines '  BLOCKER ' 12
check --json
lines '"code":"deleted-file"' 30
stop A

note "the stop that is expected, and the limits"
start A "$work/pythreads.py"
"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || fail "haul check: $(cat "$dir/check")"
lines 'stop .* is expected to take about [0-9]* ms ([0-9]* processes, [0-9]* threads' 1
check --downtime-limit-ms=5 --downtime-max-ms=10
lines 'BLOCKER  stop .* which is more than --downtime-max-ms allows' 1
rc=0
"$lab" run A "$haul" --downtime-limit-ms=5 --downtime-max-ms=10 "$pid" hostB >"$dir/out" 2>&1 || rc=$?
[ $rc != 0 ] || fail "it was moved in spite of the limit: $(cat "$dir/out")"
stop A

note "remedies for a mount, UTS or cgroup namespace: followed, also where a hauld runs"
for space in m u C; do
	pid=$("$lab" spawn A "space-$space" unshare -$space sleep 100000)
	until_true 20 '"$lab" run A grep -q sleep "/proc/$pid/comm"' || fail "unshare -$space"
	check
	lines "nsenter -$space -t PID haul --agent=none PID HOST" 1
	"$lab" run A nsenter -$space -t "$pid" "$haul" check --agent=none "$pid" hostB >"$dir/check" 2>&1 || true
	maps=()
	if [ $space = m ]; then
		# descriptors from before it had that namespace
		lines 'BLOCKER  stray-fd ' 1
		lines '--map=fd:N=null' 1
		maps=(--map=fd:0=null --map=fd:1=null --map=fd:2=null)
	fi
	"$lab" run A env -u HAUL_AGENT nsenter -$space -t "$pid" "$haul" --agent=none "${maps[@]}" "$pid" hostB >"$dir/out" 2>&1 ||
		fail "the remedy does not help: $(cat "$dir/out")"
	gone A
	stop B
	note "  unshare -$space: moved"
done

note "locked memory that was never touched takes none there either"
cat >"$dir/locked" <<'END'
#!/usr/bin/env python3
import ctypes, mmap, resource, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
m = mmap.mmap(-1, 200 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
at = ctypes.addressof(ctypes.c_char.from_buffer(m))
if libc.syscall(325, ctypes.c_void_p(at), ctypes.c_size_t(200 << 20), 1):
    sys.exit("mlock2: %d" % ctypes.get_errno())
open(sys.argv[2] + "/ready", "w").close()
signal.pause()
END
chmod 755 "$dir/locked"
start A "$dir/locked"
"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || fail "haul check: $(cat "$dir/check")"
! grep -q locked-untouched "$dir/check" || fail "haul check warns of what is kept: $(cat "$dir/check")"
move A
"$lab" run B awk '/^VmRSS:/ { exit $2 > 102400 }' "/proc/$pid/status" || fail "it is in memory: $("$lab" run B grep Vm "/proc/$pid/status")"
