#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-servers - real programs of Debian, each moved there and back while clients use it, first as haul decides, then with
# post-copy. Each is asked before and after; of those that store something every acknowledged write must be there.
# t-servers.sh NAME... tries these only; BY=archive: by haul save --end and haul load. A program that is not installed is said and left out.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive.sh"

# in_path PROGRAM: its path; status 1: it is not installed
in_path() { command -v "$1" || PATH=$PATH:/usr/lib/postgresql/15/bin command -v "$1"; }

# run HOST COMMAND...: within 30 s
run() { "$lab" run "$1" timeout 30 "${@:2}"; }

# http HOST PORT WORDS: a page of it has WORDS
http() { run "$1" curl -sS --max-time 20 "http://127.0.0.1:$2/" | grep -q -- "$3"; }

# home_of NAME USER: a folder $dir/NAME for the server, $home, and its user, $user
home_of() {
	home=$dir/$1
	user=$2
	mkdir -p "$home"
	chown "$user" "$home"
	chmod 755 "$dir" "$home"
}

# write_on HOST NAME: makes one write after the other and notes those that were acknowledged
write_on() {
	local host=$1 name=$2
	(
		trap - EXIT
		while "${name}_put" "$host" $((n_puts += 1)) >/dev/null 2>&1; do echo "$n_puts" >>"$dir/acked"; done
	) &
	writer=$!
	until_true 60 '[ "$(wc -l <"$dir/acked")" -ge $(($1 + 3)) ]' "$(wc -l <"$dir/acked")" || fail "$name on $host takes no writes"
}

# ---- the programs: NAME_needs, NAME_start (in A, sets pid), NAME_ask HOST; with NAME_put and NAME_count a load ----

mariadb_needs() { in_path mariadbd; }
mariadb_start() {
	home_of mariadb mysql
	mariadb-install-db --no-defaults --user="$user" --datadir="$home/data" --skip-test-db >/dev/null 2>&1
	pid=$("$lab" spawn A mariadb mariadbd --no-defaults --user="$user" --datadir="$home/data" --socket="$home/s" --port=7306 \
		--pid-file="$home/pid" --innodb-use-native-aio=0)
	until_true 60 'run A mariadb --no-defaults -S "$home/s" -e "create database d; create table d.t (k int primary key);
		create user l@localhost; create user l@127.0.0.1; grant all on d.* to l@localhost; grant all on d.* to l@127.0.0.1"' ||
		fail "mariadb is not ready: $(tail -3 "$("$lab" log mariadb)")"
}
# by TCP: a client of a UNIX socket is a process outside that is connected, and stands in the way while it lasts
mariadb_sql() { run "$1" mariadb --no-defaults -h 127.0.0.1 -P 7306 -u l "${@:2}"; }
mariadb_put() { mariadb_sql "$1" -e "insert into d.t values ($2)"; }
mariadb_count() { mariadb_sql "$1" -NBe 'select count(*) from d.t'; }
mariadb_ask() { mariadb_sql "$1" -e 'check table d.t' | grep -q OK; }

postgres_needs() { in_path postgres && in_path psql; }
postgres_start() {
	home_of postgres postgres
	local bin
	bin=$(dirname "$(in_path postgres)")
	runuser -u postgres -- "$bin/initdb" -A trust -D "$home/data" >/dev/null
	# it has a System V segment, as haul check says: by its remedy it moves
	pid=$("$lab" spawn A postgres unshare --ipc setpriv --reuid=postgres --regid=postgres --init-groups "$bin/postgres" -D "$home/data" -p 7432 -k "$home")
	until_true 60 'run A psql -h 127.0.0.1 -p 7432 -U postgres -c "create table t (k int primary key)"' ||
		fail "postgres is not ready: $(tail -3 "$("$lab" log postgres)")"
}
postgres_put() { run "$1" psql -qh 127.0.0.1 -p 7432 -U postgres -c "insert into t values ($2)"; }
postgres_count() { run "$1" psql -h 127.0.0.1 -p 7432 -U postgres -tAc 'select count(*) from t'; }
postgres_ask() { run "$1" psql -h 127.0.0.1 -p 7432 -U postgres -tAc 'select 6 * 7' | grep -q 42; }

redis_needs() { in_path redis-server; }
redis_start() {
	home_of redis root
	pid=$("$lab" spawn A redis redis-server --port 7079 --appendonly yes --dir "$home")
	listens A 7079
}
redis_put() { [ "$(run "$1" redis-cli -p 7079 set "k$2" v)" = OK ]; }
redis_count() { run "$1" redis-cli -p 7079 dbsize; }
redis_ask() { [ "$(run "$1" redis-cli -p 7079 ping)" = PONG ]; }

