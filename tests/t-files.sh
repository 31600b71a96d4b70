#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-files - a program whose own file, libraries and data are on one host only moves there and back:
# log, blocks, mapping, nameless files, offsets, locks; nothing is left where a move failed.
. "$(dirname "$0")/lib.sh"
command -v /usr/bin/python3 >/dev/null || skip "no /usr/bin/python3"
lab_up

# /srv is a disk of its own on each host
for h in A B; do
	mkdir "$dir/disk.$h"
	"$lab" run $h mount --bind "$dir/disk.$h" /srv
done

# a program with an interpreter and libraries of its own, on A only
app() {
	local d=$dir/disk.A/app lib
	mkdir -p "$d/bin" "$d/lib" "$d/var/log"
	cp /usr/bin/python3 "$d/bin/"
	ldd /usr/bin/python3 | grep -o '/[^ ]*' | while read -r lib; do cp -L "$lib" "$d/lib/"; done
	cp "$top/tests/work/keepfiles.py" "$d/bin/"
	echo "some settings" >"$d/var/conf"
	chmod 640 "$d/var/conf"
	chown 1234:5678 "$d/var"
	/usr/bin/python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.note", b"hello")' "$d/var/conf"
}

# begin: the workload on A; sets $pid and $wdir
begin() {
	wdir=$dir/work.$RANDOM
	mkdir -p "$wdir"
	pid=$("$lab" spawn A "$(basename "$wdir")" /usr/bin/env PYTHONHOME=/usr /srv/app/lib/ld-linux-x86-64.so.2 \
		--library-path /srv/app/lib /srv/app/bin/python3 /srv/app/bin/keepfiles.py --dir "$wdir" --data /srv/app/var "$@")
	local i
	until_true 60 '[ -e "$wdir/ready" ]' || fail "not ready: $(cat "$("$lab" log "$(basename "$wdir")")")"
	verified=0
}

# The pid of the hauld that listens; its workers are called hauld, too.

listing() { (cd "$dir/disk.$1" && find . -printf '%p %y %m %U %G %s %l\n' | sort); }

# locked HOST: all three kinds of locks are held there by the process
locked() {
	"$lab" run "$1" /usr/bin/python3 - "$pid" <<'EOF' || fail "locks on $1"
import fcntl, os, struct, sys
held = []
for kind in ("flock", "posix", "ofd"):
    fd = os.open(f"/srv/app/var/lock.{kind}", os.O_RDWR)
    if kind == "flock":
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(kind)
        continue
    got = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)))
    want = (fcntl.F_WRLCK, os.SEEK_SET, 10, 10, int(sys.argv[1])) if kind == "posix" else (fcntl.F_WRLCK, os.SEEK_SET, 0, 100, -1)
    if got == want:
        held.append(kind)
    else:
        print(kind, got, want)
sys.exit(held != ["flock", "posix", "ofd"])
EOF
}

file_state() { # of haul check: STATE PATH
	"$lab" run A "$haul" check --json "$pid" hostB >"$dir/check" || true
	grep -q "\"state\":\"$1\",\"path\":\"$2\"" "$dir/check" || fail "$2 is not $1: $(grep "$2\"" "$dir/check")"
}

app
begin --gone-mib "${GONE_MIB:-3}" --map /dev/shm/kept-map
empty=$(listing B)

# refused by require, with the names
! "$lab" run A "$haul" check --files=require "$pid" hostB >"$dir/check" || fail "accepted without its files"
grep -q "file-missing.*/srv/app/lib/libc.so.6" "$dir/check" || fail "the missing library is not named: $(cat "$dir/check")"
file_state missing /srv/app/lib/libc.so.6
file_state same /
note "  check names what is missing"

# failures leave nothing
for fault in d-switch-heard d-gate d-restored-said; do
	stop_hauld B
	HAUL_FAULT=$fault:kill HAUL_FAULT_FILE=$dir/fault.$fault start_hauld B
	! "$lab" run A "$haul" "$pid" hostB >"$dir/report" 2>&1 || fail "$fault: moved although the worker was killed"
	[ -e "$dir/fault.$fault" ] || fail "$fault was not reached: $(cat "$dir/report")"
	until_true 60 '[ "$(listing B)" = "$empty" ]' || fail "$fault: left at B: $(diff <(echo "$empty") <(listing B))"
	"$lab" run A "$haul" recover >/dev/null 2>&1 || true
	verify A
done
stop_hauld B
start_hauld B
note "  a worker that dies leaves nothing at the destination, and the program runs on"

mv "$dir/disk.A/app/lib/libm.so.6" "$dir/libm"	# the source cannot bring it
! "$lab" run A "$haul" "$pid" hostB >"$dir/report" 2>&1 || fail "moved without a library"
mv "$dir/libm" "$dir/disk.A/app/lib/libm.so.6"
[ "$(listing B)" = "$empty" ] || fail "left at B: $(diff <(echo "$empty") <(listing B))"
verify A

# there
move A
note "  to B: $(field files) files, $(($(field files_bytes) / 1048576)) MiB, $(($(field files_frozen_us) / 1000)) ms of $(($(field downtime_us) / 1000)) ms downtime"
verify B
locked B
! ls -A "$dir"/disk.B/app/{,lib,bin,var,var/log} "$dir/disk.B" | grep '^\.haul' || fail "temporary files are left"
[ "$(stat -c '%u %g' "$dir/disk.B/app/var")" = "1234 5678" ] || fail "owner of a directory"
[ "$(stat -c '%a %.9Y' "$dir/disk.B/app/var/conf")" = "$(stat -c '%a %.9Y' "$dir/disk.A/app/var/conf")" ] || fail "mode or time of conf"
/usr/bin/python3 -c 'import os, sys; sys.exit(os.getxattr(sys.argv[1], "user.note") != b"hello")' "$dir/disk.B/app/var/conf" ||
	fail "extended attribute of conf"
cmp "$dir/disk.A/app/lib/libc.so.6" "$dir/disk.B/app/lib/libc.so.6" || fail "libc.so.6 differs on B"

# back: what it wrote differs there, and is not replaced unless that is wished
old=$(listing A)
! "$lab" run B "$haul" "$pid" hostA >"$dir/report" 2>&1 || fail "replaced data that nobody gave up"
grep -q "file-differs.*/srv/app/var/data" "$dir/report" || fail "the differing file is not named: $(cat "$dir/report")"
grep -q -- "--files=ship-differing" "$dir/report" || fail "no remedy: $(cat "$dir/report")"
[ "$(listing A)" = "$old" ] || fail "A was changed"
verify B
for m in pre-copy post-copy; do
	move B --files=ship-differing --mode=$m
	verify A
	locked A
	move A --files=ship-differing --mode=$m
	verify B
	locked B
done
note "  back and there again: $(field files) files, $(($(field files_bytes) / 1024)) KiB"
stop B
