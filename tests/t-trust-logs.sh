#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-logs - a log of which the destination has an older copy is completed in place: same inode, same owner,
# nothing lost; not below system directories, not one that a program there uses; undone, it is as it was.
. "$(dirname "$0")/lib.sh"
lab_up
fault=$dir/fault

cat >"$dir/logger" <<'END'
#!/usr/bin/env python3
import os, signal, sys
there = sys.argv[sys.argv.index("--dir") + 1]
path = sys.argv[sys.argv.index("--log") + 1]
log = os.open(path, os.O_WRONLY | os.O_APPEND)
def write(number, frame):
    os.write(log, b"from the program\n")
    open(there + "/wrote", "w").close()
signal.signal(signal.SIGUSR2, write)
open(there + "/ready", "w").close()
while True:
    signal.pause()
END
chmod 755 "$dir/logger"

in_a() { "$lab" run A "$@"; }
in_b() { "$lab" run B "$@"; }
writes() { # writes HOST: a line into its log
	rm -f "$wdir/wrote"
	"$lab" run "$1" kill -USR2 "$pid" || fail "process $pid is not on host $1"
	until_true 30 '[ -e "$wdir/wrote" ]' || fail "it does not write on $1"
}

# fresh PATH: a log at A, and an older copy of it at B that belongs to another user
fresh() {
	in_a sh -c "mkdir -p \$(dirname $1); seq 1 40000 >$1; chmod 644 $1"
	in_b sh -c "mkdir -p \$(dirname $1); rm -f $1; seq 1 30000 >$1; chmod 644 $1; chown 4001:4002 $1; touch -d 2026-01-01 $1"
	was=$(in_b stat -c '%i %u:%g' "$1")
	before=$(in_b sh -c "sha256sum <$1; stat -c '%s %Y' $1")
}
same_file() { [ "$(in_b stat -c '%i %u:%g' "$1")" = "$was" ] || fail "$2: inode and owner were $was, now $(in_b stat -c '%i %u:%g' "$1")"; }
as_it_was() {
	same_file "$1" "$2"
	[ "$(in_b sh -c "sha256sum <$1; stat -c '%s %Y' $1")" = "$before" ] || fail "$2: B's log is not as it was: $(in_b tail -2 "$1")"
	[ -z "$(in_b sh -c "ls -A \$(dirname $1) | grep '^.haul' || true")" ] || fail "$2: hidden files are left"
}

log=/srv/logs/app.log
fresh $log
start A "$dir/logger" --log $log
writes A
move A --mode=pre-copy
same_file $log "completed"
writes B
[ "$(in_b sh -c "sha256sum <$log")" = "$( (seq 1 40000; printf 'from the program\nfrom the program\n') | sha256sum)" ] ||
	fail "the log at B: $(in_b tail -3 $log)"
note "  completed in place: $(in_b stat -c '%s bytes, owner %u:%g' $log)"
stop B

# lines that come in the rounds, and those between the last pass and the stop
fresh $log
start A "$dir/logger" --log $log
rm -f "$fault" "$fault.over"
in_a env HAUL_FAULT=s-rounds-done:hold HAUL_FAULT_FILE="$fault" "$haul" --mode=pre-copy "$pid" hostB >"$dir/report" 2>&1 &
job=$!
until_true 60 '[ -s "$fault" ]' || fail "the fault point was not reached: $(cat "$dir/report")"
for _ in 1 2 3; do writes A; done
touch "$fault.over"; rm "$fault"
wait "$job" || fail "the move: $(cat "$dir/report")"
same_file $log "late lines"
[ "$(in_b grep -c 'from the program' $log)" = 3 ] || fail "late lines: $(in_b tail -4 $log)"
note "  lines that came while it moved: all there"
stop B

