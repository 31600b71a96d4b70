#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-signals - a signal that comes while the program is stopped is never lost in silence: before the
# commit the move is undone and the program gets it; after it haul says so. A killed program stays dead.
. "$(dirname "$0")/lib.sh"
lab_up

cat >"$dir/catcher" <<'EOF'
#!/usr/bin/env python3
import signal, sys
there = sys.argv[sys.argv.index("--dir") + 1]
def got(number, frame):
    with open(there + "/got", "a") as f:
        f.write(f"{number}\n")
for s in (signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN + 3):
    signal.signal(s, got)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
# its own timer must not count as a signal that another process sends
signal.signal(signal.SIGALRM, lambda number, frame: None)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
open(there + "/ready", "w").close()
while True:
    signal.pause()
EOF
chmod 755 "$dir/catcher"

# sent_at POINT SIGNAL...: haul waits at POINT while the signals are sent to the program on A; sets $status
sent_at() {
	local point=$1 s job
	shift
	rm -f "$dir/fault" "$dir/fault.over"
	"$lab" run A env HAUL_FAULT="$point:hold" HAUL_FAULT_FILE="$dir/fault" "$haul" --mode=stop-copy --freeze-limit-ms=60000 \
		"$pid" hostB >"$dir/report" 2>"$dir/stderr" &
	job=$!
	until_true 60 '[ -s "$dir/fault" ]' || fail "haul did not come to $point: $(cat "$dir/stderr")"
	for s; do
		"$lab" run A kill -"$s" "$pid" || fail "$point: cannot send $s"
	done
	touch "$dir/fault.over"
	rm "$dir/fault"
	status=0
	wait "$job" || status=$?
}

runs_on() { "$lab" run "$1" grep -q '^State:.*[SR] (' "/proc/$pid/status"; }
alive_on() { "$lab" run "$1" bash -c '[ -e /proc/$1/stat ] && ! grep -q "^State:.*Z" /proc/$1/status' - "$pid"; }

# 1. before the commit: undone, and the program has it here
for point in s-dumped s-held-recorded s-placed-heard s-restored-heard s-commit-recorded; do
	start A "$dir/catcher"
	sent_at "$point" TERM
	[ "$status" = 1 ] || fail "SIGTERM at $point: haul ended with $status, not 1: $(cat "$dir/stderr")"
	grep -q "signal 15 .* was sent to process $pid while it was stopped" "$dir/stderr" || fail "$point: $(cat "$dir/stderr")"
	until_true 20 'grep -qx 15 "$wdir/got"' || fail "SIGTERM at $point did not reach the program on A"
	until_true 20 'runs_on A' || fail "SIGTERM at $point: the program does not run on A"
	! alive_on B || fail "SIGTERM at $point: a copy is on B"
	note "  SIGTERM at $point: undone, delivered on A"
	stop A
done

# 2. two siblings: a real-time signal, and one that is saved because CRIU has not dumped yet
start A "$dir/catcher"
sent_at s-restored-heard "$(($(kill -l SIGRTMIN) + 3))"
[ "$status" = 1 ] || fail "a real-time signal: haul ended with $status: $(cat "$dir/stderr")"
until_true 20 '[ -s "$wdir/got" ]' || fail "the real-time signal did not reach the program on A"
sent_at s-stopped USR1
[ "$status" = 0 ] || fail "SIGUSR1 before the dump: haul ended with $status: $(cat "$dir/stderr")"
until_true 20 'grep -qx 10 "$wdir/got"' || fail "SIGUSR1 before the dump was lost"
runs_on B || fail "SIGUSR1 before the dump: the program does not run on B"
note "  a real-time signal: undone; SIGUSR1 before the dump: delivered on B"
stop B

# 3. what means nothing to the program does not undo a move
start A "$dir/catcher"
sent_at s-restored-heard HUP WINCH URG
[ "$status" = 0 ] || fail "ignored signals: haul ended with $status: $(cat "$dir/stderr")"
runs_on B || fail "ignored signals: the program does not run on B"
note "  ignored signals: moved"
stop B

# 4. after the commit: moved, and said
start A "$dir/catcher"
sent_at s-commit-sent TERM
[ "$status" = 0 ] || fail "SIGTERM after the commit: haul ended with $status: $(cat "$dir/stderr")"
grep -q "signal 15 .* was sent to the stopped copy of process $pid" "$dir/stderr" || fail "SIGTERM after the commit was lost in silence: $(cat "$dir/stderr")"
runs_on B || fail "SIGTERM after the commit: the program does not run on B"
note "  SIGTERM after the commit: said"
stop B

# 5. killed before the commit: dead, and never at B
for point in s-dumped s-placed-heard s-restored-heard s-commit-recorded; do
	start A "$dir/catcher"
	sent_at "$point" KILL
	[ "$status" = 1 ] || fail "SIGKILL at $point: haul ended with $status, not 1: $(cat "$dir/stderr")"
	until_true 20 '! alive_on A && ! alive_on B' || fail "SIGKILL at $point: a copy lives"
	note "  SIGKILL at $point: dead on both hosts"
done

# 6. killed after it: the copy that was handed over runs, and haul says what was killed
start A "$dir/catcher"
sent_at s-commit-sent KILL
[ "$status" = 0 ] || fail "SIGKILL after the commit: haul ended with $status: $(cat "$dir/stderr")"
grep -q "stopped copy of process $pid was killed" "$dir/stderr" || fail "SIGKILL after the commit was not said: $(cat "$dir/stderr")"
runs_on B || fail "SIGKILL after the commit: the program does not run on B"
note "  SIGKILL after the commit: said"
stop B
