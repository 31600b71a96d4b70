#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# selftest.sh - builds all workloads, runs each alone, and proves that each one finds faults.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/work-selftest.XXXXXX")
CC=${CC:-cc}
CFLAGS=${CFLAGS:--std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -Wshadow}
run_s=${RUN_S:-3}
child=
bad=0
trap '[ -z "$child" ] || kill -9 "$child" 2>/dev/null; rm -rf "$tmp"' EXIT

build() { # program, more sources
	prog=$1
	shift
	# shellcheck disable=SC2086 # CFLAGS is a list
	(cd "$here" && $CC $CFLAGS -o "$tmp/$prog" "$prog.c" "$@" \
		work.c report.c pace.c area.c crew.c -pthread) || exit 1
}

# Waits for a file; the workload gets 20 s.
wait_for() {
	n=0
	while [ ! -e "$1" ]; do
		n=$((n + 1))
		[ $n -lt 400 ] || return 1
		sleep 0.05
	done
}

start() { # program, options
	dir=$tmp/dir
	rm -rf "$dir"
	mkdir "$dir"
	prog=$1
	shift
	case $prog in
	*.py) "$here/$prog" --dir "$dir" "$@" </dev/null >"$dir/out" 2>&1 & ;;
	*) "$tmp/$prog" --dir "$dir" "$@" </dev/null >"$dir/out" 2>&1 & ;;
	esac
	child=$!
	wait_for "$dir/ready"
}

verify() { # number, expected
	kill -USR1 "$child"
	wait_for "$dir/verify.$1" && grep -q "^{\"ok\": *$2," "$dir/verify.$1"
}

stop() {
	kill "$child" && wait "$child"
	status=$?
	child=
	[ $status -eq 0 ]
}

judge() { # title, status
	if [ "$2" -eq 0 ]; then
		echo "ok     $1"
		return
	fi
	bad=$((bad + 1))
	echo "NOT OK $1"
	cat "$dir"/out "$dir"/verify.* "$dir"/failed 2>/dev/null | cut -c1-300
	[ -z "$child" ] || kill -9 "$child"
	child=
}

sound() { # program, options: right twice
	start "$@" && sleep "$run_s" && verify 1 true && verify 2 true && [ ! -e "$dir/failed" ] &&
		stop
	judge "$*: sound" $?
}

damaged() { # program, options with --sabotage: right, then wrong
	start "$@" && sleep 0.5 && verify 1 true && verify 2 false && [ -e "$dir/failed" ] && stop
	judge "$*: found" $?
}

poked() { # damage, program, options: someone else damages a page
	damage=$1
	shift
	start "$@" && sleep 0.5 && verify 1 true && "$tmp/poke" "$child" "$damage" >/dev/null &&
		verify 2 false && [ -e "$dir/failed" ] && stop
	judge "poke $damage $*: found" $?
}

# A page that is wrong is noticed without a verification, when it is to be written again.
noticed() {
	start writer --mib 2 --rate 20000 && sleep 0.3 && "$tmp/poke" "$child" zero >/dev/null &&
		wait_for "$dir/failed" && grep -q 'before a write.* is zero' "$dir/failed" && stop
	judge "poke zero: noticed in passing" $?
}

# SIGUSR2 stops the writes and starts them again.
paused() {
	start writer --rate 5000 && kill -USR2 "$child" && sleep 0.2 && verify 1 true &&
		sleep 0.3 && verify 2 true &&
		[ "$(ops 1)" = "$(ops 2)" ] && kill -USR2 "$child" && sleep 0.3 && verify 3 true &&
		[ "$(ops 3)" -gt "$(ops 2)" ] && stop
	judge "pause and resume" $?
}

ops() {
	sed 's/.*"ops":\([0-9]*\).*/\1/' "$dir/verify.$1"
}

build writer
build threads
build tree tree_ring.c tree_parked.c
build churn pool.c
build sparse
build privfile
build shared
build misc misc_memory.c misc_kernel.c
build poke

sound writer --stats speed
sound writer --threads 4 --rate 0 --compress 0 --hot-percent 30
sound threads
sound tree
sound churn
sound churn --no-fork --free --rate 0
sound sparse
sound privfile
sound shared --posix --sysv
sound misc --ghost --timerfd
sound pythreads.py
paused
noticed
for kind in 1 2 3 4; do
	for prog in writer threads tree churn sparse privfile shared; do
		damaged $prog --sabotage $kind
	done
done
for prog in threads tree churn sparse privfile shared; do
	damaged $prog --sabotage 5
done
damaged tree --sabotage 6
for kind in 1 2 3; do
	damaged misc --sabotage $kind
	damaged pythreads.py --sabotage $kind
done
for damage in zero back flip swap; do
	poked $damage writer --rate 2000
done
poked back threads

[ $bad -eq 0 ] || echo "$bad wrong"
[ $bad -eq 0 ]
