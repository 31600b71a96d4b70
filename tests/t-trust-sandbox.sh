#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-sandbox - no program runs at the destination without a restriction that it has put upon itself: what can be
# set there is the same there and back (t-kept.sh), the rest is refused by name, also what it does while it is moved.
. "$(dirname "$0")/lib.sh"
lab_up
fault=$dir/fault

# Its arguments: DIR HOW...; it does each, or at SIGUSR2 if HOW begins with "later-"; DIR/did says the results. SIGUSR1:
# DIR/works says that the restrictions hold.
cat >"$dir/boxed" <<'END'
import ctypes, mmap, os, signal, sys, threading
there, hows = sys.argv[1], sys.argv[2:]
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
def landlock():
    attr = (ctypes.c_uint64 * 1)(1 << 9)
    fd = libc.syscall(444, attr, 8, 0)
    libc.prctl(38, 1, 0, 0, 0)
    r = libc.syscall(446, fd, 0)
    os.close(fd)
    return r
def in_thread():
    results, go_on = [], threading.Event()
    def run():
        results.append(landlock())
        go_on.set()
        threading.Event().wait()
    threading.Thread(target=run, daemon=True).start()
    go_on.wait()
    return results[0]
def pages():
    return ctypes.c_void_p(libc.mmap(None, 8192, 3, 0x22, -1, 0))
one = ctypes.c_ulong(1)
ways = {
    "landlock": landlock,
    "thread": in_thread,
    "mdwe": lambda: libc.prctl(65, 1, 0, 0, 0),
    "mseal": lambda: libc.syscall(462, pages(), ctypes.c_ulong(8192), 0),
    "mbind": lambda: libc.syscall(237, pages(), ctypes.c_ulong(8192), 2, ctypes.byref(one), ctypes.c_ulong(64), 0),
    "policy": lambda: libc.syscall(238, 1, ctypes.byref(one), ctypes.c_ulong(64)),
    "dispatch": lambda: libc.prctl(59, 1, 0, 0, ctypes.byref(ctypes.c_byte(0))),  # PR_SET_SYSCALL_USER_DISPATCH
    "nothing": lambda: 0,
}
def do(prefix):
    with open(there + "/part", "w") as f:
        f.write(" ".join(str(ways[h[len(prefix):]]()) for h in hows if h.startswith(prefix) and h[len(prefix):] in ways))
    os.rename(there + "/part", there + "/did" + prefix)
signal.signal(signal.SIGUSR2, lambda *_: do("later-"))
signal.signal(signal.SIGUSR1, lambda *_: open(there + "/alive", "w").close())
do("")
while True:
    signal.pause()
END

boxed() { # boxed HOW...
	wdir=$dir/b.$RANDOM
	mkdir "$wdir"
	pid=$("$lab" spawn A "$(basename "$wdir")" /usr/bin/python3 "$dir/boxed" "$wdir" "$@")
	until_true 60 '[ -e "$wdir/did" ]' || fail "$*: $(cat "$("$lab" log "$(basename "$wdir")")")"
}

alive() { # alive HOST
	rm -f "$wdir/alive"
	"$lab" run "$1" kill -USR1 "$pid" || fail "process $pid is not on host $1"
	until_true 60 '[ -e "$wdir/alive" ]' || fail "it does not run on $1"
}

# refused CODE WORDS HOW...: by haul check and by the move, before it is stopped
refused() {
	local code=$1 words=$2 c
	shift 2
	boxed "$@"
	grep -qE '^(0 ?)*$' "$wdir/did" || { note "  this kernel has no $*"; "$lab" run A kill -9 "$pid"; return 0; }
	for c in check --mode=stop-copy; do
		"$lab" run A "$haul" $c "$pid" hostB >"$dir/out" 2>&1 && fail "$*: haul $c takes it"
		grep -q "$code" "$dir/out" && grep -q "$words" "$dir/out" || fail "$*: not said by haul $c: $(cat "$dir/out")"
		! grep -q 'stopped for' "$dir/out" || fail "$*: it was stopped: $(cat "$dir/out")"
	done
	alive A
	stop A
}

"$lab" run A "$haul" -v check 1 2>&1 | grep -q 'does not tell of sandboxes' && skip "no BPF iterators here"
note "refused by name: Landlock, of a thread, of a child; MDWE; sealed memory; dispatch of system calls"
refused landlock 'restricted itself with Landlock' landlock
refused landlock 'restricted itself with Landlock' thread
refused mdwe 'PR_SET_MDWE' mdwe
refused sealed 'is sealed (mseal(2))' mseal
refused syscall-dispatch 'PR_SET_SYSCALL_USER_DISPATCH' dispatch

note "memory policies: named"
for how in mbind policy; do
	boxed $how
	[ "$(cat "$wdir/did")" = 0 ] || { note "  no NUMA here"; continue; }
	"$lab" run A "$haul" check "$pid" hostB >"$dir/out" 2>&1 || fail "$how: $(cat "$dir/out")"
	grep -q 'memory-policy' "$dir/out" || fail "$how is not named: $(cat "$dir/out")"
	stop A
done

note "a restriction that comes while the program is moved: undone"
for how in landlock mdwe mseal; do
	boxed later-$how
	rm -f "$fault" "$fault.over"
	"$lab" run A env HAUL_FAULT=s-rounds-done:hold HAUL_FAULT_FILE="$fault" "$haul" --mode=pre-copy "$pid" hostB >"$dir/out" 2>&1 &
	job=$!
	until_true 60 '[ -s "$fault" ]' || fail "haul did not come to the point: $(cat "$dir/out")"
	"$lab" run A kill -USR2 "$pid"
	until_true 60 '[ -e "$wdir/didlater-" ]' || fail "it does not do $how"
	touch "$fault.over"
	rm "$fault"
	rc=0
	wait $job || rc=$?
	[ $rc = 3 ] || fail "$how: status $rc: $(cat "$dir/out")"
	grep -q 'a restriction upon itself' "$dir/out" || fail "$how: $(cat "$dir/out")"
	alive A
	stop A
done

note "no restriction: it moves"
boxed nothing
move A --mode=stop-copy
alive B
stop B
