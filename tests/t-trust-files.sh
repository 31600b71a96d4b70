#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-files - an unprivileged user of A gets no file of B by a move that she could not open there:
# not by links, not by directories that differ, not in a race, not by `haul check`. Rightful moves work.
. "$(dirname "$0")/lib.sh"
lab_up

uid=4001
in_a() { "$lab" run A "$@"; }
in_b() { "$lab" run B "$@"; }
both() { in_a "$@"; in_b "$@"; }

# her ARGS...: her process at A holds what these say (tests/work/holder.py); hold ARGS: one that runs as root
hold() {
	wdir=$(mktemp -d "$dir/h.XXXXXX")
	chmod 777 "$wdir"
	pid=$("$lab" spawn A "$(basename "$wdir")" env "${fs[@]}" /usr/bin/python3 "$top/tests/work/holder.py" "$wdir" "$@")
	until_true 60 '[ -e "$wdir/ready" ] || ! "$lab" run A kill -0 "$pid"'
	[ -e "$wdir/ready" ] || fail "holder $*: $(cat "$("$lab" log "$(basename "$wdir")")")"
	did=0
}
her() { hold --as $uid "$@"; }

# Moves are started by root and, where its processes can be moved, for the user.
if in_a setpriv --dump | grep -q 'Effective.*sys_resource\|Effective.*[^a-z]all'; then
	fs=(HOLDER_FS=)
	ways=(--owner=$uid --mode=stop-copy)
else
	fs=(HOLDER_FS=1)
	ways=(--mode=stop-copy)
	note "root lacks CAP_SYS_RESOURCE: processes that differ from root in their fsuid, moved by root only"
fi

# writes HOST: it appends a line to its logs there
writes() {
	did=$((did + 1))
	"$lab" run "$1" kill -USR1 "$pid" || fail "process $pid is not on host $1"
	until_true 60 '[ -e "$wdir/did.$did" ]' || fail "the process does not write on $1"
}

# refused WORDS CASE: started for her, and by root: both are refused with these words, and it runs on
refused() {
	local o
	for o in "${ways[@]}"; do
		if in_a "$haul" --mode=stop-copy "$o" "$pid" hostB >"$dir/out" 2>&1; then
			fail "$2: moved with $o"
		fi
		grep -qE "$1" "$dir/out" || fail "$2, $o: it was not said why: $(cat "$dir/out")"
		in_b test ! -e "/proc/$pid" || fail "$2: a process is left on B"
	done
	writes A
	stop A
	note "  refused: $2"
}

both mkdir -p /srv/own /srv/data
both chown $uid:$uid /srv/own
both chmod 755 /srv/own
in_a chown $uid:$uid /srv/data
in_b chmod 755 /srv/data
in_b mkdir -m 700 /srv/private
in_b sh -c 'umask 077; echo "root only" >/srv/private/log; cp /srv/private/log /srv/data/log'
root_log=$(in_b sha256sum /srv/private/log)
quiet() { [ "$(in_b sha256sum /srv/private/log)" = "$root_log" ] || fail "root's file was written to"; }

note "links: her directory at B leads into one of root's"
in_a install -d -o $uid -g $uid /srv/own/d
in_a install -o $uid -g $uid -m 600 /dev/null /srv/own/d/log
in_b setpriv --reuid=$uid --regid=$uid --clear-groups ln -s /srv/private /srv/own/d
her append:/srv/own/d/log
refused 'no process of the tree may|symbolic link' "append through a link to a closed directory"
in_b chmod 755 /srv/private
her append:/srv/own/d/log
refused 'no process of the tree may' "append through a link to an open directory"
her cwd:/srv/own/d read:/srv/own/d/log
refused 'no process of the tree may' "read through a link"
in_b chmod 700 /srv/private
her dir:/srv/own/d
refused 'no process of the tree may' "a directory that is a link"
in_b chmod 755 /srv/private
her queue:/srv/own/d/log
refused 'no process of the tree may|symbolic link' "append through a link, by a descriptor that waits in a socket"
in_b chmod 700 /srv/private
her watch:/srv/own/d
refused 'a watch of /srv/own/d: user 4001 may not watch it' "watch through a link to a closed directory"
quiet

note "directories of other owners"
in_a install -o $uid -g $uid -m 600 /dev/null /srv/data/log
her append:/srv/data/log
refused 'no process of the tree may write' "append to root's file"
her rw:/srv/data/log
refused 'no process of the tree may write' "write root's file"
in_a sh -c 'echo "root only" >/srv/data/log'
her map:/srv/data/log
refused 'no process of the tree may write' "map root's file, shared"
her read:/srv/data/log
refused 'no process of the tree may' "read root's small file"
for h in a b; do
	"in_$h" truncate -s 65M /srv/data/big
	"in_$h" touch -d 2026-01-01 /srv/data/big
	"in_$h" chmod 600 /srv/data/big
