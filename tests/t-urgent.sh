#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-urgent - on a link that the bulk of the pages fills: what a thread waits for goes first, and
# pages come already while CRIU restores.
. "$(dirname "$0")/lib.sh"
lab_up
"$lab" rate 50mbit

# An ordinary connection over the same link says how long its queue is.
cat >"$dir/echo.py" <<'E2'
import socket, sys, time
if sys.argv[1] == "serve":
    c = socket.create_server(("", 4311)).accept()[0]
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while (b := c.recv(1)):
        c.sendall(b)
else:
    c = socket.create_connection(("hostA", 4311))
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with open(sys.argv[2], "w", buffering=1) as f:
        while True:
            t = time.time()
            c.sendall(b"x")
            c.recv(1)
            f.write("%d %d\n" % (t * 1e6, (time.time() - t) * 1e6))
            time.sleep(0.01)
E2
"$lab" run A python3 "$dir/echo.py" serve &
until_true 60 '[ -n "$("$lab" run A ss -Htnl sport = :4311)" ]' || fail "no echo"
"$lab" run B python3 "$dir/echo.py" ask "$dir/echo" &
works 1
start A "$work/writer" --mib 48 --rate 2000 --compress 0 --hot-percent 50
works 1
# median FROM_US TO_US: of the echo
median() { awk -v a="$1" -v b="$2" '$1 >= a && $1 < b {print $2}' "$dir/echo" | sort -n | awk '{v[NR] = $1} END {print NR ? v[int((NR + 1) / 2)] : 0}'; }
idle_us=$(median 0 "$(date +%s%6N)")
from=$(date +%s%6N)
move A --mode=post-copy &
job=$!
# on either host control and urgent are marked to go first (AF21), and the others are not
marked() { for h in A B; do "$lab" run $h ss -tnH --tos state established '( sport = :4285 or dport = :4285 )' | grep -c 'tos:0x48' || true; done | xargs; }
marks=
until_true 60 'marks=$(marked); [ "$marks" = "2 2" ]' || true
wait "$job" || fail "post-copy"
to=$(date +%s%6N)
[ "$marks" = "2 2" ] || fail "connections that go first at A and B: $marks, not 2 2"
busy_us=$(median $((from + (to - from) / 4)) $((from + 3 * (to - from) / 4)))
faults=$(field faults_remote) p50=$(field fault_p50_us)
note "  an echo on the idle link takes $idle_us us, beside the bulk $busy_us us; a page that a thread waits for $p50 us ($faults of them)"
verify B
[ "$faults" -gt 50 ] || fail "only $faults threads waited for a page"
[ "$busy_us" -gt $((4 * idle_us)) ] || fail "the link had no queue: this shows nothing"
[ $((2 * p50)) -lt "$busy_us" ] || fail "what a thread waits for is queued behind the bulk"

# haul waits before the commit, as behind a slow restore, and meanwhile the pages come
rm -f "$dir/hold"
HAUL_FAULT=s-restored-heard:hold HAUL_FAULT_FILE=$dir/hold move B --mode=post-copy &
job=$!
until_true 60 '[ -e "$dir/hold" ]' || fail "haul did not come to the commit: $(cat "$dir/report")"
works 1
rm "$dir/hold"
wait "$job" || fail "haul that was held before the commit"
verify A
early=$(field early_pages) remote=$(field remote_pages)
note "  $early of $remote pages came before the process ran"
[ "$early" -gt 0 ] && [ "$early" -lt "$remote" ] || fail "$early of $remote pages came early"
stop A
