#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-systemd-debian - units as Debian ships them, there and back under load, or refused before anything stops, with the
# reason. No file of a unit is changed.
. "$(dirname "$0")/lib-systemd.sh"
for h in A B; do on $h sh -c 'echo "fs-allow = /var" >>/etc/haul/haul.conf'; done
postgres=$(on A sh -c 'ls /etc/postgresql')

# ask HOST COMMAND...: within a time
ask() { on "$1" timeout $limit_s "${@:2}"; }

# NAME_put HOST N: a write that is acknowledged; NAME_count HOST: how many there are; NAME_ask HOST: does it work?
redis_put() { ask "$1" redis-cli set "k$2" "$2" | grep -q OK; }
redis_count() { ask "$1" redis-cli dbsize | tr -dc 0-9; }
redis_ask() { ask "$1" redis-cli ping | grep -q PONG; }
memcached_ask() { ask "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/11211; echo version >&3; read -t 10 -r l <&3; [[ $l = VERSION* ]]'; }
page_ask() { ask "$1" curl -sS -o /dev/null --max-time 60 http://127.0.0.1/; }
nginx_ask() { page_ask "$1"; }
apache_ask() { page_ask "$1"; }
mariadb_put() { ask "$1" mariadb -e "create table if not exists mysql.haul (k int primary key); insert into mysql.haul values ($2)"; }
mariadb_count() { ask "$1" mariadb -NBe 'select count(*) from mysql.haul'; }
mariadb_ask() { ask "$1" mariadb -e 'select 1'; }
pg() { ask "$1" setpriv --reuid=postgres --regid=postgres --init-groups psql -qtAc "$2" postgres; }
postgres_put() { pg "$1" "create table if not exists haul (k int primary key); insert into haul values ($2)"; }
postgres_count() { pg "$1" 'select count(*) from haul'; }
postgres_ask() { pg "$1" 'select 1'; }
haproxy_ask() { ask "$1" test -S /run/haproxy/admin.sock; }
named_ask() { ask "$1" dig +time=20 +tries=2 @127.0.0.1 localhost A | grep -q 127.0.0.1; }
unbound_ask() { named_ask "$1"; }
rabbit_ask() { ask "$1" rabbitmqctl -q ping; }
ssh_ask() { ask "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/22; read -t 10 -r l <&3; [[ $l = SSH* ]]'; }

# write_on HOST: one write after the other, which are counted when they are acknowledged
write_on() {
	: >"$dir/stop-after"
	(
		trap - EXIT
		while [ -e "$dir/stop-after" ] && "${name}_put" "$1" $((puts += 1)) >/dev/null 2>&1; do echo "$puts" >>"$dir/acked"; done
	) &
	writer=$!
	local had
	had=$(wc -l <"$dir/acked")
	until_true $limit_s '[ "$(wc -l <"$dir/acked")" -gt $1 ]' "$had" || fail "$name at $1 takes no writes"
}
# all_there HOST: a write that was under way when it left may be there, too
all_there() {
	wait "$writer" || true
	puts=$(($(wc -l <"$dir/acked") + 1000 * ++round))
	local n acked
	n=$("${name}_count" "$1") acked=$(wc -l <"$dir/acked")
	[ "$n" -ge "$acked" ] && [ "$n" -le $((acked + round)) ] || fail "$name: $n of $acked acknowledged writes"
}

# trip NAME UNIT [OPTION]...: prints what became of it
trip() {
	name=$1 unit=$2 puts=0 round=0 h='' o='' has_load='' status=0
	shift 2
	: >"$dir/acked"
	! declare -F "${name}_put" >/dev/null || has_load=1
	on A systemctl cat "$unit" >/dev/null 2>&1 || { note "$unit: not installed"; return; }
	begin "$unit"
	until_true $limit_s '"${name}_ask" A' || fail "$unit does not answer at A"
	status=0
	on A haul check --tcp=close "$@" "$unit" hostB >"$dir/check" 2>&1 || status=$?
	if [ $status = 3 ]; then
		hauls A --tcp=close "$@" "$unit" hostB && fail "$unit: check refuses, and it moves"
		is A "$unit" MainPID "$pid"
		"${name}_ask" A || fail "$unit does not answer behind a refusal"
		refused="$refused $name"
		note "$unit: refused: $(grep -i -m1 blocker "$dir/check" || cat "$dir/check")"
		on A systemctl stop "$unit"
		return
	fi
	for h in A B; do
		o=B
		[ $h = A ] || o=A
		[ -z "$has_load" ] || write_on $h
		hauls $h --tcp=close "$@" "$unit" host$o || fail "$unit from $h: $(cat "$dir/out")"
		becomes $o "$unit" MainPID "$pid"
		is $o "$unit" ActiveState active
		becomes $h "$unit" ActiveState inactive
		until_true $limit_s '"${name}_ask" $o' || fail "$unit does not answer at $o"
		[ -z "$has_load" ] || all_there $o
	done
	ended A "$unit"
	moves="$moves $name"
	note "$unit: there and back${has_load:+, with every acknowledged write}"
}

moves='' refused=''
trip nginx nginx.service
trip apache apache2.service
trip haproxy haproxy.service
trip named named.service
trip unbound unbound.service
trip ssh ssh.service
trip memcached memcached.service
trip redis redis-server.service --fs=/var/lib/redis
trip mariadb mariadb.service --fs=/var/lib/mysql
trip postgres "postgresql@$postgres-main.service" --fs=/var/lib/postgresql
trip rabbit rabbitmq-server.service --fs=/var/lib/rabbitmq
echo "moved:$moves; refused:$refused"
note "ok"
