# SPDX-License-Identifier: GPL-2.0-or-later
# lib.sh - what the end-to-end tests share: a lab with hauld on both hosts, workloads
# that verify themselves, migrations. Sourced by tests/t-*.sh; needs root.
# shellcheck shell=bash
set -euo pipefail

# the system's python3 first: one that a version manager stands in for takes ten times as long to start
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
builddir=${HAUL_BUILDDIR:-$top}
lab=${HAUL_LAB:-$top/tests/lab}
haul=$builddir/haul
hauld=$builddir/hauld
work=$builddir/tests/work
export LAB=${LAB:-t$$}
export HAUL_AGENT=${HAUL_AGENT-none} # haul itself, not hauld for it
dir=

# A command that ends the test under "set -e" says which it was.
set -E
trap 'rc=$?; printf "FAIL: %s:%s: status %s: %s\n" "${BASH_SOURCE[0]##*/}" "$LINENO" "$rc" "$BASH_COMMAND" >&2' ERR

fail() { printf 'FAIL: %s\n' "$*" >&2; exit 1; }
# note WORDS: the step of the test that begins, with the seconds since the test began
test_began=${EPOCHREALTIME/[.,]/}
note() {
	local us=$((${EPOCHREALTIME/[.,]/} - test_began))
	printf '%4d.%d s  %s\n' $((us / 1000000)) $((us / 100000 % 10)) "$*"
}
skip() { printf 'SKIP: %s\n' "$*"; exit 77; }

lab_down() {
	local rc=$?
	if [ $rc != 0 ] && [ $rc != 77 ] && [ -n "$dir" ]; then
		for f in "$dir"/hauld.*.log; do echo "--- ${f##*/}"; tail -15 "$f"; done >&2 || true
		[ -z "${wdir-}" ] || { echo "--- ${wdir##*/}"; tail -5 "$("$lab" log "${wdir##*/}")"; } >&2 || true
	fi
	"$lab" down || true
	[ -z "$dir" ] || rm -rf "$dir"
	exit $rc
}

# hauld with a fresh key on every host; each trusts the others.
lab_up() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -s /var/lib/haul/criu/chosen ] || [ -n "${HAUL_CRIU:-}" ] || skip "no CRIU chosen: run contrib/find-criu"
	dir=$(mktemp -d /var/tmp/haul-test.XXXXXX)
	chmod 755 "$dir"
	trap lab_down EXIT
	"$lab" up "$@"
	ssh-keygen -q -t ed25519 -N '' -f "$dir/id"
	local h hosts=(A B)
	for h in "${hosts[@]}"; do
		"$lab" run "$h" cp "$dir/id.pub" /etc/haul/authorized_keys
		"$lab" run "$h" cp "$dir/id" /etc/haul/id_ed25519
		start_hauld "$h"
	done
	"$lab" run A "$haul" trust -y hostB >/dev/null
	"$lab" run B "$haul" trust -y hostA >/dev/null
}

# until_true SECONDS CONDITION [ARG]...: waits until the condition, a piece of shell with the ARGs as $1 and
# so on, is true; status 1 when it is not within SECONDS. That is many times as long as it should take: a busy
# machine is not a fault.
until_true() {
	local until_end=$((SECONDS + $1)) until_condition=$2 until_asked=0 until_step_s
	shift 2
	until eval "$until_condition" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$until_end" ] || return 1
		# what has taken a second may be asked for less often: asking costs more than waiting
		[ $((until_asked += 1)) -lt 25 ] && until_step_s=0.02 || until_step_s=0.1
		sleep "${UNTIL_STEP_S:-$until_step_s}"
	done
}

# works SECONDS: lets programs and clients do their work for this long; never to wait for something
works() { sleep "$1"; }

# listens HOST PORT: waits until a program listens there
listens() {
	until_true 60 '"$lab" run "$1" bash -c "exec 3<>/dev/tcp/localhost/$2"' "$@" || fail "no program listens on port $2 of $1"
}

# start_hauld HOST [ARG]...: in the background, until it listens. VARIABLE=VALUE before it is in hauld's environment.
start_hauld() {
	local h=$1
	shift
	"$lab" run "$h" setsid "$hauld" -v "$@" </dev/null >>"$dir/hauld.$h.log" 2>&1 &
	(listens "$h" 4285) || fail "hauld on $h: $(cat "$dir/hauld.$h.log")"
}

# daemon HOST: the pid of its hauld, the one that listens
daemon() { "$lab" run "$1" ss -Hltnp 'sport = :4285' | grep -o 'pid=[0-9]*' | head -1 | cut -d= -f2; }

