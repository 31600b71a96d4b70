#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-swapped - what CRIU opens for a user is what hauld has found: however many files they are, below --into-root, in
# a pid namespace of its own, and for sockets of datagrams; and nothing that its user could not open herself.
. "$(dirname "$0")/lib.sh"
command -v /usr/bin/python3 >/dev/null || skip "no /usr/bin/python3"
lab_up

uid=4001
in_a() { "$lab" run A "$@"; }
in_b() { "$lab" run B "$@"; }
her() { "$lab" run "$1" setpriv --reuid=$uid --regid=$uid --clear-groups "${@:2}"; }
both() { in_a "$@"; in_b "$@"; }
fault=$dir/fault

# hold ARGS...: tests/work/holder.py; its file accesses are hers
hold() {
	for h in A B; do "$lab" run $h sh -c "rm -rf /srv/own/w; install -d -o $uid -g $uid /srv/own/w"; done
	pid=$("$lab" spawn A holder env HOLDER_FS=1 /usr/bin/python3 "$top/tests/work/holder.py" /srv/own/w "$@" dir:/srv/own/w)
	until_true 60 'in_a test -e /srv/own/w/ready' || fail "holder $*: $(cat "$("$lab" log holder)")"
	did=0
}

# writes HOST [PID [ROOT]]: it appends a line to its logs there
writes() {
	did=$((did + 1))
	"$lab" run "$1" kill -USR1 "${2:-$pid}" || fail "process $pid is not on host $1: $(cat "$dir/out")"
	until_true 60 '"$lab" run "$1" test -e "$2/srv/own/w/did.$did"' "$1" "${3-}" || fail "the process does not write on $1"
}

# to_point POINT OPTION...: a move is held there at B; sets $job
to_point() {
	rm -f "$fault" "$fault.over"
	in_a "$haul" --json --mode=stop-copy --freeze-limit-ms=60000 "${@:2}" "$pid" hostB >"$dir/report" 2>"$dir/out" &
	job=$!
	until_true 60 '[ -s "$fault" ]' || fail "hauld did not come to $1: $(cat "$dir/out" "$dir/report")"
}
go_on() {
	: >"$fault.over"
	rm "$fault"
}

both install -d -o $uid -g $uid /srv/own
both chmod 755 /srv/own
in_b mkdir -m 755 /srv/private /srv/trap
in_b sh -c 'umask 077; echo "root only" >/srv/private/log'
in_b mkfifo -m 600 /srv/trap/log
in_b sh -c 'exec 3</srv/trap/log; touch /srv/sprung; cat <&3 >/srv/caught' &
trap=$!
untouched() {
	in_b test ! -e /srv/sprung || fail "$1: root's FIFO was opened"
	[ "$(in_b cat /srv/private/log)" = "root only" ] || fail "$1: root's file was written to"
}

note "more files than hauld may have open: 3 processes with 500 of hers each, and a hauld with 1024 descriptors"
stop_hauld B
(ulimit -Sn 1024 && ulimit -Hn 1024 && HAUL_FAULT=d-placed-said:hold HAUL_FAULT_FILE=$fault start_hauld B)
cat >"$dir/many" <<'END'
import ctypes, os, signal, sys
place, there = sys.argv[1:3]
for k in range(2):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
        break
else:
    k = 2
files = [open(f"{place}/{k}.{i}", "rb", 0) for i in range(500)]
def read(*_):
    right = sum(f.read() == b"%d\n" % i for i, f in enumerate(files))
    with open(f"{there}/did.new.{k}", "w") as f:
        f.write(str(right))
    os.rename(f"{there}/did.new.{k}", f"{there}/did.{k}")
signal.signal(signal.SIGUSR1, read)
open(f"{there}/ready.{k}", "w").close()
while True:
    signal.pause()
