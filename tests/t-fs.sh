#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-fs: a directory moves with the process that writes in it, also by AIO, there and back, in every mode.
. "$(dirname "$0")/lib.sh"

lab_up
for h in A B; do
	"$lab" run "$h" sh -c 'echo "fs-allow = /srv" >>/etc/haul/haul.conf; mkdir -p /srv/x'
done

start A "$work/filekeeper.py" --tree /srv/x/keeper --aio ${FULL:+--full}
works 1
verify A
echo '{ "fs": ["/srv/x/keeper"], "exclude": ["*.none"] }' >"$dir/policy.json"
! "$lab" run A "$haul" --fs-from-policy "$pid" hostB >"$dir/report" 2>&1 || fail "it moved with no directories"
grep -q 'policy default lists no directories' "$dir/report" || fail "expected 'policy default lists no directories' in: $(cat "$dir/report")"
h=A
for mode in ${MODES:-stop-copy post-copy auto}; do
	trees=(--fs=/srv/x/keeper)
	[ "$mode" != auto ] || trees=(--policy="$dir/policy.json" --fs-from-policy --exclude="cache/*.[ab]")
	"$lab" run "$h" sh -c 'cd /srv/x/keeper && mkdir -p a.none cache && touch a.none/in b.none cache/x.a cache/x.c x.a'
	move "$h" --mode="$mode" "${trees[@]}" --fs-replace
	h=$(other "$h")
	for f in a.none b.none cache/x.a; do
		if "$lab" run "$h" test -e /srv/x/keeper/$f; then kept=yes; else kept=; fi
		[ "$kept" = "$([ "$mode" = auto ] || echo yes)" ] || fail "$mode: --exclude and $f"
	done
	"$lab" run "$h" test -e /srv/x/keeper/cache/x.c -a -e /srv/x/keeper/x.a || fail "$mode: excluded too much"
	works 0.5
	verify "$h"
	note "  $mode to $h: downtime $(($(field downtime_us) / 1000)) ms, files $(($(field fs_frozen_us) / 1000)) ms of it, $(field fs_passes) passes by $(field fs_watch)"
	[ -z "$("$lab" run "$h" sh -c 'ls -A /srv/x | grep -v "^keeper$"')" ] || fail "something is left: $("$lab" run "$h" ls -A /srv/x)"
	[ -z "$("$lab" run "$h" sh -c 'ls -A /run/haul/fs 2>/dev/null')" ] || fail "a record is left"
done
stop "$h"
