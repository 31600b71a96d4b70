#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-api-trust - users and holders of tokens against root: the queue, cancelling, checks and
# connections that use up the limits, an operator's token, old TLS, sessions of browsers.
. "$(dirname "$0")/lib.sh"
. "$top/tests/page/lab.sh"

api_options=("migrations-max = 1")
api_up
start A "$work/writer" --mib 24 --rate 2000
long=$pid
start A "$work/writer" --mib 8 --rate 200
second=$pid
wdir=$dir/user.1001
mkdir -m 777 "$wdir"
own=$("$lab" spawn A user.1001 setpriv --reuid 1001 --regid 1001 --clear-groups "$work/writer" --dir "$wdir" --mib 8 --rate 200)
until_true 60 '[ -e "$wdir/ready" ]' || fail "no workload of user 1001"
try() {
	"$lab" run A python3 "$top/tests/api/trust.py" "$long" "$second" "$own" "$dir/cert.pem" "$token" "$operator" "$reader" "$@"
}
try queue cancelling connections operators sessions
silent=$("$lab" run B pgrep -xo hauld)
"$lab" run B kill -STOP "$silent"
try checks
"$lab" run B kill -CONT "$silent"

# ---- TLS 1.1 is refused by hauld, 1.2 is not ----
hello() { "$lab" run A sh -c "echo | openssl s_client -connect hostA:8443 -$1 -cipher ALL@SECLEVEL=0 2>&1" || true; }
hello tls1_2 | grep -q 'BEGIN CERTIFICATE' || fail "TLS 1.2: $(hello tls1_2 | head -20)"
for old in tls1 tls1_1; do
	! hello $old | grep -q 'BEGIN CERTIFICATE' || fail "$old: hauld does not refuse it: $(hello $old | head -20)"
done
note "  TLS 1.0 and 1.1 are refused"
