#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-save-work - the workloads of tests/work (but sockets.py: an archive has no datagrams that wait): saved while they run, ended
# into an archive, loaded lazily, ended again, loaded not lazily; each checks all that it has. t-save-work.sh NAME... tries
# these only. make check-archive.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive.sh"
all="aio churn ipc.py kept_epoll.py kept_fds.py kept_files.py kept_inet.py kept_memory.py kept_sockets.py kept_task.py locks.py
many.py misc objects privfile pythreads.py shape shared sparse terminal.py threads tree writer"

options_of() {
	case $1 in
	aio) echo "--file $dir/blocks" ;;
	kept_memory.py) echo "--mib 4" ;;
	kept_sockets.py) echo "--iface eth0" ;;
	many.py) echo "--children 50" ;;
	esac
}

# one PROGRAM
one() {
	local program=$work/$1
	[ -e "$program" ] || program=$top/tests/work/$1
	ar=$dir/$1.haul
	# shellcheck disable=SC2046	# words
	start A "$program" $(options_of "$1")
	save A
	verify A
	save A --end
	gone A
	load A
	verify A
	save A --end
	gone A
	load A --lazy=no
	verify A
	stop A
	note "  $1: $(($(stat -c %s "$ar") >> 10)) KiB"
}

lab_up
failed=
for name in ${*:-$all}; do
	(
		trap - EXIT
		one "$name"
	) || failed+=" $name"
done
[ -z "$failed" ] || fail "of the workloads:$failed"
