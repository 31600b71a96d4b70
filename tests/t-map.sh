#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-map - a program whose output goes to a pipe, the journal, syslog, a terminal, and that has inherited
# descriptors: each is named, becomes what was asked for, and not one line is lost or doubled; undone, all
# is as it was.
. "$(dirname "$0")/lib.sh"
lab_up
# the launchers here wait for their programs, but start no other
HAUL_OPTIONS="${HAUL_OPTIONS:-} --supervisor=ignore"
outs=$top/tests/work/outs.py

# what takes lines at a UNIX socket: listener HOST PATH TYPE FILE
listener() {
	"$lab" run "$1" mkdir -p "$(dirname "$2")"
	"$lab" spawn "$1" "listener$RANDOM" python3 -c '
import socket, sys, threading
path, kind, out = sys.argv[1:]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "dgram" else socket.SOCK_STREAM)
s.bind(path)
f = open(out, "ab", 0)
def copy(c):
    while d := c.recv(65536):
        f.write(d)
if kind == "dgram":
    copy(s)
s.listen(8)
while True:
    c = s.accept()[0]
    threading.Thread(target=copy, args=(c,), daemon=True).start()
' "$2" "$3" "$4" >/dev/null
	until_true 60 '"$lab" run "$1" test -S "$2"' "$@" || fail "no listener at $2 on $1"
}

# check_says CODE STATUS OPTION...
check_says() {
	local code=$1 want=$2 rc=0
	shift 2
	# shellcheck disable=SC2086	# words
	"$lab" run A "$haul" check --json $HAUL_OPTIONS "$@" "$pid" hostB >"$dir/check" 2>&1 || rc=$?
	[ $rc = "$want" ] || fail "check $*: status $rc: $(cat "$dir/check")"
	grep -q "\"code\": *\"$code\"" "$dir/check" || fail "check $*: no $code: $(cat "$dir/check")"
}

# is FD TEXT: what verify has seen
is() {
	python3 - "$wdir/verify.$verified" "$1" "$2" <<'END' || fail "descriptor $1 is not $2: $(cat "$wdir/verify.$verified")"
import json, sys
v = json.load(open(sys.argv[1]))
is_ = v["fds"].get(sys.argv[2], "closed")
sys.exit(not (sys.argv[3] in is_))
END
}

# lines NAME FILE...: together they hold NAME's lines, each once, and each of them some
lines() {
	python3 - "$@" <<'END' || fail "lines of $1"
import re, sys
name, every = sys.argv[1], []
for path in sys.argv[2:]:
    got = [int(n) for n in re.findall(r"^%s (\d+)\r?$" % name, open(path).read(), re.M)]
    if not got:
        sys.exit("%s: none of %s" % (path, name))
    every += got
every.sort()
if every != list(range(every[0], every[0] + len(every))) or every[0] != 1:
    sys.exit("%s: not from 1 to %d, each once: %s" % (name, every[-1], every))
END
}

# has NAME FILE...: wait until there are lines of NAME in each
has() {
	local name=$1 f
	shift
	for f in "$@"; do
		until_true 60 '[ "$(grep -c "^$name [0-9]" "$f")" -gt 1 ]' || fail "no lines of $name in $f"
	done
}

# launch SHELL-TEXT: the program is a child of a shell that stays outside
launch() {
	wdir=$dir/outs.$RANDOM
	mkdir "$wdir"
	chmod 777 "$wdir"
	verified=0
	"$lab" spawn A "$(basename "$wdir")" bash -c "$1" "$outs" "$wdir" "$dir" >/dev/null
	until_true 60 '[ -s "$wdir/ready" ]' || fail "not ready: $(cat "$("$lab" log "$(basename "$wdir")")")"
	pid=$(cat "$wdir/ready")
}

journal=/run/systemd/journal/stdout
listener A $journal stream "$dir/journal.A"
listener A /srv/log dgram "$dir/log.A"
listener B /srv/log dgram "$dir/log.B"
launch 'exec 7>"$2/launcher.log" 5> >(exec cat >"$2/five.A")
python3 "$0" --dir "$1" out=1 five=5 stray=7 log=/srv/log journal='$journal' </dev/null 2>&1 | cat >"$2/out.A"'
has out "$dir/out.A"
has journal "$dir/journal.A"
has log "$dir/log.A"

check_says pipe-outside 3
check_says inherited-fd 3
check_says unix-missing 3 --map=fd:1=null --close-fd=5
check_says map-unused 3 --map=fd:77=null
check_says map-file 3 --map=fd:1=file:/nowhere/x --close-fd=5
listener B $journal stream "$dir/journal.B"
check_says left-behind 0 --map=fd:1="file:$dir/out.B" --close-fd=5 --stray=close
check_says unix-datagram 0 --map=fd:1="file:$dir/out.B" --close-fd=5
note "  named, with remedies"

