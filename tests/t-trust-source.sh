#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-source - a user whose process is moved gets nothing of another user's files to the destination, whatever
# she makes her paths lead to between two looks: content is read through what the process holds.
. "$(dirname "$0")/lib.sh"
command -v /usr/bin/python3 >/dev/null || skip "no /usr/bin/python3"
command -v setpriv >/dev/null || skip "no setpriv"
lab_up

uid=4001
word=ROOT-ONLY-CONTENT
bytes=200000 # of both files
as_user=(setpriv --reuid $uid --regid $uid --clear-groups)

# Another user's process moves only where root has CAP_SYS_RESOURCE (bit 24); elsewhere the process is root's, and
# its files and their directories are hers.
runs_as=("${as_user[@]}")
caps=$("$lab" run A grep CapEff /proc/self/status | cut -f2)
((0x$caps >> 24 & 1)) || { runs_as=(env) && note "root lacks CAP_SYS_RESOURCE: the process runs as root, below directories of user $uid"; }

# fill WORD FILE: as many bytes for each
fill() { python3 -c 'import sys; w = sys.argv[1].encode() + b"\n"; n = int(sys.argv[3]); open(sys.argv[2], "wb").write((w * (n // len(w) + 1))[:n])' "$1" "$2" $bytes; }

# Hers and root's, each on a file system of its own, made in the same way: files made in the same order have the same
# inode number; size and mode are the same, too.
on_a() { "$lab" run A "$@"; }
setup() {
	on_a sh -c "umount -l /srv/her/d /srv/her /srv/root 2>/dev/null; mkdir -p /srv/her /srv/root
		mount -t tmpfs her /srv/her && mount -t tmpfs root /srv/root && mkdir /srv/her/d /srv/root/d" || fail "no tmpfs"
	fill "her own" "$dir/her"
	fill "$word" "$dir/root"
	on_a sh -c "cp '$dir/her' /srv/her/d/data; cp '$dir/root' /srv/root/d/data; chmod 600 /srv/*/d/data
		chown -R $uid:$uid /srv/her; chmod 700 /srv/root"
	local ino
	ino=$(on_a stat -c %i /srv/her/d/data /srv/root/d/data | uniq | wc -l)
	[ "$ino" = 1 ] || note "  (the inode numbers differ here)"
	"$lab" run B sh -c 'rm -rf /srv/her /srv/root'
}

# begin [PEER]: her process, which has her file open, and maps it; sets $pid
begin() {
	wdir=$dir/work.$RANDOM
	mkdir "$wdir"
	chmod 777 "$wdir"
	cat >"$dir/holder.py" <<'PY'
import mmap, os, socket, sys, time
fd = os.open("/srv/her/d/data", os.O_RDWR)
m = mmap.mmap(fd, 4096)
if len(sys.argv) > 2: # a datagram socket with a peer outside the tree
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.connect(sys.argv[2])
open(sys.argv[1] + "/ready", "w").close()
n = 0
while True:
    n += 1
    os.pwrite(fd, b"%08d" % n, 8192)
    m[100:108] = b"%08d" % n
    open(sys.argv[1] + "/n.new", "w").write(f"{n} {os.pread(fd, 8, 8192) == b'%08d' % n}")
    os.rename(sys.argv[1] + "/n.new", sys.argv[1] + "/n")
    time.sleep(0.05)
PY
	pid=$("$lab" spawn A "$(basename "$wdir")" "${runs_as[@]}" /usr/bin/python3 \
		"$dir/holder.py" "$wdir" "$@")
	until_true 60 '[ -e "$wdir/ready" ]' || fail "her process is not ready: $(cat "$("$lab" log "$(basename "$wdir")")")"
}

works() { # HOST: her process runs there, and reads what it writes
	local n
	n=$(cut -d' ' -f1 "$wdir/n")
	until_true 60 'f=$(cat "$wdir/n"); [ "${f%% *}" -gt $(($1 + 3)) ]' "$n" || fail "her process does not run on $1"
	grep -q True "$wdir/n" || fail "her process reads something else than it wrote"
	"$lab" run "$1" test -e "/proc/$pid" || fail "her process is not on $1"
}

# Nothing of root's is at B: in no file, and not in what her process there reads.
clean() {
	! "$lab" run B grep -rqs "$word" /srv /dev/shm /run || fail "$1: root's content is at B: $("$lab" run B grep -rls "$word" /srv /dev/shm /run)"
	! "$lab" run B sh -c "test -e /proc/$pid && cat /proc/$pid/fd/* | grep -q $word" </dev/null 2>/dev/null || fail "$1: her process at B reads root's content"
}