# below a system directory, or in use there: it stays
kept() {
	start A "$dir/logger" --log "$1"
	in_a "$haul" --mode=pre-copy "$pid" hostB >"$dir/report" 2>&1 || fail "$2: $(cat "$dir/report")"
	grep -q "$1 $2 at the destination: it stays" "$dir/report" || fail "not said: $(cat "$dir/report")"
	same_file "$1" "$2"
	in_b sh -c "head -n 30000 $1 | cmp -s - /srv/seq" || fail "$2: B's lines are not there: $(in_b head -2 "$1")"
	! in_b grep -qx 35000 "$1" || fail "$2: A's lines were put into B's log"
	note "  $2: it stays"
}
in_b sh -c 'seq 1 30000 >/srv/seq'
fresh /etc/haul/app.log
kept /etc/haul/app.log "belongs to the system"
stop B
fresh $log
cat >"$dir/daemon" <<'END'
#!/bin/sh
exec 5>>/srv/logs/app.log
touch "$2/ready"
until [ -e /srv/go ]; do sleep 0.1; done
while sleep 0.1; do echo "from B" >&5; done
END
chmod 755 "$dir/daemon"
start B "$dir/daemon"
daemon=$pid
kept $log "is in use"
in_b touch /srv/go
until_true 20 'in_b grep -q "from B" $log' || fail "the later lines of B's own program go elsewhere"
in_b kill "$daemon"
stop B

# undone: haul stopped, the worker killed, B's file changed meanwhile
fresh $log
start A "$dir/logger" --log $log
writes A
for how in haul worker; do
	: >"$dir/hauld.B.log"
	rm -f "$fault" "$fault.over"
	in_a env HAUL_FAULT=s-restored-heard:hold HAUL_FAULT_FILE="$fault" "$haul" --mode=pre-copy "$pid" hostB >"$dir/report" 2>&1 &
	job=$!
	until_true 60 '[ -s "$fault" ]' || fail "the fault point was not reached: $(cat "$dir/report")"
	[ "$(in_b stat -c %s $log)" = "$(in_a stat -c %s $log)" ] || fail "at the gate B's log has not all: $(in_b tail -1 $log)"
	if [ $how = haul ]; then
		in_a kill -INT "$(cat "$fault")"
	else
		in_b kill -KILL "$(grep -oE 'worker=[0-9]+' "$dir/hauld.B.log" | tail -1 | cut -d= -f2)"
	fi
	touch "$fault.over"; rm "$fault"
	! wait "$job" || fail "$how: not undone"
	until_true 20 '[ "$(in_b stat -c %s $log)" = "${before#*$'"'\\\\n'"'}" ] || [ "$(in_b sh -c "sha256sum <$log; stat -c \"%s %Y\" $log")" = "$before" ]' || fail "$how: not undone: $(in_b tail -1 $log)"
	until_true 20 '[ -z "$(in_b sh -c "ls -A /srv/logs | grep ^.haul || true")" ]' || fail "$how: hidden files are left"
	as_it_was $log "undone by $how"
	note "  undone ($how): as it was"
done

# B's own program writes it while the move is under way: undone, its line stays, and nothing of ours is in its way
rm -f "$fault" "$fault.over"
in_a env HAUL_FAULT=s-rounds-done:hold HAUL_FAULT_FILE="$fault" "$haul" --mode=pre-copy "$pid" hostB >"$dir/report" 2>&1 &
job=$!
until_true 60 '[ -s "$fault" ]' || fail "the fault point was not reached: $(cat "$dir/report")"
in_b sh -c "echo from B >>$log"
touch "$fault.over"; rm "$fault"
! wait "$job" || fail "moved although B's log was written meanwhile"
grep -q "$log has changed at the destination meanwhile" "$dir/report" || fail "not said: $(cat "$dir/report")"
until_true 20 'in_b test ! -e "/proc/$pid"' || fail "a copy is left on B"
[ "$(in_b tail -1 $log)" = "from B" ] || fail "B's line is lost: $(in_b tail -2 $log)"
same_file $log "written meanwhile"
note "  written at B meanwhile: undone, B's line is there"
stop A
