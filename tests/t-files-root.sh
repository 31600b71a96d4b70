#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-files-root - another libc at the destination: refused by name; --into-root moves the program into
# a root directory of its own and back; a system file is never replaced; a failure leaves nothing.
. "$(dirname "$0")/lib.sh"
command -v /usr/bin/python3 >/dev/null || skip "no /usr/bin/python3"
lab_up

for h in A B; do
	mkdir "$dir/disk.$h"
	"$lab" run $h mount --bind "$dir/disk.$h" /srv
done
mkdir -p "$dir"/disk.A/app/log "$dir/disk.A/app/bin"
cp "$top/tests/work/keepfiles.py" "$dir/disk.A/app/bin/"
echo "some settings" >"$dir/disk.A/app/conf"

# B's libc has another build-id: a copy with some bits of the note turned over
libc=$(ldd /usr/bin/python3 | grep -o '/[^ ]*libc\.so\.6')
libc=$(readlink -f "$libc")
/usr/bin/python3 - "$libc" "$dir/libc" <<'EOF'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
at = data.index(b"GNU\0", data.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 12) + 4
data[at] ^= 255
open(sys.argv[2], "wb").write(data)
EOF
chmod --reference="$libc" "$dir/libc"
sum=$(sha256sum <"$dir/libc")
"$lab" run B mount --bind "$dir/libc" "$libc"

wdir=$dir/work
mkdir -p "$wdir"
cat >"$dir/run" <<EOF
cd /srv/app
exec /usr/bin/python3 /srv/app/bin/keepfiles.py --dir /srv/app/log --data /srv/app >/dev/null 2>&1
EOF
pid=$("$lab" spawn A kept /bin/sh "$dir/run")
until_true 60 '[ -e "$dir/disk.A/app/log/ready" ]' || fail "not ready"
verified=0

# check_at HOST DIR: the program, whose files lie in DIR as we see it, verifies itself
check_at() {
	verified=$((verified + 1))
	"$lab" run "$1" kill -USR1 "$pid" || fail "no process $pid on $1"
	until_true 60 '[ -e "$2/app/log/verify.$verified" ]' "$@" || fail "no answer from the program on $1"
	grep -q '"ok": true' "$2/app/log/verify.$verified" || fail "on $1: $(cat "$2/app/log/verify.$verified")"
}
check_at A "$dir/disk.A"

# the clear error
for how in ship-missing ship-differing; do
	rc=0
	"$lab" run A "$haul" --files=$how "$pid" hostB >"$dir/out" 2>&1 || rc=$?
	[ $rc = 3 ] || fail "exit status $rc: $(cat "$dir/out")"
	grep -q "$libc has another build-id" "$dir/out" || fail "libc is not named: $(cat "$dir/out")"
	grep -q 'belongs to the system there, and is never overwritten' "$dir/out" || fail "expected 'belongs to the system there, and is never overwritten' in: $(cat "$dir/out")"
	grep -q -- '--into-root=DIR' "$dir/out" || fail "no remedy: $(cat "$dir/out")"
	[ "$("$lab" run B sha256sum <"$dir/libc")" = "$sum" ] || fail "libc was replaced"
	[ -z "$(ls -A "$dir/disk.B")" ] || fail "left at B: $(ls -A "$dir/disk.B")"
done
note "  another libc: $(grep -m1 'another build-id' "$dir/out")"

# a failure on the way into the root directory leaves nothing of it
"$lab" run A env HAUL_FAULT=s-restored-heard:kill HAUL_FAULT_FILE="$dir/fault" "$haul" --into-root=/srv/root "$pid" hostB >"$dir/out" 2>&1 &&
	fail "the fault was not reached"
[ -e "$dir/fault" ] || fail "the fault was not reached: $(cat "$dir/out")"
until_true 60 '[ -z "$(ls -A "$dir/disk.B")" ]' || fail "left at B: $(find "$dir/disk.B")"
"$lab" run A "$haul" recover >/dev/null 2>&1 || true
check_at A "$dir/disk.A"
note "  a source that dies leaves nothing in the root directory"

for m in pre-copy post-copy; do
	"$lab" run A "$haul" check --into-root=/srv/root --files=ship-differing "$pid" hostB >"$dir/out" || fail "check: $(cat "$dir/out")"
	move A --into-root=/srv/root --mode=$m --files=ship-differing
	note "  $m into the root directory: $(field files) files, $(($(field files_bytes) / 1048576)) MiB, $(($(field files_frozen_us) / 1000)) ms of $(($(field downtime_us) / 1000)) ms downtime"
	check_at B "$dir/disk.B/root/srv"
	[ "$("$lab" run B readlink "/proc/$pid/root")" = /srv/root ] || fail "its root directory is $("$lab" run B readlink "/proc/$pid/root")"
	"$lab" run B test -e "/proc/$pid/root/proc/self/maps" || fail "it has no /proc"
	! "$lab" run B grep -q /srv/root/proc /proc/mounts || fail "its /proc is mounted for all"
	cmp "$libc" "$dir/disk.B/root$libc" || fail "libc of A is not in the root directory"
	[ "$("$lab" run B sha256sum "$libc" | cut -d' ' -f1)" = "${sum%% *}" ] || fail "libc was replaced"

	# and back: haul runs in the mount namespace of the program
	"$lab" run B nsenter -m -t "$pid" "$haul" --json --into-root=/ --files=ship-differing --mode=$m "$pid" hostA >"$dir/report" 2>"$dir/stderr" ||
		fail "back: $(cat "$dir/stderr" "$dir/report")"
	gone B
	check_at A "$dir/disk.A"
	[ "$("$lab" run A readlink "/proc/$pid/root")" = / ] || fail "its root directory at A is $("$lab" run A readlink "/proc/$pid/root")"
	note "  $m back: $(field files) files, $(($(field files_bytes) / 1024)) KiB"
done

# its data as a directory that moves, below the root directory
for h in A B; do "$lab" run $h sh -c 'echo "fs-allow = /srv" >>/etc/haul/haul.conf'; done
! "$lab" run A "$haul" --into-root=/srv/root --fs=/srv/app --files=ship-differing "$pid" hostB >"$dir/out" 2>&1 || fail "took the place of a directory"
grep -q '/srv/root/srv/app exists and is not empty' "$dir/out" || fail "expected '/srv/root/srv/app exists and is not empty' in: $(cat "$dir/out")"
check_at A "$dir/disk.A"
echo new >"$dir/disk.A/app/only-by-tree"
move A --into-root=/srv/root --files=ship-differing --fs=/srv/app --fs-replace
check_at B "$dir/disk.B/root/srv"
cmp "$dir/disk.A/app/only-by-tree" "$dir/disk.B/root/srv/app/only-by-tree" || fail "the directory is not below the root directory"
[ ! -e "$dir/disk.B/app" ] || fail "the tree is at the path of the source"
echo newer >"$dir/disk.B/root/srv/app/only-by-tree"
"$lab" run B nsenter -m -t "$pid" "$haul" --json --into-root=/ --files=ship-differing --fs=/srv/root/srv/app --fs-replace "$pid" hostA \
	>"$dir/report" 2>"$dir/stderr" || fail "back: $(cat "$dir/stderr" "$dir/report")"
gone B
check_at A "$dir/disk.A"
[ "$(cat "$dir/disk.A/app/only-by-tree")" = newer ] || fail "the tree did not come back"
note "  its data as a tree, there and back"
stop A
