#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tcp-undo - moves that fail, each in another state: the clients do not notice.
. "$(dirname "$0")/lib-tcp.sh"
net_up
serve "$addr"
watch 7000
client get get "$addr" --mib 320 --mbyte-s 12
client put put "$addr" --mib 250 --mbyte-s 12
client slow slow "$addr" --mib 24
client echo echo "$addr" --clients 20 --depth 8 --seconds 25

# undone WHAT OPTION...: haul fails, everything is as before
undone() {
	local what=$1 rc=0
	shift
	"$lab" run A "$haul" --json --move-address="$addr" --move-address="$addr6" "$@" "$pid" hostB >"$dir/report" 2>"$dir/stderr" || rc=$?
	[ $rc = 1 ] || fail "$what: status $rc: $(cat "$dir/report" "$dir/stderr")"
	grep -q '"state": *"undone"' "$dir/report" || fail "$what: not undone: $(tail -3 "$dir/report")"
	no_traces A
	"$lab" run A kill -0 "$pid" || fail "$what: the server is gone"
	works 0.7
	note "  $what: $(python3 -c 'import json, sys
print([e["text"] for e in map(json.loads, open(sys.argv[1])) if e.get("event") == "error"][0][:110])' "$dir/report")"
}

hook() {
	printf '#!/bin/sh\ncat >"%s"\n%s\n' "$dir/hook.$1.json" "$2" >"$dir/hook.$1"
	chmod +x "$dir/hook.$1"
	echo "$dir/hook.$1"
}

works 1
undone "prepare hook says no" --hook=prepare="$(hook no 'echo not today; exit 3')"
undone "freeze limit too short" --freeze-limit-ms=100 --mode=stop-copy --hook=frozen="$(hook late 'sleep 0.3')"
undone "hook in the freeze says no" --hook=frozen="$(hook no 'echo not today; exit 3')"
grep -q "\"point\":\"frozen\".*\"addresses\":\[\"$addr/24@eth0\"" "$dir/hook.no.json" || fail "the hook was told: $(cat "$dir/hook.no.json")"
echo "hook-limit-ms = 200" >"$dir/conf"
undone "hook in the freeze hangs" --config="$dir/conf" --hook=frozen="$(hook hang 'sleep 100')"
# at the destination: its own configuration, read for each migration
"$lab" run B sh -c "echo 'hook-arriving = $(hook no 'exit 1')' >/etc/haul/haul.conf"
undone "hook at the destination says no"
"$lab" run B sh -c "echo 'hook-arriving = $(hook taken "/bin/sleep 30 & exit 0")' >/etc/haul/haul.conf"
# a pid of the tree is taken while it is on its way
"$lab" run B sh -c "printf '#!/bin/sh\necho 1 >/proc/sys/kernel/ns_last_pid\n' >$dir/taken; chmod +x $dir/taken"
cat >"$dir/take-pid" <<END
#!/usr/bin/env python3
import subprocess
open("/proc/sys/kernel/ns_last_pid", "w").write(str($pid - 1))
subprocess.Popen(["sleep", "3"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
END
chmod +x "$dir/take-pid"
"$lab" run B sh -c "echo 'hook-arriving = $dir/take-pid' >/etc/haul/haul.conf"
undone "the pid is taken before the restore"
until_true 60 '! "$lab" run B pgrep -x sleep' || fail "the sleep that took the pid does not end"
"$lab" run B rm /etc/haul/haul.conf
# Ctrl-C while it is stopped
"$lab" run A timeout -s INT 0.9 "$haul" --json --move-address="$addr" --move-address="$addr6" --hook=frozen="$(hook slow 'sleep 1.2')" "$pid" hostB >"$dir/report" 2>&1 && fail "not interrupted"
no_traces A
note "  interrupted"
# and after all that, it moves
move A --move-address="$addr" --move-address="$addr6"
no_traces B
clients_ok
watch_ok 7000
stop B
