#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-watch - haul watch: true times when it is late, the cost to the program, the record however it
# ends, memory that cannot be tracked, the plot, exit statuses; the program is left as it was found.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
build=${HAUL_BUILDDIR:-$top}
haul=$build/haul
[ "$(id -u)" = 0 ] || { echo "SKIP: needs root"; exit 77; }
dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$dir"' EXIT
failed=0
complain() { echo "FAIL: $*"; failed=1; }
note() { echo "-- $*"; }
# until_true SECONDS CONDITION: as in lib.sh, which this test does not need
until_true() {
	local end=$((SECONDS + $1))
	until eval "$2" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.02
	done
}
works() { sleep "$1"; } # never to wait for something

# writer MIB WRITES-PER-S SECONDS [FLAG]: of random pages, as fast as it can when 0; with FLAG
# it tracks its own memory; $pid
cat >"$dir/writer.py" <<'P'
import ctypes, mmap, random, sys, time
mib, rate, life = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
m = mmap.mmap(-1, mib << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
n = (mib << 20) // 4096
for i in range(n):
    m[i * 4096] = 1
if len(sys.argv) > 4:
    import fcntl, struct
    fd = ctypes.CDLL(None).syscall(323, 1 | 0o2000000)
    fcntl.ioctl(fd, 0xC018AA3F, struct.pack("QQQ", 0xAA, 0, 0))
    at = ctypes.addressof(ctypes.c_char.from_buffer(m))
    fcntl.ioctl(fd, 0xC020AA00, struct.pack("QQQQ", at, mib << 20, 1, 0))
end, done, t0 = time.time() + life, 0, time.time()
print("ready", flush=True)
while time.time() < end:
    while rate == 0 and time.time() < end or done < (time.time() - t0) * rate:
        m[random.randrange(n) * 4096] = done & 255
        done += 1
    time.sleep(0.002)
P
writer() {
	rm -f "$dir/ready"
	python3 "$dir/writer.py" "$@" >"$dir/ready" &
	pid=$!
	pids+=("$pid")
	until_true 60 'grep -qs ready "$dir/ready" || ! kill -0 "$pid"' || complain "the writer does not begin"
}
done_with() { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; }
# events EXPRESSION: of v, the list of events in $dir/out
events() {
	python3 -c 'import json, sys
v = [json.loads(l) for l in open(sys.argv[1])]
w = [e for e in v if e["event"] == "watch"]
sys.exit(not ('"$1"'))' "$dir/out" || complain "$2: not $1: $(tail -4 "$dir/out")"
}
samples() { grep -c '^[0-9]' "$1"; }

note "what is seen late has its time"
writer 64 1000 60
"$haul" watch --json --seconds=6 --record="$dir/trace" "$pid" >"$dir/out" &
w=$!
works 2
kill -STOP $w
works 2
kill -CONT $w
wait $w || complain "status $?"
events 'w[-1]["time_s"] == 6' "six seconds"
events '8 <= w[-1]["late_samples"] <= 14' "late samples"
events 'max(e["written_pages"] / e["sample_us"] for e in w) * 1e6 < 1600' "a rate"
events 'sum(e["event"] == "prediction" for e in v) >= 2' "predictions"
[ "$(samples "$dir/trace")" = 30 ] || complain "$(samples "$dir/trace") samples"
most=$(awk '/^[0-9]/ { s = $2; for (i = 3; i <= NF; i++) { split($i, a, ":"); s += a[2] } if (s > m) m = s } END { print m }' "$dir/trace")
[ "$most" -lt 320 ] || complain "a sample of $most pages at 1000 a second"

note "left as it was found"
grep -q 'VmFlags:.* uw' "/proc/$pid/smaps" && complain "mappings are still registered"
grep -q '^TracerPid:	0$' "/proc/$pid/status" || complain "it is still traced"
grep -q '^State:	[SR]' "/proc/$pid/status" || complain "$(grep State "/proc/$pid/status")"

note "the record"
"$haul" watch --seconds=60 --record="$dir/no/such" "$pid" >"$dir/out" 2>&1 &
w=$!
works 1
kill -0 $w 2>/dev/null && complain "a path that cannot be written is found out at the end"
kill $w 2>/dev/null
wait $w
[ $? = 1 ] || complain "no such path: status"
echo keep >"$dir/kept"
timeout -s INT --preserve-status 0.4 "$haul" watch --sample-ms=5000 --record="$dir/kept" "$pid" >"$dir/out" 2>&1
rc=$?
[ $rc = 130 ] && grep -q keep "$dir/kept" || complain "no samples: status $rc, $(cat "$dir/kept")"
timeout -s INT --preserve-status 1.5 "$haul" watch --record="$dir/int" "$pid" >"$dir/out" 2>&1
rc=$?
[ $rc = 0 ] && [ "$(samples "$dir/int")" -ge 3 ] && grep -q ^default "$dir/out" || complain "Ctrl-C: status $rc: $(cat "$dir/out")"
"$haul" watch --seconds=4 --record="$dir/pipe" "$pid" 2>&1 | head -1 >/dev/null
[ "$(samples "$dir/pipe")" -ge 5 ] || complain "a closed pipe: $(samples "$dir/pipe") samples"
done_with
for life in 0.9 1.1 1.3; do
	writer 200 2000 $life
	timeout 20 "$haul" watch --quiet --sample-ms=10 --record="$dir/end" "$pid" >"$dir/out" 2>&1
	rc=$?
	[ $rc = 0 ] && [ "$(samples "$dir/end")" -ge 5 ] || complain "it ends: status $rc: $(cat "$dir/out")"
	rm -f "$dir/end"
	done_with
done

note "a program that writes all of its memory all the time"
writer 64 0 60
"$haul" watch --json --seconds=5 --sample-ms=10 "$pid" >"$dir/out" || complain "status $?"
# a look costs the faults of all pages that it has armed: one in twenty of the time
events 'sum(e["written_pages"] for e in w) < 6 / 20 / 1e-6' "faults"
"$haul" watch --seconds=3 --sample-ms=10 "$pid" >"$dir/out"
grep -q 'note: looks are up to' "$dir/out" || complain "nothing is said: $(cat "$dir/out")"
done_with

note "memory that another process tracks"
writer 16 10 60 tracks
"$haul" watch --json --seconds=1 "$pid" >"$dir/out" || complain "status $?"
if grep -q '"untracked_mappings":[1-9]' "$dir/out"; then
	events 'all(e["written_pages"] >= 4096 for e in w)' "it counts as written"
	"$haul" watch --seconds=1 "$pid" | grep -q 'cannot be tracked' || complain "nothing is said"
else
	echo "not checked: userfaultfd, or this kernel's tracker does not mind"
fi
done_with

note "the terminal"
writer 16 500 60
screen() { # LOCALE COLUMNS
	LC_ALL=$1 timeout 20 script -qec "stty cols $2; '$haul' watch --seconds=3 --sample-ms=20 $pid" /dev/null >"$dir/out" </dev/null
}
if command -v script >/dev/null; then
	screen C 60
	grep -q '@' "$dir/out" || complain "no plot"
	LC_ALL=C grep -q $'\xe2' "$dir/out" && complain "UTF-8 in the locale C"
	[ "$(grep -ao '|[^|]*|' "$dir/out" | awk '{ print length($0) }' | sort -n | tail -1)" -le 58 ] || complain "a plot wider than the terminal"
	screen C.UTF-8 60
	LC_ALL=C grep -q $'\xe2' "$dir/out" || complain "no UTF-8 in its locale"
fi

note "statuses"
# status WANT PATTERN ARG...
status() {
	local want=$1 pattern=$2 rc=0
	shift 2
	timeout 20 "$haul" watch "$@" >"$dir/out" 2>&1 </dev/null || rc=$?
	[ $rc = "$want" ] && grep -qE -- "$pattern" "$dir/out" || complain "watch $*: status $rc, not $want: $(cat "$dir/out")"
}
status 2 'seconds=1 ends before' --seconds=1 --sample-ms=10000 "$pid"
status 2 'no policy "nosuch"' --policy=nosuch "$pid"
status 2 'does not take --fs' --fs=/tmp "$pid"
status 3 'no process 4194304' 4194304
status 3 'haul itself' $$
# a shell may reap it before it executes another program
python3 -c 'import os, sys, time
child = os.fork() or os._exit(0)
open(sys.argv[1], "w").write("%d\n" % child); time.sleep(100)' "$dir/zombie" &
pids+=($!)
until_true 60 'grep -q "^State:	Z" "/proc/$(cat "$dir/zombie")/status"' || complain "no zombie"
status 3 'has ended' "$(cat "$dir/zombie")"
python3 -c 'import ctypes, sys, time
ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0); print("ready", flush=True); time.sleep(30)' "$pid" >"$dir/tracer" &
tracer=$!
pids+=($tracer)
until_true 60 'grep -q ready "$dir/tracer"' || complain "the debugger does not attach"
status 3 'cannot be tracked' --seconds=1 "$pid"
kill $tracer
wait $tracer 2>/dev/null
cp "$haul" "$dir/haul"
chmod 755 "$dir" "$dir/haul"
if ! setpriv --reuid=65534 --regid=65534 --clear-groups "$dir/haul" watch --seconds=1 "$pid" >"$dir/out" 2>&1; then
	grep -q 'may not be watched: Permission denied' "$dir/out" || complain "another user's: $(cat "$dir/out")"
else
	complain "another user's is watched"
fi
status 0 '^default\+options  *0 ' --seconds=1 --mode=stop-copy "$pid"
exit $failed
