#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-land - haul run and haul land: whoever starts a command sees one program, on whichever host it is: its
# output, its exit status, its end by a signal; never a second one, and never a crash that was a move.
. "$(dirname "$0")/lib.sh"
. "$top/tests/lib-land.sh"
lab_up
# ---- without a move it is as if the program had been started itself ----
run_clerk A plain k
echo one >"$dir/plain.in"
has plain.out '^heard one$'
tell A USR1 plain
has plain.out '^signal 10$'
tell A TERM plain
ends plain 7
whole out "$dir/plain.out"
whole err "$dir/plain.err"
run_clerk A plain k
tell A QUIT plain
ends plain -3
"$lab" run A "$haul" run --as=k -- /nowhere/x 2>"$dir/err" && fail "a program that is not there has started"
[ $? = 127 ] || fail "not found: status $?"
"$lab" run A sh -c "ulimit -n 777; exec '$haul' run --as=k -- sh -c 'ulimit -n'" >"$dir/limit"
[ "$(cat "$dir/limit")" = 777 ] || fail "the program has another limit of files: $(cat "$dir/limit")"
run_clerk A plain k
tell A KILL plain
ends plain -9
until_true 30 '! "$lab" run A test -e "/proc/$pid"' || fail "the program survives its caller"
note "  without a move: output, input, signals, exit status, limits, kill -9"

# ---- there and back ----
run_clerk A run k
echo before >"$dir/run.in"
has run.out '^heard before$'
"$lab" run A "$haul" check --json --as=k "$pid" hostB >"$dir/check" 2>&1 && fail "nobody has landed"
grep -q no-berth "$dir/check" || fail "check: $(cat "$dir/check")"
land B there k
move A --as=k
ends run 0
echo after >"$dir/there.in"
has there.out '^heard after$'
tell B USR1 there
has there.out '^signal 10$'
until_true 5 '[ "$(parent B)" != 1 ]' || fail "the program is a child of init"
"$lab" run B sh -c "cat /proc/$(cat "$dir/there.pid")/cgroup" >"$dir/c1"
"$lab" run B sh -c "cat /proc/$pid/cgroup" >"$dir/c2"
cmp -s "$dir/c1" "$dir/c2" || fail "the program is not in its caller's cgroup: $(cat "$dir/c2")"
land A back k
move B --as=k
ends there 0
tell A TERM back
ends back 7
whole out "$dir/run.out" "$dir/there.out" "$dir/back.out"
whole err "$dir/run.err" "$dir/there.err" "$dir/back.err"
note "  there and back: each line once, exit status 7"

# ---- input that was not read, output that nobody read ----
cat >"$dir/slow.py" <<'END'
import os, signal, sys, time
go = []
signal.signal(signal.SIGUSR1, lambda *_: go.append(1))
open(sys.argv[1], "w").write("%d" % os.getpid())
while not go:
    time.sleep(0.02)
n = 0
while n < 3000:
    n += len(os.read(0, 65536))
print("read", n, flush=True)
time.sleep(0.1)
END
land B there k
rm -f "$dir/ready"
caller A run "$haul" run --as=k -- python3 "$dir/slow.py" "$dir/ready"
until_true 30 '[ -s "$dir/ready" ]' || fail "slow.py does not start"
pid=$(cat "$dir/ready")
head -c 2000 /dev/zero >"$dir/run.in"
until_true 30 '[ "$(python3 -c "import fcntl, termios, struct, sys; print(struct.unpack(\"i\", fcntl.ioctl(open(\"/proc/$("$lab" pid A $pid)/fd/0\"), termios.FIONREAD, b\"    \"))[0])")" = 2000 ]' ||
	fail "the input does not reach the program's pipe"
move A --as=k
head -c 1000 /dev/zero >"$dir/there.in"
tell B USR1 there
has there.out '^read 3000$'
ends run 0
ends there 0
note "  input that had not been read is read there, before what arrives later"

# ---- given away by the stop signal ----
land B there k
run_clerk A run k --give-on=TERM --away-status=42 --to=hostB
tell A TERM run
ends run 42
tell B TERM there
ends there 7
! grep -q '^signal' "$dir/run.out" || fail "the signal reached the program"
whole out "$dir/run.out" "$dir/there.out"
whole err "$dir/run.err" "$dir/there.err"
note "  the stop signal gives it to who has landed"

# the caller stops before it starts elsewhere: parked until then
run_clerk A run k --give-on=TERM --park-s=60 --to=hostB
tell A TERM run
ends run 0
works 0.5
"$lab" run A kill -0 "$pid" || fail "the parked program has ended"
land B there k
until_true 30 '"$lab" run B test -e /proc/$pid' || fail "nobody has brought the parked program"
until_true 30 '! "$lab" run A test -e /proc/$pid' || fail "a copy stays"
tell B TERM there
ends there 7
whole out "$dir/run.out" "$dir/there.out"
note "  parked, and taken by who lands later: what it wrote meanwhile is there"