bind9_needs() { in_path named && in_path dig; }
bind9_start() {
	home_of bind9 bind
	printf 'options { directory "%s"; pid-file "%s/pid"; session-keyfile "%s/key"; listen-on port 7053 { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; };
controls { };
zone "example" { type primary; file "zone"; };\n' "$home" "$home" "$home" >"$home/conf"
	printf '$TTL 60\n@ SOA ns.example. root.example. 1 60 60 60 60\n@ NS ns.example.\nns A 192.0.2.7\n' >"$home/zone"
	pid=$("$lab" spawn A bind9 named -f -u "$user" -c "$home/conf")
	until_true 60 'bind9_ask A' || fail "named is not ready: $(tail -3 "$("$lab" log bind9)")"
}
bind9_ask() { run "$1" dig +short +tries=1 +time=5 @127.0.0.1 -p 7053 ns.example | grep -qx 192.0.2.7; }

nginx_needs() { in_path nginx; }
nginx_start() {
	home_of nginx root # as its log
	user=www-data
	echo 'a page of nginx' >"$home/index.html"
	printf 'daemon off; pid %s/pid; error_log %s/log; user %s; worker_processes 2; events {}
http { access_log off; client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s;
server { listen 127.0.0.1:7080; root %s; } }\n' "$home" "$home" "$user" "$home" "$home" "$home" "$home" "$home" "$home" >"$home/conf"
	pid=$("$lab" spawn A nginx nginx -c "$home/conf")
	until_true 60 'nginx_ask A' || fail "nginx: $(tail -3 "$("$lab" log nginx)")"
}
nginx_ask() { http "$1" 7080 'a page of nginx'; }

apache2_needs() { in_path apache2; }
apache2_start() {
	# its log is root's, and lies in a directory of root's, as Debian has it
	home_of apache2 root
	user=www-data
	echo 'a page of apache' >"$home/index.html"
	printf 'ServerName x\nPidFile %s/pid\nErrorLog %s/log\nMutex file:%s default\nListen 127.0.0.1:%s\nUser %s\nGroup %s\nDocumentRoot %s
LoadModule mpm_%s_module /usr/lib/apache2/modules/mod_mpm_%s.so\nLoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so\n<Directory %s>\nRequire all granted\n</Directory>\n' "$home" "$home" "$home" "${port:-7081}" "$user" "$(id -gn "$user")" "$home" "${mpm:-event}" "${mpm:-event}" "$home" >"$home/conf"
	pid=$("$lab" spawn A apache2 apache2 -f "$home/conf" -DFOREGROUND)
	listens A "${port:-7081}" || fail "apache2: $(tail -3 "$("$lab" log apache2)")"
}
apache2_ask() { http "$1" 7081 'a page of apache'; }

apache_prefork_needs() { apache2_needs; }
apache_prefork_start() { mpm=prefork port=7089 apache2_start; }
apache_prefork_ask() { http "$1" 7089 'a page of apache'; }

lighttpd_needs() { in_path lighttpd; }
lighttpd_start() {
	home_of lighttpd www-data
	echo 'a page of lighttpd' >"$home/index.html"
	printf 'server.document-root="%s"\nserver.port=7082\nserver.bind="127.0.0.1"\nserver.username="%s"\nindex-file.names=("index.html")\n' "$home" "$user" >"$home/conf"
	pid=$("$lab" spawn A lighttpd lighttpd -D -f "$home/conf")
	until_true 60 'lighttpd_ask A' || fail "lighttpd: $(tail -3 "$("$lab" log lighttpd)")"
}
lighttpd_ask() { http "$1" 7082 'a page of lighttpd'; }

haproxy_needs() { in_path haproxy; }
haproxy_start() {
	home_of haproxy haproxy
	printf 'global\n stats socket %s/s\ndefaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\nfrontend f\n bind 127.0.0.1:7083\n http-request return status 200 content-type text/plain string "a page of haproxy"\n' "$home" >"$home/conf"
	pid=$("$lab" spawn A haproxy haproxy -W -db -f "$home/conf")
	until_true 60 'haproxy_ask A' || fail "haproxy: $(tail -3 "$("$lab" log haproxy)")"
}
haproxy_ask() { http "$1" 7083 'a page of haproxy'; }

