#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-fs-exact: every kind of file and attribute arrives, changed under our hands between the passes;
# rsync compares. By fanotify, and by times.
. "$(dirname "$0")/lib.sh"
command -v rsync >/dev/null || skip "rsync is not installed: run contrib/install-deps"

lab_up
for h in A B; do
	"$lab" run "$h" sh -c 'echo "fs-allow = /srv" >>/etc/haul/haul.conf; mkdir -p /srv/x'
done
srv() { echo "/proc/$("$lab" pid "$1" 1)/root/srv/x"; }

# what rsync does not compare; reading directories and links gives them a new atime
rest() {
	(cd "$(srv "$1")/zoo" && find . \( -type d -printf '%p %y %T@\n' \) -o \( -type l -printf '%p %y %T@ %n\n' \) -o \
		-printf '%p %y %T@ %A@ %s %n\n' | LC_ALL=C sort)
}
blocks() { du -s --block-size=1k "$(srv "$1")/zoo" | cut -f1; }

compare() {
	local from=$1 to=$2 out a b
	rest "$from" >"$dir/rest.$from"
	rest "$to" >"$dir/rest.$to"
	diff "$dir/rest.$from" "$dir/rest.$to" >"$dir/rest.diff" || fail "$(head -20 "$dir/rest.diff")"
	# rsync follows no link of /proc in the place that it would write to
	out=$(cd "$(srv "$to")/zoo" && rsync -aHAXn --checksum --itemize-changes --delete "$(srv "$from")/zoo/" .)
	[ -z "$out" ] || fail "rsync finds: $(echo "$out" | head -20)"
	a=$(blocks "$from")
	b=$(blocks "$to")
	# holes are kept to blocks of 16 KiB; the directory has more than a GiB of them
	[ "$b" -le $((a * 5 / 4)) ] || fail "holes were filled: $a KiB there, $b KiB here"
}

"$lab" run A "$work/treezoo.py" /srv/x/zoo --files "${FILES:-300}"
start A "$work/writer" --mib 64
h=A seed=1
for watch in fanotify times; do
	[ $watch = fanotify ] || export HAUL_FS_NO_WATCH=1
	to=$(other "$h")
	"$lab" run "$h" "$work/treezoo.py" /srv/x/zoo --change ${seed}1 &
	changes=$!
	"$lab" run "$h" bash -c "echo \$\$ >$dir/haul.pid; exec $haul --json --mode=pre-copy --max-rounds=2 --bandwidth-limit-mbit=200 \
		--fs=/srv/x/zoo --fs-replace $pid host$to" >"$dir/report" 2>"$dir/stderr" &
	moving=$!
	UNTIL_STEP_S=0.01 until_true 60 'grep -q "\"state\":\"rounds\"" "$dir/report" || ! kill -0 $moving' || fail "no rounds"
	kill -0 $moving 2>/dev/null || fail "haul: $(cat "$dir/stderr" "$dir/report")"
	# the first pass is over; haul waits for us before it looks again
	"$lab" run "$h" kill -STOP "$(cat "$dir/haul.pid")"
	wait $changes || fail "the directory could not be changed"
	for s in 2 3 4; do "$lab" run "$h" "$work/treezoo.py" /srv/x/zoo --change $seed$s; done
	"$lab" run "$h" kill -CONT "$(cat "$dir/haul.pid")"
	wait $moving || fail "haul: $(cat "$dir/stderr" "$dir/report")"
	[ "$(field fs_watch)" = $watch ] || fail "changes were found by $(field fs_watch), not $watch"
	note "  by $watch: $(field fs_passes) passes, $(field fs_files) files, $(($(field fs_bytes) >> 20)) MiB sent; frozen $(($(field fs_frozen_us) / 1000)) ms"
	compare "$h" "$to"
	h=$to
	verify "$h"
	seed=$((seed + 1))
done
stop "$h"