# undone: all as it was, nothing left there
printf '#!/bin/sh\nexit 1\n' >"$dir/no"
chmod +x "$dir/no"
# shellcheck disable=SC2086	# words
"$lab" run A "$haul" --json $HAUL_OPTIONS --hook=frozen="$dir/no" --map=fd:1="file:$dir/out.B" --close-fd=5 --stray=close "$pid" hostB >"$dir/report" 2>&1 && fail "the hook said no"
grep -q 'says no' "$dir/report" || fail "not undone by the hook: $(tail -3 "$dir/report")"
[ ! -e "$dir/out.B" ] || fail "a file is left of a move that was undone"
verify A
is 1 pipe:
is 5 pipe:
is 7 launcher.log
note "  undone: as it was"

move A --map=fd:1="file:$dir/out.B" --close-fd=5 --stray=close
has out "$dir/out.B"
has journal "$dir/journal.B"
has log "$dir/log.B"
verify B
is 0 /dev/null
is 1 "$dir/out.B"
is 2 "$dir/out.B"
is 5 closed
is 7 closed
# back; what is a file now stays one, the journal is connected again
move B
verify A
is 1 "$dir/out.B"
stop A
lines out "$dir/out.A" "$dir/out.B"
lines journal "$dir/journal.A" "$dir/journal.B"
lines log "$dir/log.A" "$dir/log.B"
[ "$(head -1 "$dir/journal.B")" = python3 ] || fail "journald was greeted: $(head -8 "$dir/journal.B")"
note "  pipe to file, journal, syslog, there and back; descriptors left behind"

# a policy says the same
cat >"$dir/policy.json" <<END
{ "stray": "close", "map": ["fd:1=file:$dir/policy.out", "unix:/srv/log=null", "unix:$journal=close"] }
END
launch 'python3 "$0" --dir "$1" out=1 log=/srv/log journal='$journal' </dev/null 2>&1 | cat >"$2/out.A2"'
has out "$dir/out.A2"
move A --policy="$dir/policy.json"
has out "$dir/policy.out"
verify B
is 1 "$dir/policy.out"
is 3 /dev/null
is 4 closed
stop B
lines out "$dir/out.A2" "$dir/policy.out"
note "  by a policy"

# terminals: the shell that leads the session is outside, or the program leads it
cat >"$dir/launch-tty.py" <<'END'
import fcntl, os, pty, signal, sys, termios, time
inside, out, *cmd = sys.argv[1:]
master, slave = pty.openpty()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def take():
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
if inside == "outside":
    os.setsid() if os.getsid(0) != os.getpid() else None
    take()
pid = os.fork()
if pid == 0:
    if inside == "inside":
        os.setsid()
        take()
    else:
        os.setpgid(0, 0)
    for i in range(3):
        os.dup2(slave, i)
    os.closerange(3, 99)
    os.execvp(cmd[0], cmd)
os.close(slave)
f = open(out, "ab", 0)
while True:
    try:
        f.write(os.read(master, 4096))
    except OSError:
        time.sleep(0.05)
END

terminal() {
	launch "exec python3 \"\$2/launch-tty.py\" $1 \"\$2/$2\" python3 \"\$0\" --dir \"\$1\" out=1"
	has out "$dir/$2"
}

terminal outside tty1.A
check_says terminal 3
move A --map=tty=file:"$dir/tty1.B"
has out "$dir/tty1.B"
verify B
is 0 /dev/null
is 1 "$dir/tty1.B"
stop B
lines out "$dir/tty1.A" "$dir/tty1.B"
note "  a terminal's output to a file"

for where in outside inside; do
	terminal $where "tty.$where"
	move A --map=tty=attach
	[ "$("$lab" run B stat -c %a "/run/haul/tty-$pid")" = 600 ] || fail "others than root may attach: $("$lab" run B ls -l /run/haul)"
	# a first look, then Ctrl-C (to the program, which notes it), then Ctrl-]
	(until_true 60 '[ -s "$dir/attached.$where" ]'; printf "\003"; until_true 60 '[ -e "$wdir/interrupted" ]'; printf '\035') |
		"$lab" run B "$haul" attach "$pid" >"$dir/attached.$where" 2>"$dir/stderr" || fail "attach: $(cat "$dir/stderr")"
	until_true 60 '[ -e "$wdir/interrupted" ]' || fail "Ctrl-C did not arrive ($where)"
	verify B
	is 0 /dev/pts/
	grep -q "\"terminal\": $([ $where = inside ] && echo true || echo false)" "$wdir/verify.$verified" ||
		fail "a controlling terminal is expected only if the leader of the session is inside the tree; $where: $(cat "$wdir/verify.$verified")"
	(works 1; printf '\035') | "$lab" run B "$haul" attach "$pid" >>"$dir/attached.$where"
	stop B
	sed -i 's/\^C//' "$dir/attached.$where"
	lines out "$dir/tty.$where" "$dir/attached.$where"
	until_true 60 '! "$lab" run B test -e "/run/haul/tty-$pid"' || fail "the terminal's holder stays"
	note "  attached, session led from $where: every line, Ctrl-C"
done
