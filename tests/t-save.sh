#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-save - a writer into an archive and back: it runs on, is stopped, is ended; each state has every page; what
# lives is not loaded a second time.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive.sh"
lab_up
ar=$dir/writer.haul
start A "$work/writer" --mib 64 --rate 20000
verify A

note "  saved while it runs, three times"
for i in 1 2 3; do
	save A
	[ "$(field archive_state)" = "$i" ] || fail "state $(field archive_state), not $i"
	verify A
done
refused 3 "of a program that was not ended.* lives" "$lab" run A "$haul" load "$ar"
verify A

note "  a copy beside the one that lives, in a pid namespace of its own"
original=$pid
load A --copy
pid=$(field host_pid)
[ -n "$pid" ] && [ "$pid" != "$original" ] || fail "the copy has process ID \"$pid\""
saved=$verified
verified=3 # as when state 3 was saved
rm "$wdir/verify.4"
verify A
end A
pid=$original
verified=$saved
verify A

note "  an archive that is taken away, or replaced, meanwhile: it runs on"
cp "$ar" "$dir/kept.haul"
for what in true "ln $dir/kept.haul $dir/away.haul"; do # a hook has 5 s, also on a busy disk
	cp "$ar" "$dir/away.haul"
	printf '#!/bin/sh\nrm %s\n%s\n' "$dir/away.haul" "$what" >"$dir/hook"
	chmod 755 "$dir/hook"
	refused 1 "was removed, renamed or replaced" "$lab" run A "$haul" save --end --hook=prepare="$dir/hook" "$pid" \
		"$dir/away.haul"
	verify A
done
rm -f "$dir/away.haul"
ln -s "$dir/away.haul" "$dir/dangling.haul"
refused 1 "symbolic link to what does not exist" "$lab" run A "$haul" save "$pid" "$dir/dangling.haul"
[ ! -e "$dir/away.haul" ] || fail "a file where the link points to"

note "  stopped, resumed by SIGCONT"
save A --stop
"$lab" run A grep -q '^State:.*T' "/proc/$pid/status" || fail "it is not stopped"
"$lab" run A kill -CONT "$pid"
verify A

note "  ended, and loaded: lazily, and not"
save A --end
gone A
saved=$verified
load A
verify A
refused 3 "was loaded.* lives: process $pid" "$lab" run A "$haul" load "$ar"
verify A
end A
verified=$saved
load A --lazy=no
verify A
end A

note "  an earlier state; the same process is saved again"
verified=2
load A --state=2
verify A
save A --end
gone A
[ "$(field archive_state)" = 6 ] || fail "state $(field archive_state), not 6"

note "  on another host: it was ended here; then nothing is known of it here"
saved=$verified
load B
verify B
refused 3 "may live on hostB" "$lab" run A "$haul" load "$ar"
end B
verified=$saved
load A --copy
verify A
ar=$dir/ro.haul
save A --end
gone A
saved=$verified

note "  read-only: only as a copy"
verified=$saved
"$lab" run A mount --bind -o ro "$dir/ro.haul" "$dir/ro.haul"
"$lab" run A mount -o remount,bind,ro "$dir/ro.haul"
refused 3 "cannot be written to" "$lab" run A "$haul" load "$ar"
load A --copy
verify A
end A
"$lab" run A umount "$dir/ro.haul"
