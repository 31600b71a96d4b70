# SPDX-License-Identifier: GPL-2.0-or-later
# lib-tcp.sh - for tests whose clients sit on host C and must not notice a move.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
client_py=$top/tests/work/netclient.py
clients=()
names=()

# net_up: three hosts; $addr and $addr6 are addresses of A that move
net_up() {
	local h n=0 net
	lab_up --hosts 3
	net=$("$lab" addr A | cut -d. -f1-3)
	addr=$net.99
	addr6=fd77::99
	for h in A B C; do
		n=$((n + 1))
		"$lab" run $h ip addr add fd77::$n/64 dev eth0 nodad
	done
	"$lab" run A ip addr add "$addr/24" dev eth0
	"$lab" run A ip addr add "$addr6/64" dev eth0 nodad
}

# serve ADDRESS: the server of tests/work on A; sets $pid, $wdir
serve() {
	start A "$top/tests/work/netserve.py" --address "$1"
}

# client NAME WHAT ADDRESS [OPTION]...: on host C, in the background
client() {
	local name=$1
	shift
	"$lab" run C python3 "$client_py" "$@" --dir "$wdir" >"$dir/$name.json" 2>"$dir/$name.err" </dev/null &
	clients+=($!)
	names+=("$name")
}

# clients_ok: every client ends, and noticed nothing
clients_ok() {
	local i
	for i in "${!clients[@]}"; do
		wait "${clients[$i]}" || fail "client ${names[$i]}: $(cat "$dir/${names[$i]}.json" "$dir/${names[$i]}.err")"
	done
	for i in "${names[@]}"; do note "  $(cut -c1-160 "$dir/$i.json")"; done
	clients=()
	names=()
}

# watch PORT / watch_ok: no reset, nothing a second time, and nothing from the host where the tree is not,
# reached host C
watch() {
	"$lab" run C "$work/tcpwatch" "$1" "$dir/watch.json" 2>"$dir/watch.err" </dev/null &
	watcher=$!
	until_true 60 '"$lab" run C pgrep -x tcpwatch' || fail "tcpwatch: $(cat "$dir/watch.err")"
	moves_made=0
}

watch_ok() {
	local p
	p=$("$lab" run C sh -c "ps -eo pid,args | awk '/[t]cpwatch $1/ {print \$1; exit}'")
	"$lab" run C kill -TERM "$p"
	wait "$watcher" || fail "tcpwatch: $(cat "$dir/watch.err")"
	note "  $(cat "$dir/watch.json")"
	python3 - "$dir/watch.json" "$moves_made" <<'END' || fail "seen on C: $(head -5 "$dir/watch.err")"
import json, sys
w = json.load(open(sys.argv[1]))
sys.exit(not (w["packets"] > 100 and w["resets"] == 0 and w["again"] == 0 and w["missed"] == 0 and
              w["turns_max"] <= int(sys.argv[2])))
END
}

# clean_soon HOST: no_traces, when the guardian or the worker has had time to notice
clean_soon() { until_true 60 '(no_traces "$1")' "$1" || no_traces "$1"; }

# no_traces: no lock is left, the address is on host $1 alone
no_traces() {
	local h on
	for h in A B; do
		[ -z "$("$lab" run $h nft list tables | grep haul_ || true)" ] || fail "a network lock is left on $h"
		on=$("$lab" run $h ip -o addr show dev eth0 | grep -c -e " $addr/" -e " $addr6/" || true)
		[ "$on" = "$([ $h = "$1" ] && echo 2 || echo 0)" ] || fail "$on of the addresses are on $h"
	done
}