done
in_a chown $uid:$uid /srv/data/big
her read:/srv/data/big
refused 'no process of the tree may' "read root's large file"
for h in a b; do "in_$h" mkdir -m 700 /srv/data/dir; done
in_a chown $uid:$uid /srv/data/dir
her dir:/srv/data/dir
refused 'no process of the tree may' "list root's directory"
her watch:/srv/data/dir
refused 'a watch of /srv/data/dir: user 4001 may not watch it' "watch root's directory"
her cwd:/srv/data/dir
refused 'no process of the tree may' "work in root's directory"

in_b mkdir -m 700 '/srv/own/dir (deleted)'
in_a install -d -o $uid -g $uid '/srv/own/dir (deleted)'
her 'dir:/srv/own/dir (deleted)'
refused 'no process of the tree may' "list root's directory, whose name looks as if it had none"

note "new files and UNIX sockets in root's directories"
in_a sh -c 'cp /bin/true /srv/own/su; chmod 4755 /srv/own/su'
her read:/srv/own/su
for o in "${ways[@]}"; do
	in_a "$haul" "$o" --files=ship-missing "$pid" hostB >"$dir/out" 2>&1 && fail "root's set-user-ID program came to B, $o"
	grep -q 'may not write there' "$dir/out" || fail "$(cat "$dir/out")"
