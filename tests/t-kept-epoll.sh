#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-epoll - epoll sets that are shared over a fork, with a child whose number is below its parent's; redis while
# its BGSAVE child lives: there and back.
. "$(dirname "$0")/lib.sh"
lab_up

for m in auto post-copy; do
	start A "$work/kept_epoll.py"
	verify A
	for h in A B; do
		move $h --mode=$m
		verify "$(other $h)"
		note "  $m to $(other $h): downtime $(($(field downtime_us) / 1000)) ms"
	done
	"$lab" run A pkill -KILL -P "$pid" || true
	stop A
done

note "a descriptor that only the child has, in the set of both: named before the stop"
start A "$work/kept_epoll.py" --only
rc=0
"$lab" run A "$haul" check "$pid" hostB >"$dir/check" 2>&1 || rc=$?
[ $rc = 3 ] && grep -q 'is an epoll set that watches a descriptor' "$dir/check" || fail "status $rc: $(cat "$dir/check")"
"$lab" run A pkill -KILL -P "$pid" || true
stop A

command -v redis-server >/dev/null || { note "no redis: not tested"; exit 0; }
note "redis while its BGSAVE child lives"
mkdir "$dir/redis"
pid=$("$lab" spawn A redis redis-server --port 7070 --save '' --dir "$dir/redis" --rdb-key-save-delay 15000) # 30 s
listens A 7070
# ask HOST COMMANDS WORDS: redis answers with WORDS
ask() {
	# shellcheck disable=SC2016	# expanded there
	"$lab" run "$1" timeout 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/7070; printf "%b" "$1" >&3; while read -r line <&3; do case $line in *"$2"*) exit 0 ;; esac; done; exit 1' - "$2" "$3" ||
		fail "redis on $1 does not answer '$2' by $3"
}
ask A "$(printf 'SET k%d v\\r\\n' $(seq 2000))" OK
"$lab" run A bash -c "echo $((pid - 60)) >/proc/sys/kernel/ns_last_pid"
ask A 'BGSAVE\r\n' started
child=$("$lab" run A pgrep -P "$pid")
[ "$child" -lt "$pid" ] || fail "the child's number $child is not below $pid"
for h in A B; do
	move $h
	ask "$(other $h)" 'INFO persistence\r\n' rdb_bgsave_in_progress:1
	ask "$(other $h)" 'GET k77\r\n' v
done
until_true 120 '(ask A "INFO persistence\r\n" rdb_bgsave_in_progress:0) 2>/dev/null' || fail "BGSAVE does not end"
ask A 'INFO persistence\r\n' rdb_last_bgsave_status:ok
stop A