END
for h in A B; do her $h sh -c 'mkdir /srv/own/d; cd /srv/own/d; for k in 0 1 2; do for i in $(seq 0 499); do echo $i >$k.$i; done; done'; done
wdir=$dir/many.d
mkdir -m 777 "$wdir"
pid=$("$lab" spawn A many /usr/bin/python3 "$dir/many" /srv/own/d "$wdir")
until_true 60 '[ -e "$wdir/ready.0" ] && [ -e "$wdir/ready.1" ] && [ -e "$wdir/ready.2" ]' || fail "no processes: $(cat "$("$lab" log many)")"
to_point d-placed-said
[ "$(in_b pgrep -cx haul-holder)" -ge 9 ] || fail "helpers: $(in_b ps -ef)"
her B sh -c "cd /srv/own; mv d r; ln -s /srv/trap d"
go_on
wait $job || fail "many files: $(cat "$dir/out" "$dir/report")"
until_true 30 '! in_b pgrep -x haul-holder' || fail "helpers are left: $(in_b ps -ef)"
# shellcheck disable=SC2046	# words
in_b kill -USR1 $(in_b pgrep -f "$dir/many")
until_true 60 '[ -e "$wdir/did.0" ] && [ -e "$wdir/did.1" ] && [ -e "$wdir/did.2" ]' || fail "they do not read"
[ "$(cat "$wdir"/did.?)" = 500500500 ] || fail "right files of 500 each: $(head "$wdir"/did.?)"
untouched "many files"
note "  killed while helpers have them: they end, too"
stop B
her B sh -c 'cd /srv/own; rm d; mv r d'
rm -f "$wdir"/*
pid=$("$lab" spawn A many /usr/bin/python3 "$dir/many" /srv/own/d "$wdir")
until_true 60 '[ -e "$wdir/ready.0" ] && [ -e "$wdir/ready.1" ] && [ -e "$wdir/ready.2" ]' || fail "no processes"
to_point d-placed-said
in_b pkill -9 -x hauld
! wait $job || fail "moved to a dead hauld"
until_true 30 '! in_b pgrep -x haul-holder' || fail "helpers outlive their worker: $(in_b ps -ef)"
stop A
rm -f "$fault" "$fault.over"
HAUL_FAULT=d-placed-said:hold HAUL_FAULT_FILE=$fault start_hauld B
her B rm -rf /srv/own/d
her A rm -rf /srv/own/d

note "below --into-root, and in a pid namespace of its own: swapped between hauld's look and CRIU"
her A mkdir /srv/own/d
for way in into-root own-namespace; do
	for to in private trap; do
		root=
		her A sh -c 'rm -f /srv/own/d/log; umask 077; : >/srv/own/d/log'
		[ $way = into-root ] && root=/srv/root || her B sh -c 'umask 077; mkdir /srv/own/d; : >/srv/own/d/log'
		hold --as $uid append:/srv/own/d/log cwd:/srv/own
		if [ $way = into-root ]; then to_point d-placed-said --into-root=$root; else to_point d-placed-said --pid=own-namespace; fi
		her B sh -c "cd $root/srv/own; mv d r; ln -s /srv/$to d"
		go_on
		wait $job || fail "$way: $(cat "$dir/out" "$dir/report")"
		at=$(field host_pid)
		writes B "${at:-$pid}" "$root"
		in_b grep -q 'line 1' "$root/srv/own/r/log" || fail "$way: her own file"
		id=$(in_b awk '$1 == "mnt_id:" { print $2; exit }' "/proc/${at:-$pid}/fdinfo/3")
		in_b nsenter -m -p -t "${at:-$pid}" grep -q "^$id " /proc/self/mountinfo || fail "$way: her file is on mount $id, which she does not see"
		untouched "$way"
		until_true 30 '! in_b pgrep -x haul-holder' || fail "helpers are left: $(in_b ps -ef)"
		in_b kill -9 "${at:-$pid}"
		her B sh -c 'cd /srv/own; rm -rf d r'
		in_b rm -rf /srv/root
		note "  moved with her own: $way"
	done
done
kill $trap 2>/dev/null || true
in_b sh -c 'echo >/srv/trap/log & sleep 0.1; kill $! 2>/dev/null' || true
stop_hauld B
start_hauld B

note "files of /proc: of another process of the tree, which is root's; her own"
hold --drop $uid proc:other/maps
in_a "$haul" --mode=stop-copy "$pid" hostB >"$dir/out" 2>&1 && fail "moved with root's maps"
grep -q 'user 4001): that user may not look into that process' "$dir/out" || fail "another process: $(cat "$dir/out")"
writes A
stop A
hold --drop $uid proc:self/maps
move A --mode=stop-copy
writes B
stop B
