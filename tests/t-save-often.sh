#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-save-often - redis is saved while a client writes to it, ten times into one archive; each state, loaded on another host, has
# every key that was acknowledged before its save began. make check-archive.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive.sh"
command -v redis-server >/dev/null || skip "redis-server is not installed"
lab_up
mkdir "$dir/data"
chmod 777 "$dir/data"
ar=$dir/redis.haul
pid=$("$lab" spawn A redis redis-server --port 6379 --save '' --appendonly no --dir "$dir/data" --protected-mode no)
listens A 6379
"$lab" run A python3 "$top/tests/work/redis-load.py" load --host 127.0.0.1 --port 6379 --record "$dir/acked" &
client=$!
times=${TIMES:-10}
for ((i = 1; i <= times; i++)); do
	works 0.5
	cp "$dir/acked" "$dir/acked.$i"
	save A
	[ "$(field archive_state)" = "$i" ] || fail "state $(field archive_state), not $i"
done
kill -0 $client || fail "the client has noticed a save"
"$lab" run A kill -9 "$pid"
gone A
wait $client || true
note "  saved $times times: $(($(stat -c %s "$ar") >> 20)) MiB"
for ((i = 1; i <= times; i++)); do
	load B --copy --state=$i
	listens B 6379
	"$lab" run B python3 "$top/tests/work/redis-load.py" check --host 127.0.0.1 --port 6379 --record "$dir/acked.$i" >"$dir/check" ||
		fail "state $i: $(cat "$dir/check")"
	note "  state $i: $(cut -c1-100 "$dir/check")"
	end B
done