gunicorn_needs() { in_path gunicorn; }
gunicorn_start() {
	home_of gunicorn root
	printf 'def app(env, start):\n    start("200 OK", [])\n    return [b"a page of gunicorn"]\n' >"$home/page.py"
	pid=$("$lab" spawn A gunicorn gunicorn --chdir "$home" -w 2 -b 127.0.0.1:7084 --worker-tmp-dir "$home" page:app)
	until_true 60 'gunicorn_ask A' || fail "gunicorn: $(tail -3 "$("$lab" log gunicorn)")"
}
gunicorn_ask() { http "$1" 7084 'a page of gunicorn'; }

dnsmasq_needs() { in_path dnsmasq && in_path dig; }
dnsmasq_start() {
	home_of dnsmasq root
	pid=$("$lab" spawn A dnsmasq dnsmasq -k -C /dev/null -u root -g root -p 7054 --bind-interfaces --listen-address=127.0.0.1 -R -h --address=/name.example/192.0.2.9 -x "$home/pid")
	until_true 60 'dnsmasq_ask A' || fail "dnsmasq: $(tail -3 "$("$lab" log dnsmasq)")"
}
dnsmasq_ask() { run "$1" dig +short +tries=1 +time=5 @127.0.0.1 -p 7054 name.example | grep -qx 192.0.2.9; }

phpfpm_needs() { in_path php-fpm8.2; }
phpfpm_start() {
	home_of phpfpm root # as its log
	user=www-data
	printf '[global]\nerror_log=%s/log\ndaemonize=no\n[www]\nuser=%s\nlisten=127.0.0.1:7085\npm=static\npm.max_children=3\n' "$home" "$user" >"$home/conf"
	pid=$("$lab" spawn A phpfpm php-fpm8.2 -R -n -y "$home/conf")
	listens A 7085
}
phpfpm_ask() { run "$1" bash -c "exec 3<>/dev/tcp/127.0.0.1/7085" && [ "$(run "$1" pgrep -cP "$pid")" = 3 ]; }

sshd_needs() { in_path sshd && in_path ssh-keyscan; }
sshd_start() {
	home_of sshd root
	run A mkdir -p /run/sshd
	run B mkdir -p /run/sshd
	ssh-keygen -qt ed25519 -N '' -f "$home/key"
	pid=$("$lab" spawn A sshd "$(in_path sshd)" -D -e -f /dev/null -h "$home/key" -p 7022 -o ListenAddress=127.0.0.1 -o PidFile=none -o UsePAM=no)
	listens A 7022
}
sshd_ask() { run "$1" ssh-keyscan -T 20 -p 7022 127.0.0.1 2>/dev/null | grep -q ed25519; }

rsyslogd_needs() { in_path rsyslogd; }
rsyslogd_start() {
	home_of rsyslogd root
	printf 'module(load="imudp")\ninput(type="imudp" port="7514" address="127.0.0.1")\n*.* %s/log\n' "$home" >"$home/conf"
	pid=$("$lab" spawn A rsyslogd rsyslogd -n -f "$home/conf" -i "$home/pid")
	until_true 60 'rsyslogd_ask A' || fail "rsyslogd: $(tail -3 "$("$lab" log rsyslogd)")"
}
rsyslogd_ask() {
	local word=word$RANDOM$RANDOM
	run "$1" logger -d -n 127.0.0.1 -P 7514 "$word"
	until_true 10 'grep -q "$1" "$home/log"' $word
}

cron_needs() { in_path cron; }
cron_start() {
	pid=$("$lab" spawn A cron cron -f)
	until_true 20 'run A test -s /run/crond.pid' || fail "cron: $(cat "$("$lab" log cron)")"
}
cron_ask() { run "$1" grep -q '^State:.S' "/proc/$pid/status"; }

# a runtime that counts by a timer into a file: NAME COMMAND...
counts() {
	home_of "$1" root
	printf '%s\n' "$3" >"$home/prog"
	pid=$("$lab" spawn A "$1" "$2" "$home/prog" "$home/count")
	until_true 60 '[ -s "$home/count" ]' || fail "$1: $(tail -3 "$("$lab" log "$1")")"
}
counted() { was=$(cat "$home/count") && until_true 30 '[ "$(cat "$home/count")" -gt "$((was + 3))" ]'; }
nodejs_needs() { in_path node; }
nodejs_start() { counts nodejs node 'let n = 1; const fs = require("fs"); setInterval(() => fs.writeFileSync(process.argv[2], String(n++)), 50);'; }
nodejs_ask() { counted; }
perl_needs() { in_path perl; }
perl_start() { counts perl perl '$SIG{ALRM} = sub {}; for ($n = 1;; $n++) { open(F, ">", $ARGV[0]); print F $n; close(F); select(undef, undef, undef, 0.05); }'; }
perl_ask() { counted; }
ruby_needs() { in_path ruby; }
ruby_start() { counts ruby ruby 'n = 0; Thread.new { loop { sleep 0.05; n += 1; File.write(ARGV[0], n.to_s) } }; sleep'; }
ruby_ask() { counted; }
php_needs() { in_path php8.2; }
php_start() { counts php php8.2 '<?php for ($n = 1;; $n++) { file_put_contents($argv[1], $n); usleep(50000); }'; }
php_ask() { counted; }

