#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-aio - native AIO past the page cache, always with requests under way, as databases have them: each is
# answered, rightly, wherever the process is then; also from a disk that takes its time.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/aio" --file "$dir/blocks"
"$lab" run A "$haul" check "$pid" hostB >"$dir/check" || fail "haul check finds a blocker: $(cat "$dir/check")"
grep -q 'direct-aio' "$dir/check" || fail "no warning: $(cat "$dir/check")"
in_every_mode

dev=$(stat -c %d "$dir/blocks")
dev=$((dev >> 8)):$((dev & 255))
[ ! -e "/sys/dev/block/$dev/partition" ] || dev=$(cat "/sys/dev/block/$dev/../dev")
slow=$(awk '$3 == "cgroup" && $4 ~ /blkio/ { print $2; exit }' /proc/mounts)/haul-aio.$$
mkdir "$slow" 2>/dev/null || slow=

# slowly BYTES_PER_S: the disk for the workload, and one move in each mode, each of which must be right
slowly() {
	local rw mode to
	for rw in read write; do echo "$dev $1" >"$slow/blkio.throttle.${rw}_bps_device"; done
	for mode in stop-copy post-copy pre-copy; do
		to=$(other "$where")
		"$lab" pid "$where" "$pid" >"$slow/cgroup.procs"
		works 0.5
		move "$where" --mode=$mode
		verify "$to"
		where=$to
	done
	note "  with $(($1 >> 20)) MiB/s of the disk: right in each mode"
}

if [ -n "$slow" ] && echo "$dev 8388608" 2>/dev/null >"$slow/blkio.throttle.read_bps_device"; then
	slowly $((8 << 20))
	slowly $((32 << 20))
else
	note "  NOT SHOWN: nothing here limits the disk $dev (no blkio cgroup)"
fi
stop "$where"
until_true 60 '[ -z "$slow" ] || rmdir "$slow"' || fail "$slow is still in use"