finish() {
	for h in A B; do "$lab" run $h kill -9 "$pid" 2>/dev/null || true; done
	until_true 60 '! "$lab" run A test -e "/proc/$pid"' || fail "her process does not end"
}

# The swaps that she can make, and root by a mount.
as_her() { on_a "${as_user[@]}" "$@"; }
to_link() { as_her sh -c 'mv /srv/her/d /srv/her/d.mine && ln -s /srv/root/d /srv/her/d'; }
from_link() { as_her sh -c 'rm /srv/her/d && mv /srv/her/d.mine /srv/her/d'; }
to_file_link() { as_her sh -c 'mv /srv/her/d/data /srv/her/d/mine && ln -s /srv/root/d/data /srv/her/d/data'; }
from_file_link() { as_her sh -c 'mv /srv/her/d/mine /srv/her/d/data'; }
to_mount() { on_a mount --bind /srv/root/d /srv/her/d; }
from_mount() { on_a umount -l /srv/her/d; }
to_hard_link() { on_a sh -c "yes $word | head -c $bytes >/srv/her/of-root; chmod 600 /srv/her/of-root; mv /srv/her/d/data /srv/her/d/mine; ln /srv/her/of-root /srv/her/d/data"; }
from_hard_link() { on_a sh -c 'mv /srv/her/d/mine /srv/her/d/data; rm /srv/her/of-root'; }

# attack SWAP FAULT UNTIL: she swaps at FAULT, and back at UNTIL, if haul gets there
attack() {
	local what=$1 at=$2 back=$3 rc=0 f=$dir/hold.$1.$2 job
	setup
	begin
	on_a env HAUL_FAULT="$at:hold,$back:hold" HAUL_FAULT_FILE="$f" "$haul" --json --mode=pre-copy "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
	job=$!
	until_true 60 '[ -s "$1" ]' "$f" || fail "$what: $at was not reached: $(cat "$dir/stderr")"
	"to_$what"
	rm "$f"
	until_true 120 '[ -s "$1" ] || ! kill -0 $2 2>/dev/null' "$f" "$job" || fail "$what: haul hangs"
	"from_$what"
	: >"$f.over"
	rm -f "$f"
	wait $job || rc=$?
	clean "$what at $at"
	if [ $rc = 0 ]; then works B; else works A; fi
	note "  $what at $at, back at $back: status $rc: $([ $rc = 0 ] && echo "moved, with her own content" || sed -n 's/^haul: //p' "$dir/stderr" | head -1)"
	finish
}

note "a rightful move"
setup
begin
move A
works B
[ "$("$lab" run B stat -c '%U %a %s' /srv/her/d/data)" = "$(on_a stat -c '%U %a %s' /srv/her/d/data)" ] || fail "owner, mode or size of her file at B"
"$lab" run B grep -q "her own" /srv/her/d/data || fail "her file at B has another content"
clean "a rightful move"
finish

note "her paths lead elsewhere between two looks"
for swap in link file_link mount hard_link; do
	attack $swap s-negotiated s-prepared
	attack $swap s-prepared s-rounds-done
done

note "she swaps all the time"
setup
begin
as_her sh -c 'ln -s /srv/root/d /srv/her/l; exec /usr/bin/python3 -c "
import ctypes, os, sys
libc = ctypes.CDLL(None)
while not os.path.exists(sys.argv[1]):
    libc.renameat2(-100, b\"/srv/her/d\", -100, b\"/srv/her/l\", 2)
" "$0"' "$dir/enough" &
swapper=$!
for i in 1 2 3; do
	on_a "$haul" --mode=pre-copy "$pid" hostB >"$dir/report" 2>&1 && break
	on_a "$haul" check "$pid" hostB >"$dir/check" 2>&1 || true
	clean "try $i of a race"
done
: >"$dir/enough"
wait $swapper || true
clean "a race"
finish

note "the name of a socket that her process sends to is root's file"
setup
on_a /usr/bin/python3 -c '
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/srv/her/peer")
os.chmod("/srv/her/peer", 0o777)
open(sys.argv[1], "w").close()
time.sleep(600)' "$dir/bound" &
peer=$!
until_true 60 '[ -e "$dir/bound" ]' || fail "no socket"
begin /srv/her/peer
as_her sh -c 'mv -f /srv/her/peer /srv/her/peer.mine; ln -s /srv/root/d/data /srv/her/peer'
rc=0
on_a "$haul" --json "$pid" hostB >"$dir/report" 2>"$dir/stderr" || rc=$?
clean "the name of a socket"
if [ $rc = 0 ]; then works B; else works A; fi
kill $peer 2>/dev/null || true
finish