# stop_hauld HOST: it ends, and its port is free
stop_hauld() {
	"$lab" run "$1" kill -TERM "$(daemon "$1")"
	until_true 60 '! "$lab" run "$1" bash -c "exec 3<>/dev/tcp/localhost/4285"' "$1" || fail "hauld on $1 does not end"
}

other() { case $1 in A) echo B ;; *) echo A ;; esac; }

# start HOST PROGRAM ARGS...: a workload of tests/work; sets $pid and $wdir
start() {
	local h=$1 prog=$2
	shift 2
	wdir=$dir/$(basename "$prog").$RANDOM
	mkdir -p "$wdir"
	chmod 777 "$wdir"
	pid=$("$lab" spawn "$h" "$(basename "$wdir")" "$prog" --dir "$wdir" "$@")
	until_true 120 '[ -e "$wdir/ready" ] || ! "$lab" run "$1" kill -0 "$pid"' "$h" || fail "$prog is not ready"
	[ -e "$wdir/ready" ] || fail "$prog ended: $(cat "$("$lab" log "$(basename "$wdir")")")"
	verified=0
}

# verify HOST: the workload checks all it has and must find no fault
verify() {
	local h=$1 f
	verified=$((verified + 1))
	f=$wdir/verify.$verified
	"$lab" run "$h" kill -USR1 "$pid" || fail "process $pid is not on host $h"
	until_true 120 '[ -e "$f" ] || [ -e "$wdir/failed" ]' || fail "no answer from the workload on $h"
	[ ! -e "$wdir/failed" ] || fail "workload noticed: $(cat "$wdir/failed")"
	grep -q '"ok": *true' "$f" || fail "verification on $h: $(cat "$f")"
}

gone() {
	# haul has killed it; its parent may not have waited for it yet
	until_true 20 '! "$lab" run "$1" test -e "/proc/$pid"' "$1" ||
		fail "process $pid is still on host $1: $("$lab" run "$1" cat "/proc/$pid/stat")"
}

# stands HOST WORDS: the copy there is stopped: by SIGSTOP, which it has not taken yet if a busy
# processor let the frozen cgroup hold it first
stands() {
	"$lab" run "$1" grep -qE '^(State:.*T \(|(Sig|Shd)Pnd:.*[4-7c-f]....$)' "/proc/$pid/status" ||
		fail "$2: $("$lab" run "$1" grep -HE '^State|Pnd|^Tracer|^0:' "/proc/$pid/status" "/proc/$pid/cgroup" 2>&1)"
}

# move FROM [OPTION]...: to the other host; the report goes to $dir/report
move() {
	local from=$1 to
	shift
	to=$(other "$from")
	moves_made=$((${moves_made:-0} + 1))
	# shellcheck disable=SC2086	# words
	"$lab" run "$from" "$haul" --json ${HAUL_OPTIONS:-} "$@" "$pid" "host$to" >"$dir/report" 2>"$dir/stderr" ||
		{ cat "$dir/stderr" "$dir/report" >&2; fail "haul $* from $from to $to"; }
	gone "$from"
}

field() {
	python3 -c 'import json, sys
for line in open(sys.argv[1]):
    e = json.loads(line)
    if e.get("event") == "done": print(e.get(sys.argv[2], ""))' "$dir/report" "$1"
}

# in_every_mode: there and back in each mode, verified after each move
in_every_mode() {
	local h=A m
	for m in ${MODES:-stop-copy pre-copy post-copy hybrid auto}; do
		move "$h" --mode="$m" "$@"
		h=$(other "$h")
		verify "$h"
		note "  $m to $h: downtime $(($(field downtime_us) / 1000)) ms, total $(($(field total_us) / 1000)) ms"
	done
	where=$h
}

# acked_keys LOADER PORT PROGRAM [ARG]...: a server under load from its own host, in every mode: each key that
# it acknowledged is there after the move
acked_keys() {
	local load=$top/tests/work/$1 port=$2 h=A m client
	shift 2
	pid=$("$lab" spawn A "$1" "$@")
	listens $h "$port"
	for m in ${MODES:-stop-copy pre-copy post-copy hybrid auto}; do
		"$lab" run $h python3 "$load" load --host 127.0.0.1 --port "$port" --record "$dir/acked" &
		client=$!
		works 1.5
		move $h --mode="$m"
		wait $client || true	# its connection broke: it has ended
		h=$(other $h)
		"$lab" run $h python3 "$load" check --host 127.0.0.1 --port "$port" --record "$dir/acked" >"$dir/check" ||
			fail "$m: $(cat "$dir/check")"
		note "  $m to $h: $(cut -c1-120 "$dir/check") downtime $(($(field downtime_us) / 1000)) ms"
	done
	stop $h
}

stop() {
	"$lab" run "$1" kill -9 "$pid" 2>/dev/null || true
}
