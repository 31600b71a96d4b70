#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-api - hauld over HTTP: every route, right and wrong, two users, tokens, events, webhooks,
# configuration. Real processes move.
. "$(dirname "$0")/lib.sh"
. "$top/tests/page/lab.sh"

# start_as UID: a process of that user in host A; sets $pid
start_as() {
	local uid=$1
	wdir=$dir/user.$uid.$RANDOM
	mkdir -m 777 "$wdir"
	# its output would be a file of root's
	pid=$("$lab" spawn A "$(basename "$wdir")" bash -c 'exec setpriv --reuid "$0" --regid "$0" --clear-groups "$@" >/dev/null 2>&1' \
		"$uid" "$work/writer" --dir "$wdir" --mib 24 --rate 2000)
	until_true 60 '[ -e "$wdir/ready" ]' || fail "no workload of user $uid"
}

api_options=("webhooks = http://hostA:9099/hook?key=not-for-logs" "webhook-secret = /etc/haul/hook-secret" "user-policies = default gentle")
api_prepare() { "$lab" run "$1" sh -c 'umask 077; echo 0123456789abcdef-the-secret >/etc/haul/hook-secret'; }
api_up
# refuses the first events twice: they have to come again, in their order
"$lab" run A setsid python3 "$top/tests/api/hooked.py" 9099 "$dir/hooked" 0123456789abcdef-the-secret </dev/null >"$dir/hooked.log" 2>&1 &

start A "$work/writer" --mib 24 --rate 2000
root_pid=$pid
start_as 1001
own1=$pid
start A "$work/writer" --mib 24 --rate 2000
own2=$pid
start_as 1002
"$lab" run A python3 "$top/tests/api/routes.py" "$root_pid" "$own1" "$own2" "$pid" "$dir/cert.pem" "$token" \
	"$operator" "$reader" "$top/docs/openapi.json"

"$lab" run B test -e "/proc/$own2" || fail "process $own2 is not on B"
! "$lab" run A test -e "/proc/$own2" || fail "process $own2 is still on A"
[ $(("$("$lab" run A sh -c "ls -d /proc/$own1" 2>/dev/null | wc -l)" + "$("$lab" run B sh -c "ls -d /proc/$own1" 2>/dev/null | wc -l)")) = 1 ] ||
	fail "process $own1 is not on one of the hosts"

# ---- webhooks: each event once taken, in order, signed ----
until_true 60 '[ "$(grep -c "\"event\":\"ended\"" "$dir/hooked")" = 3 ]' || fail "webhooks: $(cat "$dir/hooked")"
python3 - "$dir/hooked" <<'END' || fail "webhooks"
import json, sys
v = [json.loads(line) for line in open(sys.argv[1])]
ids = [e["id"] for e in v]
assert ids == sorted(set(ids)), "not in order, or twice: %s" % ids
assert all(e["signed"] for e in v), "a wrong signature"
assert sum(e["body"]["event"] == "ended" for e in v) == 3, [e["body"]["event"] for e in v]
assert {"queued", "started", "running", "done", "ended"} <= {e["body"]["event"] for e in v}
print("  webhook: %d events, the first ones refused twice before; in order, signed" % len(v))
END

# ---- configuration ----
limit() { "$lab" run A curl -s --unix-socket /run/haul/api.sock http://h/metrics | awk '$1 == "haul_running_limit" { print $2 }'; }
daemon=$("$lab" run A pgrep -x hauld | head -1)
# set_limit N: and hauld is told to read it
set_limit() {
	"$lab" run A sh -c "sed -i '/^migrations-max/d' /etc/haul/haul.conf; echo 'migrations-max = $1' >>/etc/haul/haul.conf; kill -HUP $daemon"
}
[ "$(limit)" = 2 ] || fail "the limit is $(limit)"
set_limit 5
until_true 60 '[ "$(limit)" = 5 ]' || fail "SIGHUP: the limit is $(limit)"
set_limit many
until_true 60 'grep -q "migrations-max = many: not a number" "$dir/hauld.A.log"' || fail "a wrong configuration is not complained of"
[ "$(limit)" = 5 ] || fail "a wrong configuration changed something: $(limit)"
[ "$("$lab" run A pgrep -x hauld | head -1)" = "$daemon" ] || fail "hauld is another one"
note "  SIGHUP: a new limit; a wrong one changes nothing and is named"

# check_config WANTED-STATUS WANTED-TEXT LINE...
check_config() {
	local want=$1 text=$2 got=0
	shift 2
	printf '%s\n' "$@" >"$dir/some.conf"
	"$lab" run A "$hauld" --check-config --config="$dir/some.conf" >"$dir/out" 2>&1 || got=$?
	[ "$got" = "$want" ] || fail "--check-config of '$*': $got: $(cat "$dir/out")"
	grep -qF -- "$text" "$dir/out" || fail "--check-config of '$*' does not say '$text': $(cat "$dir/out")"
}
check_config 0 "no fault" "migrations-max = 3" "# fine"
check_config 1 'some.conf:2: unknown key "migrations-mux"' "criu = /bin/true" "migrations-mux = 3"
check_config 1 "some.conf:1: no '='" "migrations-max 3"
check_config 1 "migrations-max = 0: not a number from 1 to 256" "migrations-max = 0"
check_config 1 "api-port needs api-cert and api-key" "api-port = 8443"
check_config 1 "webhooks need webhook-secret" "webhooks = http://x/"
check_config 1 "criu: /no/criu: No such file" "criu = /no/criu"
check_config 1 "hook-frozen: /no/hook" "hook-frozen = /no/hook"
check_config 1 'no policy "nosuch"' "user-policies = default nosuch"
check_config 1 "other users may read it" "webhooks = http://x/" "webhook-secret = $dir/cert.pem"
check_config 1 "api-key" "api-port = 1" "api-cert = $dir/key.pem" "api-key = $dir/cert.pem" "api-tokens = /etc/haul/tokens"
echo "alice admin nonsense" >"$dir/tokens.bad"
check_config 1 "tokens.bad:1: not NAME read|operate|admin SHA256" "api-tokens = $dir/tokens.bad"
note "  --check-config: 12 files, each fault named"

# ---- nothing secret in logs or process lists ----
for secret in "$token" "$operator" "$reader" not-for-logs the-secret; do
	! grep -qF "$secret" "$dir"/hauld.*.log || fail "a secret is in the log"
done
! "$lab" run A ps -eo args | grep '[h]auld' | grep -qF -e "$token" -e not-for-logs || fail "a secret is in the process list"
note "  no secret in the logs or the process list"
