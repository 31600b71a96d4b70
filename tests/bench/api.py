#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""api.py [--rate 1000] [--seconds 10] - GETs at hauld while a process moves.

Asks at a fixed rate, whether answers are late or not (so a pause is seen by all that fall into it), over
eight connections to the Unix socket of host A; everything of hauld on one processor, this client on the
other. Once at rest, once while a 512 MiB writer moves to B at 400 Mbit/s. Prints latencies from the time when
each was due, and how long the move took beside one without any GET.
"""
import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATHS = ["/v1/migrations", "/v1/version", "/healthz", "/metrics", "/v1/policies"]
CLIENT = r'''
import socket, sys, threading, time, json
rate, seconds, paths = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3].split(",")
N = 8
late, bad = [], []
start = time.monotonic() + 0.2
def one(k):
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/haul/api.sock")
    f = s.makefile("rb")
    i = k
    while True:
        due = start + i / rate
        if due > start + seconds:
            return
        time.sleep(max(0, due - time.monotonic()))
        s.sendall(b"GET %s HTTP/1.1\r\nHost: haul\r\n\r\n" % paths[i % len(paths)].encode())
        head, n = f.readline(), 0
        while (line := f.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                n = int(line.split(b":")[1])
        f.read(n)
        late.append(time.monotonic() - due)
        if b" 200 " not in head:
            bad.append(head.decode())
        i += N
t = [threading.Thread(target=one, args=(k,)) for k in range(N)]
[x.start() for x in t]
[x.join() for x in t]
late.sort()
print(json.dumps({"gets": len(late), "bad": len(bad), "per_s": len(late) / (time.monotonic() - start), "p50_ms": late[len(late) // 2] * 1e3,
                  "p99_ms": late[int(len(late) * .99)] * 1e3, "max_ms": late[-1] * 1e3}))
'''
SHELL = r'''
. "$TOP/tests/lib.sh"; . "$TOP/tests/page/lab.sh"
api_options=(); api_up
"$lab" rate 400mbit
start A "$work/writer" --mib 512 --rate 2000
for p in $(pgrep -f "$hauld" || true); do taskset -acp 0 "$p" >/dev/null; done
gets() { "$lab" run A taskset -c 1 python3 -c "$CLIENT" "$RATE" "$1" "$PATHS"; }
moved() { "$lab" run "$1" "$haul" --json --mode=pre-copy --agent=local "$pid" "host$2" | grep '"event":"done"'; }
echo "rest $(gets "$SECONDS_EACH")"
echo "alone $(moved A B)"
echo "back $(moved B A)"
gets "$SECONDS_EACH" >"$dir/gets" & g=$!
echo "moved $(moved A B)"
wait $g
echo "moving $(cat "$dir/gets")"
verify B
'''


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rate", type=int, default=1000, help="GETs a second")
    ap.add_argument("--seconds", type=int, default=10)
    a = ap.parse_args()
    env = dict(os.environ, TOP=TOP, CLIENT=CLIENT, RATE=str(a.rate), SECONDS_EACH=str(a.seconds), PATHS=",".join(PATHS))
    with tempfile.NamedTemporaryFile("w", dir=TOP + "/tests", prefix=".bench-api-", suffix=".sh") as f:
        f.write(SHELL)
        f.flush()
        r = subprocess.run(["bash", f.name], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    got = {}
    for line in r.stdout.splitlines():
        key, _, text = line.partition(" ")
        if text.startswith("{"):
            got[key] = json.loads(text)
    if r.returncode or {"rest", "alone", "moving", "moved"} - set(got):
        sys.exit(r.stdout)
    for key, what in (("rest", "at rest"), ("moving", "while a process moves")):
        print("%-22s %6d GETs, %4.0f a second, p50 %5.2f ms, p99 %5.2f ms, longest %5.1f ms, %d not 200" % (
            (what,) + tuple(got[key][k] for k in ("gets", "per_s", "p50_ms", "p99_ms", "max_ms", "bad"))))
    one, two = got["alone"]["total_us"], got["moved"]["total_us"]
    print("the move               %.2f s, without GETs %.2f s: %+.1f %%; stopped for %.0f and %.0f ms" % (
        two / 1e6, one / 1e6, (two / one - 1) * 100, got["moved"]["downtime_us"] / 1e3, got["alone"]["downtime_us"] / 1e3))


main()
