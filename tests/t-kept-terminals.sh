#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-terminals - terminals whose both ends are in the tree: a program with a shell (what waits in both directions,
# size, modes, session, job control), script(1), tmux; also when the number of the terminal is taken at the
# destination, and after a move that was undone. A parent that is told when its children stop.
. "$(dirname "$0")/lib.sh"
lab_up

for mode in auto post-copy; do
	start A "$work/terminal.py"
	verify A
	for h in A B; do
		move $h --mode=$mode
		verify "$(other $h)"
		note "  $mode to $(other $h): downtime $(($(field downtime_us) / 1000)) ms"
	done
	stop A
done

note "undone at the gate"
start A "$work/terminal.py"
rc=0
"$lab" run A env HAUL_FAULT=s-restored-heard:int "$haul" "$pid" hostB >"$dir/report" 2>"$dir/stderr" || rc=$?
[ $rc != 0 ] || fail "the move was not undone: $(cat "$dir/report")"
verify A

note "the number is taken"
"$lab" spawn B session python3 -c 'import os, signal; os.openpty(); signal.pause()' >/dev/null
until_true 20 '"$lab" run B test -e /dev/pts/0' || fail "no terminal on B"
"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || fail "haul check: $(cat "$dir/check")"
grep -q 'the number of the terminal pts/0 is taken at the destination' "$dir/check" || fail "not said: $(cat "$dir/check")"
move A
verify B
move B
verify A
stop A

note "script(1)"
: >"$dir/in"
cat >"$dir/scripted" <<'END'
#!/bin/sh
cd /
tail -n +1 -s 0.02 -f $1/in | script -q -c "sh -c 'stty rows 33 cols 99; while read x; do echo got \$x; stty size; done'" $1/typescript >$1/out 2>&1
END
chmod 755 "$dir/scripted"
pid=$("$lab" spawn A scripted "$dir/scripted" "$dir")
n=0
for h in A B; do
	echo $h$((n += 1)) >>"$dir/in"
	until_true 30 'grep -A1 "got $1" "$2/out" | grep -q "33 99"' $h$n "$dir" || fail "on $h: $(cat "$dir/out")"
	move $h
done
echo again >>"$dir/in"
until_true 30 'grep -A1 "got again" "$1/out" | grep -q "33 99"' "$dir" || fail "at home: $(cat "$dir/out")"
stop A
"$lab" run A pkill -KILL -x 'tail|script' || true

note "tmux"
mux() { "$lab" run "$1" env TMUX_TMPDIR=/run/mux tmux "${@:2}"; }
shows() { until_true 30 'mux "$1" capture-pane -p -t foo | grep -q -- "$2"' "$1" "$2" || fail "tmux on $1 does not show $2: $(mux "$1" capture-pane -p -t foo)"; }
for h in A B; do "$lab" run $h mkdir /run/mux; done
mux A -f /dev/null new-session -x 101 -y 31 -d -s foo 'bash --norc'
pid=$("$lab" run A pgrep -x 'tmux: server')
mux A send-keys -t foo 'x=5; cat -n' Enter
until_true 30 '"$lab" run A pgrep -x cat' || fail "no cat"
mux A send-keys -t foo 'par'
shows A '^par'
"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || fail "haul check: $(cat "$dir/check")"
grep -q '(pid .*, cat) cannot open /dev/tty after the move' "$dir/check" || fail "not said: $(cat "$dir/check")"
move A --mode=post-copy
mux B send-keys -t foo 'tial' Enter
shows B '1 *partial'
mux B send-keys -t foo C-c
mux B send-keys -t foo 'echo x=$x; stty size; sleep 1000' Enter
shows B 'x=5'
shows B '31 101'
mux B send-keys -t foo C-z
shows B 'Stopped'
move B
mux A send-keys -t foo 'jobs; (echo h""i >/dev/tty)' Enter
shows A '^hi'
mux A send-keys -t foo 'fg' Enter
until_true 30 'mux A send-keys -t foo C-c "echo e\"\"nd" Enter; mux A capture-pane -p -t foo | grep -q ^end' ||
	fail "the job does not take ^C: $(mux A capture-pane -p -t foo)"
stop A

note "parents that are told when a child stops, as these are when haul stops the tree"
for shell in "bash -c 'trap : CHLD; sleep 100000 & while :; do wait; done'" "dash -c 'sleep 100000 | cat; echo'"; do
	pid=$(eval "\"\$lab\" spawn A shell $shell")
	until_true 20 '"$lab" run A pgrep -P "$pid" sleep' || fail "no child of $shell"
	move A
	move B
	"$lab" run A pkill -KILL -P "$pid" || true
	stop A
done
