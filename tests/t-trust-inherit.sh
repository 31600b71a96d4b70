#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-inherit - a process that arrives has nothing from hauld: a hauld with a key in its session keyring, and with
# an unusual umask, nice, timer slack, mask, limits, memory policy and more, restores processes that have their own.
. "$(dirname "$0")/lib.sh"
lab_up
stop_hauld B
"$lab" run B setsid /usr/bin/python3 "$top/tests/work/heavy.py" "$hauld" -v </dev/null >>"$dir/hauld.B.log" 2>&1 &
until_true 60 '"$lab" run B bash -c "exec 3<>/dev/tcp/localhost/4285"' || fail "hauld on B: $(cat "$dir/hauld.B.log")"
d=$(daemon B)
"$lab" run B grep -q "hauld's" /proc/keys || fail "hauld has no key: $("$lab" run B cat /proc/keys)"
[ "$("$lab" run B awk '/^Umask/ { print $2 }' "/proc/$d/status")" = 0077 ] || fail "hauld's umask is not unusual"

# says HOST: what the process has there, to $dir/has
says() {
	n=$((n + 1))
	"$lab" run "$1" kill -USR1 "$pid" || fail "process $pid is not on host $1"
	until_true 60 '[ -e "$wdir/has.$n" ]' || fail "the process on $1 does not answer"
}

for kind in default unusual; do
	wdir=$dir/$kind
	mkdir -m 777 "$wdir"
	pid=$("$lab" spawn A $kind /usr/bin/python3 "$top/tests/work/inherited.py" "$wdir" $kind)
	until_true 60 '[ -e "$wdir/ready" ]' || fail "$kind: $(cat "$("$lab" log $kind)")"
	n=0
	says A
	move A --mode=stop-copy
	says B
	python3 - "$wdir/has.1" "$wdir/has.2" <<-'EOF' || fail "$kind: see above"
		import json, sys
		was, now = (json.load(open(f)) for f in sys.argv[1:])
		bad = 0
		keys = now.pop("keys"), was.pop("keys")
		if keys[0]["found"] or keys[0]["requested"] or keys[0]["session"] < 0:
		    bad = print("keys:", keys) or 1
		now.pop("cgroup"), was.pop("cgroup")  # hauld's: docs/SECURITY.md
		for k in was:
		    if was[k] != now[k]:
		        bad = print("%s: was %s, is %s" % (k, was[k], now[k])) or 1
		sys.exit(bad)
	EOF
	stop B
	note "  $kind: nothing of hauld's"
done
