#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-newer-criu - Debian 12's kernel with the CRIU that contrib/find-criu chose on this host: it says
# when the tree is stopped, so it may leave out pages without a soft-dirty bit (docs/FREEZE.md).
. "$(dirname "$0")/../lib.sh"
[ -n "${HAUL_VM_HOSTS:-}" ] && [ "${HAUL_VM_HOSTS// /}" = bookwormbookworm ] || skip "for two machines of Debian 12"
chosen=$(head -1 /var/lib/haul/criu/chosen)
root=${chosen%/usr/sbin/criu}
lab_up
cp -a "$root" "$dir/criu"
for h in A B; do
	"$lab" run $h sh -c "mkdir -p ${root%/*} && rm -rf $root && cp -a $dir/criu $root &&
		echo 'criu = $chosen' >/etc/haul/haul.conf && pkill -x hauld"
	"$lab" run $h "$chosen" --version | grep -q Version: || fail "$chosen does not run in $h"
	start_hauld $h
done

mode_of() {
	python3 -c 'import json, sys
for line in open(sys.argv[1]):
    e = json.loads(line)
    if e["event"] == "freeze": print(e["freeze_mode"])' "$dir/report"
}

start A "$work/writer" --mib "${WRITER_MIB:-64}" --rate "${WRITER_RATE:-2000}"
h=A
# with none nothing is known to be clean: what it costs to stream everything
for way in pre-copy/auto hybrid/auto post-copy/auto stop-copy/none pre-copy/auto; do
	mode=${way%/*}
	move "$h" --mode=$mode --tracker=${way#*/}
	h=$(other "$h")
	verify "$h"
	note "  $mode: $(mode_of), $(field rounds) rounds, dump $(($(field dump_us) / 1000)) ms"
	want=push-dirty
	[ $mode != stop-copy ] || want=push
	[ "$(mode_of)" = $want ] || fail "the freeze was by $(mode_of)"
done
stop "$h"
