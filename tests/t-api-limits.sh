#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-api-limits - clients that mean ill: slow ones, 500 idle connections, bodies of 1 GiB, malformed
# HTTP, all at once, while a process moves. Prints how much slower it was: no time is asserted.
. "$(dirname "$0")/lib.sh"
. "$top/tests/page/lab.sh"
api_options=()
api_up
start A "$work/writer" --mib 160 --rate 2000
api_pid=$("$lab" run A pgrep -x hauld-api)
"$lab" run A env TOKEN="$token" python3 "$top/tests/api/limits.py" "$pid" "${LIMITS_ROUNDS:-7}" "$dir/cert.pem" "$api_pid"
verify A
[ "$("$lab" run A pgrep -x hauld-api)" = "$api_pid" ] || fail "the API process is another one: it died"
rss=$("$lab" run A awk '/^VmHWM/ { print $2 }' "/proc/$api_pid/status")
[ "$rss" -lt 102400 ] || fail "the API process took $rss KiB"
note "  the API process took $((rss / 1024)) MiB at most"

# ---- one who drips a request is cut off; so is one who says nothing ----
"$lab" run A python3 - <<'END'
import socket, time
def cut(data, every_s, limit_s):
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/haul/api.sock")
    s.settimeout(0.01)
    t = time.time()
    while time.time() - t < limit_s:
        try:
            if data:
                s.send(b"x")
            if s.recv(100) == b"":
                return time.time() - t
        except TimeoutError:
            pass
        except OSError:
            return time.time() - t
        time.sleep(every_s)
    raise SystemExit("FAIL: still connected after %d s" % limit_s)
print("  silent: cut after %.0f s; a byte a second: after %.0f s" % (cut(False, 1, 120), cut(True, 1, 120)))
END

# ---- a local user does not get all connections ----
"$lab" run A env PYTHONPATH="$top/tests/api" python3 - <<'END'
import socket, time
from client import SOCKET, as_uid
def greedy():
    v = []
    for _ in range(300):
        s = socket.socket(socket.AF_UNIX)
        s.connect(SOCKET)
        v.append(s)
    time.sleep(2)
    n = 0
    for s in v:
        s.settimeout(0.001)
        try:
            n += s.recv(1) != b""
        except TimeoutError:
            n += 1
        except OSError:
            pass
    return n
n = as_uid(1001, greedy)
assert 0 < n <= 100, "%d connections of one user" % n
print("  a user with 300 connections keeps %d" % n)
END
"$lab" run A curl -sf --unix-socket /run/haul/api.sock http://h/healthz >/dev/null || fail "it does not serve"
