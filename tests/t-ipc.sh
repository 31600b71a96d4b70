#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-ipc - an IPC namespace goes along: System V shared memory, semaphores, a queue; and 8 TiB
# that are reserved and empty cost nothing. In the host's namespace they are blockers.
. "$(dirname "$0")/lib.sh"
lab_up
start A "$work/ipc.py"
"$lab" run A "$haul" check "$pid" hostB | grep -q 'ipc-moves' || fail "check does not say that the namespace moves"
in_every_mode
stop "$where"
note "a segment that nobody has mapped, and a memory file of the same number: found in the stop, and undone"
cat >"$dir/same-number" <<'EOF'
#!/usr/bin/python3
import ctypes, os, signal, sys
libc = ctypes.CDLL(None)
libc.unshare(0x08000000)
fd = os.memfd_create("x")
os.truncate(fd, 65536)
os.pwrite(fd, b"file" * 1024, 0)
number = os.fstat(fd).st_ino
with open("/proc/sys/kernel/shm_next_id", "w") as f:
    f.write(str(number))
if libc.shmget(0, 65536, 0o1600) != number:
    sys.exit("no segment of the number %d" % number)
open(sys.argv[2] + "/ready", "w").close()
signal.pause()
EOF
chmod 755 "$dir/same-number"
start A "$dir/same-number"
! "$lab" run A "$haul" "$pid" hostB >"$dir/out" 2>&1 || fail "it was moved: $(cat "$dir/out")"
grep -q 'have the same inode number' "$dir/out" || fail "not said: $(cat "$dir/out")"
until_true 20 '"$lab" run A grep -q "^State:.S" "/proc/$pid/status"' || fail "it does not run any more"
"$lab" run A kill -KILL "$pid"