done
in_b test ! -e /srv/own/su
stop A
both mkdir -p /srv/tools
in_a sh -c 'cp /bin/true /srv/tools/raw && python3 -c "import os, struct
os.setxattr(\"/srv/tools/raw\", \"security.capability\", struct.pack(\"<5I\", 0x02000001, 1 << 13, 0, 0, 0))"'
her read:/srv/tools/raw
in_a "$haul" --mode=stop-copy --files=ship-missing "$pid" hostB >"$dir/out" 2>&1 && fail "root's program with capabilities came to B"
grep -q 'security.capability, which comes with root' "$dir/out" || fail "$(cat "$dir/out")"
in_b test ! -e /srv/tools/raw
writes A
stop A
hold read:/srv/tools/raw
in_a "$haul" --mode=stop-copy --files=ship-missing "$pid" hostB >"$dir/out" 2>&1 || fail "a program of root's with capabilities, for root: $(cat "$dir/out")"
in_b python3 -c 'import os; os.getxattr("/srv/tools/raw", "security.capability")' || fail "it lost them"
stop B
in_a install -o $uid -g $uid -m 600 /dev/null /srv/data/new
her append:/srv/data/new
for o in "${ways[@]}"; do
	in_a "$haul" "$o" --files=ship-missing "$pid" hostB >"$dir/out" 2>&1 && fail "shipped into root's directory, $o"
	grep -q 'may not write there' "$dir/out" || fail "expected 'may not write there' in: $(cat "$dir/out")"
done
in_b test ! -e /srv/data/new
stop A
her bind:/srv/data/new.sock
refused 'may bind the UNIX socket' "bind in root's directory"
in_b sh -c 'python3 -c "import socket,time
s = socket.socket(socket.AF_UNIX); s.bind(\"/srv/data/svc.sock\"); s.listen(); time.sleep(3600)" & echo $! >/srv/service'
until_true 30 'in_b test -S /srv/data/svc.sock' || fail "root's service"
in_b chmod 777 /srv/data
her bind:/srv/data/svc.sock
refused 'in use at the destination' "take the place of root's socket"
in_b sh -c 'kill $(cat /srv/service)'
in_b chmod 1777 /srv/data
in_a rm /srv/data/svc.sock
her bind:/srv/data/svc.sock
refused 'may bind the UNIX socket' "take the place of a socket that root has left"
in_b chmod 755 /srv/data
quiet

note "files that have lost their names: CRIU makes them anew for a moment"
her_ghost() { # her_ghost DIR
	in_a install -o $uid -g $uid -m 600 /dev/null "$1/gone"
	her ghost:"$1/gone"
}
her_ghost /srv/own/d
refused 'may make /srv/own/d/gone' "a file without a name, through a link"
her_ghost /srv/data
refused 'may make /srv/data/gone' "a file without a name, in root's directory"
quiet

note "haul check tells nothing about a file that she may not read"
answer() {
	in_b sh -c "umask 077; printf '%s' '$1' >/srv/data/guess"
	in_a "$haul" "${ways[0]}" check "$pid" hostB 2>&1 | grep -v 'MiB\|memory' >"$dir/answer.$2" || true
}
in_a sh -c "printf 1234 >/srv/data/guess; chown $uid /srv/data/guess; chmod 600 /srv/data/guess"
her read:/srv/data/guess
answer 1234 right
answer 9876 wrong
answer 123456 longer
in_b rm /srv/data/guess
in_b mkdir -m 700 /srv/data/guess
cmp "$dir/answer.right" "$dir/answer.wrong" || fail "its content: $(diff "$dir/answer.right" "$dir/answer.wrong")"
cmp "$dir/answer.right" "$dir/answer.longer" || fail "its size: $(diff "$dir/answer.right" "$dir/answer.longer")"
grep -q 'no process of the tree may use /srv/data/guess' "$dir/answer.right" || fail "expected 'no process of the tree may use /srv/data/guess' in: $(cat "$dir/answer.right")"
stop A
in_a sh -c "mkdir /srv/data/shut; printf 1 >/srv/data/shut/here; cp /srv/data/shut/here /srv/data/shut/not; chown -R $uid /srv/data/shut"
in_b sh -c 'mkdir -m 700 /srv/data/shut; printf 1 >/srv/data/shut/here'
for f in here not; do
	her read:/srv/data/shut/$f
	in_a "$haul" "${ways[0]}" check "$pid" hostB 2>&1 | grep shut/ | sed "s,shut/$f,shut/F," >"$dir/answer.$f" || true
	stop A
done
[ -s "$dir/answer.here" ] && cmp "$dir/answer.here" "$dir/answer.not" || fail "whether it exists: $(diff "$dir/answer.here" "$dir/answer.not")"

note "a race: she swaps her directory for a link while she is moved"
in_b rm /srv/own/d
in_b install -d -o $uid -g $uid /srv/own/d
in_b install -o $uid -g $uid -m 600 /dev/null /srv/own/d/log
in_b chmod 755 /srv/private
in_b setpriv --reuid=$uid --regid=$uid --clear-groups sh -c 'cd /srv/own; ln -s /srv/private l
	while [ ! -e stop ]; do mv -T d r; mv -T l d; sleep 0.0$((RANDOM % 9))1; mv -T d l; mv -T r d; sleep 0.0$((RANDOM % 9))1; done' &
swapper=$!
for _ in 1 2 3 4 5 6; do
	her append:/srv/own/d/log
	in_a "$haul" "${ways[0]}" "$pid" hostB >"$dir/out" 2>&1 && h=B || h=A
	writes $h
	quiet
	stop $h
done
in_b touch /srv/own/stop
wait $swapper
in_b chmod 700 /srv/private

note "the same between hauld's look and CRIU: CRIU opens what hauld has found, and nothing of root's"
fault=$dir/fault
stop_hauld B
in_b rm -rf /srv/own/d
HAUL_FAULT=d-placed-said:hold HAUL_FAULT_FILE=$fault start_hauld B
in_b chmod 755 /srv/private
in_b mkdir -m 755 /srv/trap
in_b mkfifo -m 600 /srv/trap/log
in_b sh -c 'exec 3</srv/trap/log; touch /srv/sprung; cat <&3 >/srv/caught' &
trap=$!
for way in ghost bind append nofollow rw fifo; do
	to=/srv/private
	in_b install -d -o $uid -g $uid /srv/own/d
	in_a rm -f /srv/own/d/log
	case $way in
	bind) in_b mv /srv/private/log /srv/private/kept ;;
	ghost)
		in_a install -o $uid -g $uid -m 600 /dev/null /srv/own/d/log
		in_b mv /srv/private/log /srv/private/kept
		;;
	fifo)
		in_b setpriv --reuid=$uid --regid=$uid --clear-groups mkfifo -m 600 /srv/own/d/log
		to=/srv/trap
		;;
	*)
		in_a install -o $uid -g $uid -m 600 /dev/null /srv/own/d/log
		in_b install -o $uid -g $uid -m 600 /dev/null /srv/own/d/log
		[ $way != rw ] || to=/srv/trap
		;;
	esac
	her $way:/srv/own/d/log
	rm -f "$fault" "$fault.over"
	in_a "$haul" --mode=stop-copy --freeze-limit-ms=60000 "$pid" hostB >"$dir/out" 2>&1 &
	job=$!
	until_true 60 '[ -s "$fault" ]' || fail "hauld did not come to the point: $(cat "$dir/out")"
	in_b setpriv --reuid=$uid --regid=$uid --clear-groups sh -c "cd /srv/own; mv d r; ln -s $to d"
	touch "$fault.over"
	rm "$fault"
	if wait $job; then
		[ $way != bind ] || fail "$way: moved, and its directory was not that of before"
		writes B
		case $way in append | nofollow) in_b grep -q 'line 1' /srv/own/r/log || fail "$way: her own file" ;; esac
		case $way in
		fifo)
			[ "$(in_b setpriv --reuid=$uid --regid=$uid --clear-groups timeout 5 head -n 2 /srv/own/r/log)" = $'unread\nline 1' ] ||
				fail "$way: what was not read yet"
			;;
		esac
		stop B
		note "  moved with her own: $way"
	else
		case $way in
		bind) grep -q 'bind the UNIX socket .* as user' "$dir/out" || fail "$way: $(cat "$dir/out")" ;;
		*) fail "$way: $(cat "$dir/out")" ;;
		esac
		writes A
		stop A
		note "  refused: $way"
	fi
	in_b sh -c 'cd /srv/own; rm -rf d r; cd /srv/private; [ ! -e kept ] || mv -f kept log; ls -A | grep -qxv log && exit 1; exit 0' ||
		fail "$way: something is left in root's directory: $(in_b ls -A /srv/private)"
	quiet
	in_b test ! -e /srv/sprung || fail "$way: root's FIFO was opened"
