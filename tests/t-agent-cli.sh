#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-agent-cli - haul by hauld: the same words and statuses as by itself; Ctrl-C; a user without
# root; ls, show, watch, cancel, peers; another host's hauld by --agent=URL.
. "$(dirname "$0")/lib.sh"
. "$top/tests/page/lab.sh"
api_options=("migrations-max = 1")
api_up
unset HAUL_AGENT
in_a() { "$lab" run A env -u HAUL_AGENT "$@"; }
in_b() { "$lab" run B env -u HAUL_AGENT "$@"; }
# form FILE: what is said, without what differs from move to move
form() { sed -E 's/[0-9.]+/N/g; s/rounds/round/; s/ +/ /g' "$1" | grep -v ' round N: \|tries\|N unchanged\|filling:' | sort -u; }
jobs() { in_a "$haul" ls --json | wc -l; }

start A "$work/writer" --mib 32 --rate 500
# ---- the same output, by itself and by hauld ----
in_a "$haul" --agent=none --mode=pre-copy "$pid" hostB >"$dir/self.txt"
in_b "$haul" --agent=none --mode=pre-copy --json "$pid" hostA >"$dir/self.json"
[ "$(jobs)" = 0 ] || fail "--agent=none asked hauld"
in_a "$haul" --mode=pre-copy "$pid" hostB >"$dir/agent.txt"
in_b "$haul" --mode=pre-copy --json "$pid" hostA >"$dir/agent.json"
[ "$(jobs)" = 1 ] || fail "haul did not use the local hauld"
verify A
diff <(form "$dir/self.txt") <(form "$dir/agent.txt") || fail "text differs"
keys() { python3 -c 'import json, sys
kinds = {}
for line in sys.stdin:
    e = json.loads(line)
    kinds.setdefault(e["event"], set()).update(e)
print(*("%s %s" % (k, sorted(v)) for k, v in sorted(kinds.items()) if k not in ("progress", "round")), sep="\n")'; }
diff <(keys <"$dir/self.json") <(keys <"$dir/agent.json") || fail "events differ"
note "  text and events are the same by hauld as by haul itself"

# ---- and the same exit statuses and complaints ----
# both WANTED ARGS...: exit status and standard error, by itself and by hauld
both() {
	local want=$1 got=0
	shift
	in_a "$haul" --agent=none "$@" >"$dir/o1" 2>"$dir/e1" || got=$?
	[ "$got" = "$want" ] || fail "haul $*: $got, not $want: $(cat "$dir/e1")"
	got=0
	in_a "$haul" --agent=local "$@" >"$dir/o2" 2>"$dir/e2" || got=$?
	[ "$got" = "$want" ] || fail "by hauld: haul $*: $got, not $want: $(cat "$dir/e2")"
}
both 0 check "$pid" hostB
diff <(form "$dir/o1") <(form "$dir/o2") || fail "check differs"
# same WANTED ARGS...: and the same findings
same() {
	both "$@"
	diff <(form "$dir/o1") <(form "$dir/o2") || fail "haul ${*:2}: other findings by hauld"
}
same 0 --into-root=/nonexistent check "$pid" hostB
mkdir "$dir/data"
same 3 --fs="$dir/data" check "$pid" hostB
grep -q "$dir/data" "$dir/o2" || fail "check --fs: $(cat "$dir/o2")"
same 0 --mode=pre-copy --streams=3 check "$pid" hostB
both 1 --port=1 check "$pid" hostB
echo '{ "tcp": "refuse", "files": "require" }' >"$dir/strict.json"
writer=$pid
"$lab" spawn B listener /usr/bin/python3 -c 'import socket, time
s = socket.create_server(("", 7777)); c = s.accept(); time.sleep(1000)' >/dev/null
pid=$("$lab" spawn A talker /usr/bin/python3 -c 'import socket, time
while True:
    try:
        c = socket.create_connection(("hostB", 7777))
        time.sleep(1000)
    except OSError:
        time.sleep(0.05)')
talks() { [[ $(in_a "$haul" --agent=none --tcp=refuse check "$pid" hostB) == *7777* ]]; }
until_true 10 talks || fail "no connection to B: $(in_a "$haul" --agent=none --tcp=refuse check "$pid" hostB)"
same 3 --tcp=refuse check "$pid" hostB
same 3 --policy="$dir/strict.json" check "$pid" hostB
same 0 --tcp=close check "$pid" hostB
pid=$writer
note "  check sees the options of a move: the same findings by hauld as by haul itself"
both 3 4000000 hostB
both 2 --mode=nonsense "$pid" hostB
both 1 "$pid" hostNowhere
diff <(form "$dir/e1") <(form "$dir/e2") || fail "an unknown host: other words"
both 0 peers
diff <(form "$dir/o1") <(form "$dir/o2") || fail "peers differ"
both 0 peers "$pid"
grep -q 'it fits' "$dir/o2" || fail "peers PID: $(cat "$dir/o2")"
silent=$(daemon B)
"$lab" run B kill -STOP "$silent"
both 0 --connect-limit-ms=300 peers
"$lab" run B kill -CONT "$silent"
for o in "$dir/o1" "$dir/o2"; do
	grep -q 'no answer in 300 ms' "$o" || fail "peers --connect-limit-ms: $(cat "$o")"
done
both 2 --streams=3 peers
note "  check, peers, wrong words: the same statuses and words"

# ---- Ctrl-C ----
newest() { in_a "$haul" ls --json | python3 -c 'import json, sys; print(json.loads(sys.stdin.read().split("\n")[0])[sys.argv[1]])' "$1"; }
in_a "$haul" --bandwidth-limit-mbit=10 --mode=pre-copy "$pid" hostB >"$dir/o1" 2>"$dir/e1" &
job=$!
until_true 60 'in_a sh -c "cat /var/lib/haul/migrations/$(newest id)/events*" | grep "\"state\":\"rounds\""' || fail "it does not begin: $(cat "$dir/o1" "$dir/e1")"
in_a pkill -INT -o -f "^$haul --bandwidth-limit-mbit=10"
wait $job && fail "Ctrl-C: it moved" || got=$?
[ "$got" = 124 ] || [ "$got" = 130 ] || fail "Ctrl-C: $got"
[ "$(newest status)" = cancelled ] || fail "after Ctrl-C it is $(newest status)"
grep -q 'undoing' "$dir/o1" || fail "Ctrl-C: nothing said: $(cat "$dir/o1")"
verify A

# ---- ls, show, watch, cancel; a queue ----
in_a "$haul" --bandwidth-limit-mbit=10 --mode=pre-copy "$pid" hostB >"$dir/o1" 2>&1 &
slow_pid=$!
until_true 60 '[ "$(newest status)" = running ]' || fail "it does not run: $(newest status)"
id=$(newest id)
in_a "$haul" show "$id" | grep -q '"status": "running"' || fail "show"
in_a "$haul" ls | grep -q "^$id .* running .* hostB" || fail "ls: $(in_a "$haul" ls)"
in_a "$haul" --json watch "$id" >"$dir/watched" 2>&1 &
watch_pid=$!
until_true 60 '[ -s "$dir/watched" ]' || fail "haul watch says nothing"
in_a "$haul" cancel "$id" || fail "cancel"
wait $slow_pid && fail "cancelled, and haul ends with 0" || got=$?
[ "$got" = 130 ] || fail "a cancelled one ends with $got"
wait $watch_pid && fail "watch ends with 0" || got=$?
[ "$got" = 130 ] || fail "watch of a cancelled one ends with $got"
grep -q '"state":"undone"' "$dir/watched" || fail "watch: $(cat "$dir/watched")"
in_a "$haul" cancel "$id" 2>"$dir/e1" && fail "cancelled twice" || true
grep -q '(over)' "$dir/e1" || fail "cancel again: $(cat "$dir/e1")"
in_a "$haul" show 0123456789abcdef 2>"$dir/e1" && fail "show of nothing" || got=$?
[ "$got" = 3 ] || fail "show of nothing: $got"
note "  ls, show, watch, cancel, Ctrl-C"

# ---- by another host's hauld ----
printf '%s\n' "$token" >"$dir/token"
chmod 600 "$dir/token"
by_url() { in_b "$haul" --agent=https://hostA:8443 --ca="$dir/cert.pem" --token-file="$dir/token" "$@"; }
by_url ls | grep -q "^$id" || fail "ls by URL"
in_b "$haul" --agent=https://hostA:8443 --token-file="$dir/token" ls 2>"$dir/e1" && fail "a certificate that nobody knows" || true
chmod 644 "$dir/token"
by_url ls 2>"$dir/e1" && fail "a token that others may read" || true
grep -q 'others may read' "$dir/e1" || fail "expected 'others may read' in: $(cat "$dir/e1")"
chmod 600 "$dir/token"
by_url "$pid" hostB >"$dir/o1" || fail "from B, by A's hauld: $(cat "$dir/o1")"
grep -q 'now runs on hostB' "$dir/o1" || fail "expected 'now runs on hostB' in: $(cat "$dir/o1")"
verify B
in_b "$haul" --agent=http://hostA:8443 ls 2>"$dir/e1" && fail "HTTP without TLS" || true
grep -q 'TLS only' "$dir/e1" || fail "HTTP without TLS: $(cat "$dir/e1")"
note "  from another host, by TLS and a token"

# ---- a user: by hauld, never by itself ----
as_user() { in_a setpriv --reuid 1001 --regid 1001 --clear-groups "$@"; }
as_user "$haul" check 1 2>"$dir/e1" && fail "a user checks init" || true
wdir=$dir/user
mkdir -m 777 "$wdir"
# its output would be a file of root's
pid=$("$lab" spawn A user bash -c 'exec setpriv --reuid 1001 --regid 1001 --clear-groups "$@" >/dev/null 2>&1' bash "$work/writer" --dir "$wdir" --mib 8 --rate 100)
until_true 60 '[ -e "$wdir/ready" ]' || fail "the user's workload is not ready"
as_user "$haul" check "$pid" hostB >"$dir/o1" 2>&1 || fail "a user's check: $?: $(cat "$dir/o1")"
as_user "$haul" "$pid" hostB >"$dir/o1" 2>&1 || fail "a user's haul: $?: $(cat "$dir/o1")"
as_user "$haul" ls --json | grep -q '"owner":"uid 1001"' || fail "a user's ls"
[ "$(as_user "$haul" ls --json | wc -l)" = 1 ] || fail "a user sees others' migrations"
as_user "$haul" --agent=none "$pid" hostB 2>"$dir/e1" && fail "a user without hauld" || true
grep -q 'needs root' "$dir/e1" || fail "expected 'needs root' in: $(cat "$dir/e1")"
note "  a user: check, haul, ls by hauld; nothing without it"

# ---- a tree that is not all theirs ----
pid=$("$lab" spawn A mixed sh -c 'sleep 1000 & sleep 1000')
got=0
in_a "$haul" --owner=1001 check "$pid" >"$dir/o1" 2>&1 || got=$?
[ $got = 3 ] && grep -q 'belongs to user 0, not to 1001' "$dir/o1" || fail "--owner: $got: $(cat "$dir/o1")"
in_a "$haul" --owner=0 check "$pid" >/dev/null || fail "--owner=0"
note "  --owner: only what belongs to one user"
