#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-save-crash - haul is killed at each step of a save, and the disk is full: the process runs on or is in the
# archive, never neither; an earlier state stays loadable.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive.sh"
lab_up
ar=$dir/writer.haul

# killed POINT [OPTION]...: a save that is killed there
killed() {
	local point=$1
	shift
	rm -f "$dir/fault"
	"$lab" run A env HAUL_FAULT="$point:kill" HAUL_FAULT_FILE="$dir/fault" "$haul" -q save "$@" "$pid" "$ar" \
		>"$dir/out" 2>&1 && fail "not killed at $point"
	"$lab" run A "$haul" -q recover >"$dir/out" 2>&1 || fail "recover after $point: $(cat "$dir/out")"
}

start A "$work/writer" --mib 16 --rate 5000
for point in s-connected s-negotiated s-prepared s-rounds-done s-freeze-recorded s-stopped s-dumped s-held-recorded \
	s-sent a-pieces-written a-index-synced s-undo; do
	killed "$point"
	verify A
	[ ! -e "$ar" ] || fail "$point: an archive, though it was not complete"
done
note "  twelve points of the first save: it runs on, no archive"
save A
verify A
kept=$verified
for point in s-rounds-done s-stopped s-held-recorded a-pieces-written a-index-synced s-undo; do
	killed "$point"
	verify A
done
end A
verified=$((kept - 1))
load A
verify A
note "  six points of the second: it runs on, and the first state is good"

for point in s-stopped s-sent a-pieces-written a-index-synced a-root-synced s-restored-heard s-commit-recorded; do
	killed "$point" --end
	verify A
done
note "  before the archive says that it was ended: it runs on"
at=$verified
for point in s-commit-sent s-running-heard s-drained-heard s-copy-killed; do
	killed "$point" --end
	if "$lab" run A test -e "/proc/$pid"; then
		# COMMIT was said, but its writer died first
		verify A
		at=$verified
	else
		verified=$at
		load A
		verify A
		at=$verified
	fi
done
note "  and behind that: one of the two, whole"

note "  Ctrl-C: until the state is being written it is given up, with --end until the hand-over; the archive is as it was"
ar=$dir/int.haul
# interrupted POINT [OPTION]...: SIGINT there
interrupted() {
	local point=$1
	shift
	rm -f "$dir/fault" "$dir/fault.over"
	"$lab" run A env HAUL_FAULT="$point:hold" HAUL_FAULT_FILE="$dir/fault" "$haul" save "$@" "$pid" "$ar" >"$dir/out" 2>&1 &
	saver=$!
	until_true 60 '[ -s "$dir/fault" ]' || fail "it does not come to $point: $(cat "$dir/out")"
	"$lab" run A kill -INT "$(cat "$dir/fault")"
}
interrupted a-pieces-written
until_true 60 'grep -qi "cancelled\|stopped" "$dir/out"' || fail "nothing is said: $(cat "$dir/out")"
rm "$dir/fault"
rc=0
wait $saver || rc=$?
[ $rc = 130 ] || fail "status $rc: $(cat "$dir/out")"
[ ! -e "$ar" ] || fail "an archive, though it was given up"
verify A
save A
verify A
sum=$("$lab" run A "$haul" archive show "$ar")
interrupted a-pieces-written
until_true 60 'grep -qi "cancelled\|stopped" "$dir/out"' || fail "nothing is said: $(cat "$dir/out")"
rm "$dir/fault"
wait $saver && fail "not given up"
verify A
interrupted s-restored-heard --end
rm "$dir/fault"
wait $saver && fail "not given up"
verify A
[ "$("$lab" run A "$haul" archive show "$ar")" = "$sum" ] || fail "the archive has changed: $("$lab" run A "$haul" archive show "$ar")"
interrupted a-index-synced
until_true 60 'grep -q "is being written" "$dir/out"' || fail "nothing is said: $(cat "$dir/out")"
rm "$dir/fault"
wait $saver || fail "the state that was being written: $(cat "$dir/out")"
verify A
[ "$("$lab" run A "$haul" archive show "$ar" | grep -c '^state')" = 2 ] || fail "not two states"
rm "$ar"

note "  a full disk"
mkdir "$dir/small"
"$lab" run A mount -t tmpfs -o size=5m tmpfs "$dir/small"
ar=$dir/small/w.haul
refused 1 "No space left" "$lab" run A "$haul" save "$pid" "$ar"
verify A
[ -z "$("$lab" run A ls -A "$dir/small")" ] || fail "something is left of it"
"$lab" run A mount -o remount,size=40m "$dir/small"
save A
verify A
at=$verified
size=$("$lab" run A stat -c %s "$ar")
"$lab" run A mount -o remount,size=$(((size >> 20) + 2))m "$dir/small"
refused 1 "No space left" "$lab" run A "$haul" save --end "$pid" "$ar"
verify A
[ "$("$lab" run A stat -c %s "$ar")" = "$size" ] || fail "the archive is longer than it was"
end A
verified=$((at - 1))
load A
verify A
end A
"$lab" run A umount "$dir/small"