done
kill $trap 2>/dev/null || true
in_b sh -c 'echo >/srv/trap/log & sleep 0.1; kill $! 2>/dev/null; rm -rf /srv/trap' || true

note "hauld and its worker are killed when they have made a file without a name: nothing is left"
in_b install -d -o $uid -g $uid /srv/own/d
in_a rm -f /srv/own/d/log
her_ghost /srv/own/d
rm -f "$fault" "$fault.over"
in_a "$haul" --mode=stop-copy --freeze-limit-ms=60000 "$pid" hostB >"$dir/out" 2>&1 &
job=$!
until_true 60 '[ -s "$fault" ]' || fail "hauld did not come to the point: $(cat "$dir/out")"
in_b pkill -9 -x hauld
wait $job && fail "moved to a dead hauld"
writes A
stop A
[ -z "$(in_b ls -A /srv/own/d)" ] || fail "left at B: $(in_b ls -lA /srv/own/d)"
in_b rm -r /srv/own/d
start_hauld B
in_b chmod 700 /srv/private

note "rightful moves"
in_b sh -c 'cd /srv/own; rm -rf d l r stop; install -d -o 4001 -g 4001 d'
in_a rm -f /srv/own/d/log
both install -o $uid -g $uid -m 600 /dev/null /srv/own/d/log
her append:/srv/own/d/log dir:/srv/own cwd:/srv/own bind:/srv/own/s watch:/srv/own watch:/srv/own/d
move A "${ways[0]}"
in_b touch /srv/own/d/noticed
writes B
grep -q noticed "$wdir/seen" || fail "her watch does not see a new file"
in_b grep -q 'line 1' /srv/own/d/log || fail "her own log"
stop B
lines=$(in_b grep -c . /srv/own/d/log)
her_ghost /srv/own
move A "${ways[0]}"
writes B
stop B
her queue:/srv/own/d/log
move A "${ways[0]}"
writes B
[ "$(in_b grep -c . /srv/own/d/log)" = $((lines + 1)) ] || fail "her own log, by a descriptor that waited in a socket"
stop B

both mkdir -p /srv/log
both install -m 640 /dev/null /srv/log/x
hold append:/srv/log/x rw:/srv/log/x cwd:/srv/log
move A
writes B
stop B
hold --drop $uid append:/srv/log/x
move A
writes B
in_b grep -q 'line 1' /srv/log/x || fail "a log that root had opened"
stop B
hold --drop $uid append:/srv/log/x
if [ ${#ways[@]} = 2 ]; then
	in_a "$haul" --owner=$uid "$pid" hostB >"$dir/out" 2>&1 && fail "a log of root's, for a user"
	grep -q 'no process of the tree may write' "$dir/out" || fail "expected 'no process of the tree may write' in: $(cat "$dir/out")"
fi
in_b chown $uid /srv/log
in_a "$haul" "$pid" hostB >"$dir/out" 2>&1 && fail "a log of root's in her directory"
grep -q 'no process of the tree may write' "$dir/out" || fail "expected 'no process of the tree may write' in: $(cat "$dir/out")"
in_b chown 0 /srv/log
in_b chmod 600 /srv/log/x
in_a "$haul" "$pid" hostB >"$dir/out" 2>&1 && fail "a log of root's with another mode"
stop A
