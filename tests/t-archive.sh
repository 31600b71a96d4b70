#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-archive - haul archive: show and verify, diff, prune; damage is named; CRIU by itself restores what is exported.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive.sh"
lab_up
ar=$dir/writer.haul
criu=${HAUL_CRIU:-$(head -1 /var/lib/haul/criu/chosen)}
start A "$work/writer" --mib 32 --rate 100
for i in 1 2 3 4; do
	save A
	verify A
done
save A --end
gone A

"$lab" run A "$haul" archive show "$ar" >"$dir/out"
[ "$(grep -c '^state [1-4] .*writer (pid .*left running' "$dir/out")" = 4 ] && grep -q '^state 5 .*left ended' "$dir/out" ||
	fail "show: $(cat "$dir/out")"
"$lab" run A "$haul" archive verify "$ar" >"$dir/out" || fail "verify: $(cat "$dir/out")"
[ "$(grep -c 'is whole' "$dir/out")" = 5 ] || fail "verify: $(cat "$dir/out")"
"$lab" run A "$haul" archive diff "$ar" 1 2 >"$dir/out" || fail "diff: $(cat "$dir/out")"
read -r same _ <"$dir/out"
[ "$same" -gt 4000 ] || fail "diff: $(cat "$dir/out")"
[ "$(stat -c %s "$ar")" -lt $((64 << 20)) ] || fail "five states of 32 MiB take $(stat -c %s "$ar") bytes"
note "  five states: shown, whole, few pages differ"

before=$(stat -c %b "$ar")
"$lab" run A "$haul" --json archive prune --keep=2 "$ar" >"$dir/out" || fail "prune: $(cat "$dir/out")"
[ "$(stat -c %b "$ar")" -lt "$before" ] || fail "no room was given back: $(cat "$dir/out")"
"$lab" run A "$haul" archive verify "$ar" >"$dir/out" || fail "verify: $(cat "$dir/out")"
[ "$(grep -c 'is whole' "$dir/out")" = 2 ] || fail "verify: $(cat "$dir/out")"
refused 2 "has no state 2" "$lab" run A "$haul" archive verify --state=2 "$ar"
refused 2 "has no state 9" "$lab" run A "$haul" archive diff "$ar" 4 9
refused 2 "has no state x" "$lab" run A "$haul" archive diff "$ar" x 4
refused 2 "has no state 9" "$lab" run A "$haul" archive export --state=9 "$ar" "$dir/none"
note "  pruned to two: whole, and smaller; a state that is not there is named"

mkdir "$dir/small"
"$lab" run A mount -t tmpfs -o size=64m tmpfs "$dir/small"
"$lab" run A cp "$ar" "$dir/small/w.haul"
"$lab" run A dd if=/dev/zero of="$dir/small/rest" bs=4k status=none 2>/dev/null && fail "the disk is not full"
"$lab" run A "$haul" archive prune --keep=1 "$dir/small/w.haul" >"$dir/out" 2>&1 || fail "prune on a full disk: $(cat "$dir/out")"
"$lab" run A "$haul" archive verify "$dir/small/w.haul" >"$dir/out" || fail "verify: $(cat "$dir/out")"
[ "$(grep -c 'is whole' "$dir/out")" = 1 ] || fail "verify: $(cat "$dir/out")"
"$lab" run A umount "$dir/small"
note "  pruned on a full disk"

cp "$ar" "$dir/bad.haul"
python3 - "$dir/bad.haul" <<'PY'
import os, sys
f = open(sys.argv[1], "r+b")
size = os.fstat(f.fileno()).st_size
at = os.lseek(f.fileno(), 12288, os.SEEK_DATA)
f.seek(at + 5000)
f.write(b"damage" * 100)
PY
refused 1 "is damaged" "$lab" run A "$haul" archive verify "$dir/bad.haul"
note "  a damaged piece is named"

"$lab" run A "$haul" archive export "$ar" "$dir/images" >"$dir/out" || fail "export: $(cat "$dir/out")"
# shellcheck disable=SC2046	# words
"$lab" run A "$criu" $(sed -n 's/^criu //p' "$dir/out") --restore-detached --log-file restore.log ||
	fail "criu restore: $(tail -20 "$dir/images/restore.log")"
verify A
end A
note "  exported: CRIU by itself restores it, with every page"

verified=$((verified - 1))
load A
verify A

cp "$ar" "$dir/theirs.haul"
chown 1234 "$dir/theirs.haul"
for command in "save $pid $dir/theirs.haul" "load $dir/theirs.haul" "archive prune --keep=1 $dir/theirs.haul"; do
	# shellcheck disable=SC2086	# words
	refused '[13]' "belongs to user 1234" "$lab" run A "$haul" $command
done
chown 0 "$dir/theirs.haul"
chmod 664 "$dir/theirs.haul"
refused 3 "can be changed by other users" "$lab" run A "$haul" load "$dir/theirs.haul"
note "  the archive of another user is refused"
verify A
end A
