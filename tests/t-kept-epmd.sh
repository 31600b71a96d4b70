#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-kept-epmd - a node of Erlang is known to the port mapper of its host by a connection on the loopback, which does not
# move: haul check says so by name, and the node registers at the destination's. There and back.
. "$(dirname "$0")/lib.sh"
command -v erl >/dev/null || skip "erlang is not installed"
lab_up
export HOME=$dir
(umask 077 && echo cookie >"$dir/.erlang.cookie")
for h in A B; do
	"$lab" spawn $h "epmd$h" epmd >/dev/null
	until_true 60 '"$lab" run "$1" epmd -names' $h || fail "no epmd on $h"
done
knows() { "$lab" run "$1" epmd -names | grep -q "^name moved at"; }
pid=$("$lab" spawn A node erl -noinput -name moved@127.0.0.1 -start_epmd false)
until_true 60 'knows A' || fail "the node is not registered: $(cat "$("$lab" log node)")"
for mode in auto post-copy; do
	for h in A B; do
		"$lab" run $h "$haul" check --verbose "$pid" "host$(other $h)" >"$dir/check" 2>&1 || fail "check: $(cat "$dir/check")"
		grep -qE "port 4369, pid [0-9]+ \(epmd\) of this host, will be closed" "$dir/check" || fail "check: no epmd: $(cat "$dir/check")"
		grep -q "the node registers again" "$dir/check" || fail "check: no remedy: $(cat "$dir/check")"
		move $h --mode=$mode
		until_true 60 'knows "$1"' "$(other $h)" || fail "$mode: the node is not registered on $(other $h)"
		until_true 60 '! knows "$1"' $h || fail "$mode: the node is still registered on $h"
		note "  $mode to $(other $h): registered there"
	done
done
stop A
