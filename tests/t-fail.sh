#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-fail - whatever stands in the way: a clear cause and remedy, a non-zero exit, and the
# process runs on at the source with every page right.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/writer" --mib 64 --rate "${WRITER_RATE:-10000}"
cases=0

# refused STATUS PATTERN OPTION...: haul must fail so, and the process must go on
refused() {
	local want=$1 pattern=$2 rc=0 run
	shift 2
	if [ "${1-}" = -- ]; then shift; run=("$@"); else run=("$haul" "$@" "$pid" hostB); fi
	timeout 60 "$lab" run A "${run[@]}" >"$dir/out" 2>&1 || rc=$?
	[ $rc = "$want" ] || fail "exit status $rc, not $want: $(cat "$dir/out")"
	grep -qE "$pattern" "$dir/out" || fail "no word of \"$pattern\": $(cat "$dir/out")"
	grep -qE 'remedy:|->' "$dir/out" || fail "no remedy: $(cat "$dir/out")"
	verify A
	[ "$("$lab" run B cat "/proc/$pid/comm" 2>/dev/null)" != "$("$lab" run A cat "/proc/$pid/comm")" ] || fail "a copy is on B"
	cases=$((cases + 1))
	note "  refused as it should: $(grep -m1 -E "$pattern" "$dir/out" | cut -c1-150)"
}

hauld_again() {
	"$lab" run B pkill -x hauld || true
	until_true 60 '! "$lab" run B pgrep -x hauld >/dev/null' || fail "hauld on B does not end"
	start_hauld B "$@"
}

# ---- the way there ----
refused 1 'Connection refused' --port 4299
refused 1 'hosT|not known|resol|Name' -- "$haul" "$pid" hosT.invalid
refused 1 'is not known here' --known-hosts "$dir/nobody"
"$lab" run B cp /dev/null /etc/haul/authorized_keys
refused 1 'does not accept|refuse|accepts? none|authori' 
"$lab" run B cp "$dir/id.pub" /etc/haul/authorized_keys
"$lab" run B mv /etc/haul/host_key /etc/haul/host_key.old
hauld_again
refused 1 'HAS CHANGED|has changed|CHANGED'
"$lab" run B mv /etc/haul/host_key.old /etc/haul/host_key
hauld_again

# ---- what the other host lacks ----
hauld_again --criu /nonexistent/criu
refused 3 'no working CRIU'
hauld_again
# Another process of B may be born between the two steps of this: again, then.
taken() { "$lab" run B grep -qsx sleep "/proc/$pid/comm"; }
for _ in $(seq 50); do
	"$lab" run B bash -c "echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid; sleep 300 </dev/null >/dev/null 2>&1 &" </dev/null
	! taken || break
	"$lab" run B pkill -x sleep || true
done
taken || fail "no process of B could be given pid $pid"
refused 3 "pid $pid is taken.*sleep" --pid=keep
"$lab" run B pkill -x sleep
until_true 60 '! taken' || fail "the sleep on B does not end"

# A port that the tree listens on is busy there: refused before anything moves.
listener='import socket, sys, time
s = socket.create_server(("", 7177)); time.sleep(300)'
held=$pid
theirs=$("$lab" spawn B port-holder python3 -c "$listener")
pid=$("$lab" spawn A port-wanter python3 -c "$listener")
for h in A B; do listens $h 7177; done
rc=0
timeout 60 "$lab" run A "$haul" "$pid" hostB >"$dir/out" 2>&1 || rc=$?
[ $rc = 3 ] || fail "busy port: exit status $rc: $(cat "$dir/out")"
grep -q "TCP port 7177 of 0.0.0.0 is taken at the destination by pid $theirs (python3" "$dir/out" || fail "busy port: $(cat "$dir/out")"
"$lab" run A kill -0 "$pid" || fail "the listener on A is gone"
"$lab" run B kill "$theirs"
until_true 60 '! "$lab" run B test -e "/proc/$theirs"' || fail "the listener on B does not end"
timeout 60 "$lab" run A "$haul" "$pid" hostB >"$dir/out" 2>&1 || fail "the port is free again: $(cat "$dir/out")"
"$lab" run B bash -c 'exec 3<>/dev/tcp/localhost/7177' || fail "nobody listens on B"
"$lab" run B kill "$pid"
pid=$held
cases=$((cases + 1))
note "  a busy port is refused, with its owner; once it is free, the program moves"