# nobody comes: the stop signal after all, within the caller's sight, or parked
run_clerk A run k --give-on=TERM --park-s=0 --to=hostB
tell A TERM run
ends run 7
has run.out '^signal 15$'
run_clerk A run k --give-on=TERM --park-s=2 --to=hostB
tell A TERM run
ends run 0
until_true 30 '! "$lab" run A test -e /proc/$pid' || fail "the parked program never gets the signal"
note "  nobody takes it: it gets the stop signal"

# ---- two landings under one key ----
land B there k
caller B twice "$haul" land --as=k
ends twice 1
grep -q 'has landed under k already' "$dir/twice.err" || fail "twice: $(cat "$dir/twice.err")"
run_clerk A run k
move A --as=k
ends run 0
first=$pid
caller B twice "$haul" land --as=k
ends twice 1
run_clerk A run k
"$lab" run A "$haul" --as=k "$pid" hostB >"$dir/out" 2>&1 && fail "two programs under one key"
grep -q 'has a program (pid' "$dir/out" || fail "not refused by name: $(cat "$dir/out")"
tell A KILL run
ends run -9
"$lab" run B kill -0 "$first"
tell B KILL there
ends there -9
until_true 30 '! "$lab" run B test -e /proc/$first' || fail "it survives its caller"
note "  a key has one place on a host"

# ---- one that starts it again whenever it ends, wherever it waits: never a second copy ----
loop() {
	"$lab" spawn "$1" "loop-$1" sh -c 'while :; do "$@" </dev/null >>"$0" 2>&1; s=$?; echo "$s" >>"$0.ends"; [ $s = 42 ] && exit; done' "$dir/loop.$1" "${@:2}" >/dev/null
}
rm -f "$dir/ready"
loop A "$haul" run --as=k --away-status=42 -- setarch -R "$clerk" "$dir/ready"
until_true 30 '[ -s "$dir/ready" ]' || fail "the loop starts nothing"
pid=$(cat "$dir/ready")
loop B "$haul" land --as=k --away-status=42
until_true 30 '"$lab" run B grep -q haul/land/k/ /proc/net/unix' || fail "the loop does not land"
move A --as=k
until_true 30 '[ "$(cat "$dir/loop.A.ends")" = 42 ]' || fail "the loop at A: $(cat "$dir/loop.A.ends")"
[ "$(cat "$dir/ready")" = "$pid" ] || fail "the loop has started a second copy"
"$lab" run B kill -0 "$pid"
# what a thread can only set itself, the root of such a tree gets when it runs
until_true 30 '"$lab" run B grep -q 00040000 "/proc/$pid/personality"' || fail "its personality is lost"
"$lab" run B kill -TERM "$pid"
until_true 30 '[ "$(head -1 "$dir/loop.B.ends")" = 7 ]' || fail "the loop at B sees $(cat "$dir/loop.B.ends")"
whole out "$dir/loop.A" "$dir/loop.B"
"$lab" run B pkill -f 'haul land' || true
until_true 30 '! "$lab" run B grep -q haul/land/k/ /proc/net/unix' || fail "the loop's haul land does not end"
note "  a loop: one copy, and the loop there sees the status"

# ---- a user's program, moved by the hauld of its host ----
chmod 777 "$dir"
rm -f "$dir/ready"
caller A run setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/ HAUL_AGENT=local "$haul" run --as=k --give-on=TERM --park-s=0 --to=hostB -- "$clerk" "$dir/ready"
until_true 30 '[ -s "$dir/ready" ]' || fail "a user's program does not start: $(cat "$dir/run.err")"
pid=$(cat "$dir/ready")
land B there k
"$lab" run A setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/ HAUL_AGENT=local "$haul" --as=k "$pid" hostB >"$dir/out" 2>&1 && fail "a user takes the place of root's haul land"
grep -q 'does not take what user 65534 moves' "$dir/out" || fail "not refused by name: $(cat "$dir/out")"
tell B INT there
ends there -2
land B there k --owner=65534
tell A TERM run
ends run 0
until_true 30 '"$lab" run B test -e "/proc/$pid"' || fail "it is not at B"
"$lab" run B grep -q '^Uid:.65534' "/proc/$pid/status" || fail "it is another user's there"
tell B TERM there
ends there 7
whole out "$dir/run.out" "$dir/there.out"
note "  a user's program, by hauld, to a haul land for that user only"
