#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-fs-redis: redis with AOF and RDB in a directory that travels, under load, saving all the time: every
# acknowledged key is on the other host, in memory and, when redis is killed there, in its files.
. "$(dirname "$0")/lib.sh"
command -v redis-server >/dev/null || skip "redis-server is not installed"
lab_up
load=$top/tests/work/redis-load.py
for h in A B; do
	"$lab" run $h sh -c 'echo "fs-allow = /srv" >>/etc/haul/haul.conf; mkdir -p /srv/x'
done
"$lab" run A mkdir /srv/x/redis
conf=(--port 6379 --dir /srv/x/redis --appendonly yes --appendfsync everysec --save "1 1" --protected-mode no
	--auto-aof-rewrite-percentage 20 --auto-aof-rewrite-min-size 1mb --stop-writes-on-bgsave-error no)

# check HOST WHAT: all that was acknowledged is there
check() {
	"$lab" run "$1" python3 "$load" check --host 127.0.0.1 --port 6379 --record "$dir/acked" >"$dir/check" || fail "$2: $(cat "$dir/check")"
}
answers() {
	until_true 60 '[ "$("$lab" run "$1" redis-cli ping 2>&1)" = PONG ]' "$@" || fail "redis on $1 does not answer"
}

h=A
pid=$("$lab" spawn A redis redis-server "${conf[@]}")
answers A
for m in ${MODES:-stop-copy pre-copy post-copy hybrid auto}; do
	"$lab" run $h python3 "$load" load --host 127.0.0.1 --port 6379 --record "$dir/acked" &
	client=$!
	works 2
	# CRIU 4.2.1 may restore the epoll set that redis shares with a child that saves in the child, which
	# has fewer descriptors, and refuse: then it runs on where it is
	for try in $(seq 10); do
		"$lab" run $h "$haul" --json --mode="$m" --fs=/srv/x/redis --fs-replace "$pid" "host$(other $h)" \
			>"$dir/report" 2>"$dir/stderr" && break
		grep -q "epoll: Can't add event" "$dir/report" || fail "$m: $(cat "$dir/stderr" "$dir/report")"
		note "  refused, try $try: a child that saves"
		answers $h
	done
	gone $h
	wait $client || true	# its connection broke: it has ended
	h=$(other $h)
	check $h "$m: in memory"
	in_memory=$(cut -c1-60 "$dir/check")
	# what it has on its disk alone
	"$lab" run $h redis-cli bgsave >/dev/null 2>&1 || true
	"$lab" run $h kill -9 "$pid"
	for f in $("$lab" run $h sh -c 'ls /srv/x/redis/appendonlydir/*.manifest'); do
		"$lab" run $h redis-check-aof "$f" >"$dir/aof" 2>&1 || fail "$m: $(cat "$dir/aof")"
	done
	[ -z "$("$lab" run $h sh -c 'ls /srv/x/redis/dump.rdb 2>/dev/null')" ] ||
		"$lab" run $h redis-check-rdb /srv/x/redis/dump.rdb >"$dir/rdb" 2>&1 || fail "$m: $(cat "$dir/rdb")"
	pid=$("$lab" spawn $h "redis.$m" redis-server "${conf[@]}")
	answers $h
	check $h "$m: from its files"
	note "  $m to $h: $in_memory; files $(($(field fs_frozen_us) / 1000)) ms of $(($(field downtime_us) / 1000)) ms downtime"
done
stop $h