# ---- CRIU says no ----
cat >"$dir/bad-criu" <<END
#!/bin/sh
echo "pretends to be CRIU" >&2
exit 3
END
chmod +x "$dir/bad-criu"
refused 1 'CRIU on this host' --criu "$dir/bad-criu"

cat >"$dir/full-criu" <<END
#!/bin/bash
# the real one, where no image can be written
trap '' XFSZ
ulimit -f 0
exec ${HAUL_CRIU:-$(head -1 /var/lib/haul/criu/chosen)} "\$@"
END
chmod +x "$dir/full-criu"
refused 1 'dump: CRIU refused: it could not write.*ulimit -f' --criu "$dir/full-criu"
stop A

# A file that only A has: the program itself, on A's own tmpfs.
"$lab" run A mkdir -p /srv/only
"$lab" run A cp "$work/writer" /srv/only/writer
start A /srv/only/writer --mib 16 --rate 1000
refused 3 '/srv/only/writer is not there' --files=require
stop A

# Memory: a tree that is larger than what B says it has is refused before anything moves.
start A "$work/writer" --mib 32 --rate 1000
hauld_again
printf 'MemTotal: 100 kB\nMemAvailable: 2048 kB\n' >"$dir/meminfo"
"$lab" run B mount --bind "$dir/meminfo" /proc/meminfo
refused 3 'MiB'
"$lab" run B umount /proc/meminfo

# The restore: the file that was there at the negotiation is gone when it is needed.
stop A
mkdir -p "$dir/shared"
"$lab" run A mount -t tmpfs tmpfs "$dir/shared"
"$lab" run B mount -t tmpfs tmpfs "$dir/shared"
"$lab" run A cp "$work/writer" "$dir/shared/w"
"$lab" run B cp "$work/writer" "$dir/shared/w"
start A "$dir/shared/w" --mib "${FAIL_MIB:-512}" --rate 1000
"$lab" rate 1gbit
for mode in pre-copy hybrid; do # in hybrid pages are on their way while it fails
	"$lab" run B cp "$work/writer" "$dir/shared/w"
	: >"$dir/out"
	(until_true 60 'grep -q "destination accepts" "$dir/out"'; "$lab" run B bash -c "printf x >>$dir/shared/w") &
	spoiler=$!
	refused 1 'destination: .*(CRIU|restore)' --mode=$mode
	wait $spoiler
done
"$lab" rate off
stop A

# A CRIU that hangs, also while the program is stopped: haul gives it up.
start A "$work/writer" --mib 16 --rate 1000
fault=$dir/stuck
for point in s-freeze-recorded s-stopped; do
	# before 3.19 it does not say when the program is stopped
	case $point:${HAUL_CRIU:+$("$lab" run A "$HAUL_CRIU" --version | head -1)} in s-stopped:*" 3.1"[0-8]*) continue ;; esac
	(
		until_true 60 '[ -s "$fault" ]' || fail "$point was not reached"
		"$lab" run A pkill -STOP -x criu || true
		rm -f "$fault"
	) &
	spoiler=$!
	refused 1 'CRIU' -- env HAUL_FAULT=$point:hold HAUL_FAULT_FILE="$fault" "$haul" --freeze-limit-ms="${STUCK_LIMIT_MS:-2000}" "$pid" hostB
	wait $spoiler
	! "$lab" run A pgrep -x criu || fail "the CRIU that was stuck is left"
	rm -f "$fault".*
done
stop A

# ---- Ctrl-C in each phase ----
start A "$work/writer" --mib "${FAIL_MIB:-256}" --rate "${WRITER_RATE:-20000}"
"$lab" rate 500mbit
for delay in ${FAIL_DELAYS_S:-0.02 0.1 0.3 0.6 1.0 1.5}; do
	rc=0
	"$lab" run A timeout -s INT "$delay" "$haul" --mode=pre-copy "$pid" hostB >"$dir/out" 2>&1 || rc=$?
	verify A
	until_true 60 '! "$lab" run B test -e "/proc/$pid"' || fail "a copy is on B after Ctrl-C"
	cases=$((cases + 1))
done
note "  Ctrl-C at six moments: the process runs on"
"$lab" rate off

# after all of that it can be moved
move A
verify B
stop B
note "$cases cases"