java_needs() { in_path java && in_path javac; }
java_start() {
	home_of java root
	cat >"$home/Count.java" <<-'END'
		import java.nio.file.*;
		public class Count {
			static volatile long n = 1;
			public static void main(String[] a) throws Exception {
				for (int i = 0; i < 20; i++) new Thread(() -> { while (true) try { Thread.sleep(20); byte[] b = new byte[1 << 16]; } catch (Exception e) {} }).start();
				while (true) { Files.writeString(Path.of(a[0]), Long.toString(n++)); Thread.sleep(50); }
			}
		}
	END
	javac -d "$home" "$home/Count.java"
	pid=$("$lab" spawn A java java -Xmx64m -XX:+PerfDisableSharedMem -cp "$home" Count "$home/count")
	until_true 60 '[ -s "$home/count" ]' || fail "java: $(tail -3 "$("$lab" log java)")"
}
java_ask() { counted; }

golang_needs() { in_path go; }
golang_start() {
	home_of golang root
	cat >"$home/count.go" <<-'END'
		package main
		import ("fmt"; "os"; "sync"; "sync/atomic"; "time")
		func main() {
			var n int64
			var w sync.WaitGroup
			for i := 0; i < 2000; i++ {
				go func() { for { time.Sleep(10 * time.Millisecond); atomic.AddInt64(&n, 1) } }()
			}
			w.Add(1)
			for { os.WriteFile(os.Args[1], []byte(fmt.Sprint(atomic.LoadInt64(&n) + 1)), 0644); time.Sleep(50 * time.Millisecond) }
		}
	END
	(cd "$home" && GOCACHE="$home/cache" GOFLAGS=-mod=mod GO111MODULE=off go build -o count count.go)
	pid=$("$lab" spawn A golang "$home/count" "$home/count.n")
	ln -s count.n "$home/seen"
	until_true 60 '[ -s "$home/count.n" ]' || fail "golang: $(tail -3 "$("$lab" log golang)")"
}
golang_ask() { was=$(cat "$home/count.n") && until_true 30 '[ "$(cat "$home/count.n")" -gt "$((was + 300))" ]'; }

ffmpeg_needs() { in_path ffmpeg; }
ffmpeg_start() {
	home_of ffmpeg root
	pid=$("$lab" spawn A ffmpeg ffmpeg -nostdin -loglevel error -progress "$home/progress" -re -f lavfi -i testsrc=size=320x240:rate=25 -f null -)
	until_true 60 'ffmpeg_ask A' || fail "ffmpeg: $(tail -3 "$("$lab" log ffmpeg)")"
}
ffmpeg_ask() { was=$(grep -c ^frame= "$home/progress") && until_true 30 '[ "$(grep -c ^frame= "$home/progress")" -gt $((was + 2)) ]'; }

tmux_needs() { in_path tmux && in_path vim; }
tmux_start() {
	home_of tmux root
	"$lab" spawn A tmux env TERM=screen tmux -S /run/mux -f /dev/null new-session -d -s foo "vim -u NONE $home/text" >/dev/null
	until_true 30 'run A tmux -S /run/mux display-message -p "#{pid}"' || fail "no tmux"
	pid=$(run A tmux -S /run/mux display-message -p '#{pid}')
}
tmux_ask() {
	local word=word$RANDOM
	run "$1" tmux -S /run/mux send-keys -t foo "i$word" Escape ":w!" Enter
	until_true 30 'grep -q "$1" "$home/text"' $word
}

programs="mariadb postgres redis bind9 nginx apache2 apache_prefork lighttpd haproxy gunicorn dnsmasq phpfpm sshd rsyslogd cron
nodejs perl ruby php java golang ffmpeg tmux"

# carry HOST [OPTION]...: moves it to the other host; with BY=archive it is ended into an archive and loaded there
carry() {
	[ "${BY:-}" = archive ] || { move "$@"; return; }
	ar=$dir/$name.haul
	rm -f "$ar"
	save "$1" --end
	gone "$1"
	load "$(other "$1")" "${@:2}"
}

