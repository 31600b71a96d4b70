#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-save-programs - redis under load, CPython with threads, trees, shared memory: saved while they run, ended into
# an archive, loaded lazily and not; every key that was acknowledged, every page.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive.sh"
lab_up

for work_of in "$top/tests/work/pythreads.py" "$work/threads" "$work/tree" "$work/shared" "$work/sparse" "$work/misc"; do
	ar=$dir/$(basename "$work_of").haul
	start A "$work_of"
	save A
	verify A
	save A --end
	gone A
	saved=$verified
	load A
	verify A
	end A
	"$lab" run A "$haul" archive verify "$ar" >"$dir/out" || fail "verify: $(cat "$dir/out")"
	verified=$saved
	if [ "$work_of" = "$work/misc" ]; then
		# the loaded one has written to a file, which is newer now
		refused 3 "at the destination\|is written by the tree" "$lab" run A "$haul" load "$ar"
		load A --lazy=no --files=ship-differing
	else
		load A --lazy=no
	fi
	verify A
	end A
	note "  $(basename "$work_of"): saved, ended, loaded lazily and not; $(($(stat -c %s "$ar") >> 10)) KiB"
done

command -v redis-server >/dev/null || skip "redis-server is not installed"
mkdir "$dir/data"
chmod 777 "$dir/data"
ar=$dir/redis.haul
pid=$("$lab" spawn A redis redis-server --port 6379 --save '' --appendonly no --dir "$dir/data" --protected-mode no)
listens A 6379
for i in 1 2 3; do
	"$lab" run A python3 "$top/tests/work/redis-load.py" load --host 127.0.0.1 --port 6379 --record "$dir/acked" &
	client=$!
	works 1
	save A --end
	wait $client || true # its connection broke: it has ended
	gone A
	load A $([ $i = 2 ] && echo --lazy=no)
	"$lab" run A python3 "$top/tests/work/redis-load.py" check --host 127.0.0.1 --port 6379 --record "$dir/acked" \
		>"$dir/check" || fail "load $i: $(cat "$dir/check")"
	note "  redis under load, $i: $(cut -c1-100 "$dir/check")"
done
end A