# there_and_back NAME: in one mode
there_and_back() {
	local name=$1 h acked
	for h in A B; do
		writer=
		! declare -F "${name}_put" >/dev/null || write_on $h "$name"
		carry $h "${@:2}"
		[ -z "$writer" ] || { wait "$writer" || true; }
		n_puts=$((n_puts + 100000)) # the numbers of writes that were not acknowledged may be taken
		until_true 60 '"$1_ask" "$2"' "$name" "$(other $h)" || fail "$name on $(other $h) does not answer"
		[ -z "$writer" ] && continue
		acked=$(wc -l <"$dir/acked")
		[ "$("${name}_count" "$(other $h)")" -ge "$acked" ] || fail "$name: $acked writes were acknowledged, $("${name}_count" "$(other $h)") are there"
	done
}

try() {
	local name=$1 mode
	"${name}_needs" >/dev/null || { note "$name: not installed, or this root cannot move it: not tried"; return 0; }
	rm -rf "${dir:?}/$name"
	"${name}_start"
	"${name}_ask" A || fail "$name does not answer"
	: >"$dir/acked"
	n_puts=0
	if [ "${BY:-}" = archive ]; then
		for mode in yes no; do
			there_and_back "$name" --lazy=$mode
			note "$name, loaded with --lazy=$mode: back; the archive had $(($(stat -c %s "$ar") >> 20)) MiB"
		done
	else
		for mode in auto post-copy; do
			there_and_back "$name" --mode=$mode
			note "$name $mode: back; stopped for $(($(field downtime_us) / 1000)) ms"
		done
	fi
	run A bash -c 'kill -9 $(ps -e -o pid= -o ppid= | awk -v r="$1" "BEGIN { t[r] = 1 } { p[\$1] = \$2 } END { do { more = 0; for (k in p) if (!t[k] && t[p[k]]) more = t[k] = 1 } while (more); for (k in t) print k }")' - "$pid" || true
}

# ---- programs that start others again: one of theirs alone is refused, and they are named ----

# supervised WORDS MASTER: a child of MASTER, or of a child of it
supervised() {
	local words=$1 master=$2 worker=
	until_true 30 'worker=$(run A pgrep -P "$1" | head -1); [ -n "$worker" ]' "$master" || fail "$words: nothing is started"
	worker=$(run A pgrep -P "$master" | head -1)
	rc=0
	"$lab" run A "$haul" check "$worker" hostB >"$dir/check" 2>&1 || rc=$?
	[ $rc = 3 ] && grep -q "BLOCKER *supervised .*$words" "$dir/check" || fail "$words: status $rc: $(cat "$dir/check")"
	note "one process of $words: refused by name"
	run A bash -c 'pkill -KILL -P "$1"; kill -KILL "$1"' - "$master" || true
}

# started PROGRAM COMMAND...: in A; sets $pid; status 1: it is not installed
started() {
	in_path "$1" >/dev/null || { note "$1: not installed, not tried"; return 1; }
	pid=$("$lab" spawn A "$1" "$@")
}

supervisors() {
	home_of supervisors root
	printf '[supervisord]\nnodaemon=true\nlogfile=%s/l\npidfile=%s/p\n[program:x]\ncommand=sleep 100000\n' "$home" "$home" >"$home/conf"
	! started supervisord -c "$home/conf" || supervised supervisord "$pid"
	mkdir -p "$home/sv/x" "$home/s6/y"
	printf '#!/bin/sh\nexec sleep 100000\n' | tee "$home/sv/x/run" >"$home/s6/y/run"
	chmod 755 "$home/sv/x/run" "$home/s6/y/run"
	if started runsvdir "$home/sv"; then
		until_true 30 'run A pgrep -x runsv' || fail "no runsv"
		supervised runit "$(run A pgrep -x runsv)"
		run A kill -KILL "$pid"
	fi
	if started s6-svscan "$home/s6"; then
		until_true 30 'run A pgrep -x s6-supervise' || fail "no s6-supervise"
		supervised s6 "$(run A pgrep -x s6-supervise | head -1)"
		run A kill -KILL "$pid"
	fi
	local name
	for name in gunicorn nginx phpfpm haproxy; do
		"${name}_needs" >/dev/null || continue
		"${name}_start"
		supervised "$name\|${name%fpm}-fpm" "$pid"
	done
}

lab_up
[ $# -gt 0 ] || supervisors
for name in ${*:-$programs}; do
	if [ -n "${TRY_ALL:-}" ]; then (trap - EXIT; try "$name") || note "FAILED $name"; else try "$name"; fi
done
