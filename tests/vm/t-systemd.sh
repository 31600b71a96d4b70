#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-systemd - services of a real systemd on both hosts: haul NAME.service HOST; never a second copy, and the
# unit there is what systemd says of it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export HAUL_VM_SYSTEMD=1 HAUL_AGENT=none LAB=${LAB:-systemd}
lab=$here/lab bin=${HAUL_BUILDDIR:-/haul}
dir=$(mktemp -d /var/tmp/haul-test.XXXXXX)
chmod 755 "$dir"
fail() { printf 'FAIL: %s\n' "$*" >&2; exit 1; }
note() { printf '%4d s  %s\n' $SECONDS "$*"; }
until_true() {
	local end=$((SECONDS + $1)) condition=$2
	shift 2
	until eval "$condition" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.5
	done
}
[ -n "${HAUL_VM_KEEP-}" ] || trap '"$lab" down; rm -rf "$dir"' EXIT
"$lab" status >/dev/null 2>&1 || "$lab" up
on() { "$lab" run "$@"; }

# ---- hosts ----
ssh-keygen -q -t ed25519 -N '' -f "$dir/id"
for h in A B; do
	cat >"$dir/set-up" <<END
set -e
mkdir -p /etc/haul /usr/local/sbin
# of machines that are kept
systemctl stop 'b-*' 2>/dev/null || true
rm -rf /run/haul/away /var/lib/haul/away /run/systemd/system/b-*.d
cp $dir/id.pub /etc/haul/authorized_keys
cp $dir/id /etc/haul/id_ed25519
ln -sf $bin/haul /usr/local/sbin/haul
echo "criu = /usr/sbin/criu" >/etc/haul/haul.conf
sed 's#@sbindir@#$bin#' $top/contrib/systemd/hauld.service.in >/etc/systemd/system/hauld.service
cp $top/contrib/systemd/hauld.socket /etc/systemd/system/
cat >/usr/local/sbin/beat <<'P'
#!/usr/bin/python3
import os, signal, socket, sys, time
mib = int(sys.argv[1])
mem = [bytearray(os.urandom(1 << 20)) for _ in range(mib)]
def say(text):
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.sendto(text.encode(), path)
        s.close()
def end(*_):
    print("beat ends", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
say("READY=1")
n = 0
while True:
    n += 1
    print("beat", n, flush=True)
    say("WATCHDOG=1\nSTATUS=beat %d" % n)
    for m in mem:
        m[n % len(m)] = n % 256
    time.sleep(0.5)
P
chmod 755 /usr/local/sbin/beat
unit() {
	printf '[Unit]\nDescription=beat\n[Service]\nExecStart=/usr/local/sbin/beat %s\n%s\n[Install]\nWantedBy=multi-user.target\n' "\$2" "\$3" >/etc/systemd/system/\$1.service
}
unit b-always 4 'Restart=always'
unit b-failure 4 'Restart=on-failure
OnFailure=b-alarm.service'
unit b-notify 4 'Type=notify
Restart=always
WatchdogSec=10'
unit b-limits 32 'Restart=always
MemoryMax=256M
CPUQuota=80%
User=nobody'
unit b-sand 4 'Restart=always
User=nobody
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome=yes
ProtectHostname=yes
ProtectProc=invisible
ProtectControlGroups=yes
ProtectKernelTunables=yes
NoNewPrivileges=yes'
unit b-users 4 'PrivateUsers=yes'
printf '[Service]\nType=oneshot\nExecStart=/bin/touch /run/alarm\n' >/etc/systemd/system/b-alarm.service
systemctl daemon-reload
systemctl start hauld.socket hauld.service
END
	on $h sh "$dir/set-up" || fail "host $h cannot be set up"
done
on A haul trust -y hostB >/dev/null
on B haul trust -y hostA >/dev/null
note "two hosts with systemd $(on A systemctl --version | head -1)"

# ---- what is seen ----
show() { on "$1" systemctl show -p "$3" --value "$2"; }
is() { [ "$(show "$@")" = "$4" ] || fail "$2 at $1: $3 is $(show "$1" "$2" "$3"), not $4: $(on "$1" systemctl status "$2" 2>&1 | tail -5)"; }
becomes() { until_true 60 '[ "$(show "$1" "$2" "$3")" = "$4" ]' "$@" || is "$@"; }
options="--freeze-limit-ms=120000 --connect-limit-ms=60000"
# shellcheck disable=SC2086	# words
hauls() { local from=$1; shift; on "$from" haul $options "$@" >"$dir/out" 2>&1; }
beats() { on "$1" pgrep -cf 'sbin/beat' || true; }
# begin UNIT: runs at A, sets $pid
begin() {
	on A sh -c 'echo 3'"$((RANDOM % 9))"'000 >/proc/sys/kernel/ns_last_pid; systemctl start '"$1" || fail "$1 does not start"
	becomes A "$1" ActiveState active
	pid=$(show A "$1" MainPID)
}
# moved UNIT FROM TO: it is TO's, and FROM has none
moved() {
	becomes "$3" "$1" MainPID "$pid"
	is "$3" "$1" ActiveState active
	becomes "$2" "$1" ActiveState inactive
	is "$2" "$1" Result success
	is "$2" "$1" NRestarts 0
	[ "$(beats "$2") $(beats "$3")" = "0 1" ] || fail "$1: $(beats "$2") copies at $2, $(beats "$3") at $3"
	until_true 60 'on "$3" sh -c "! ls /run/systemd/system/$1.d 2>/dev/null | grep -q ."' "$@" || fail "a drop-in stays at $3"
	on "$3" grep -q "/system.slice/$1" "/proc/$pid/cgroup" || fail "it is in $(on "$3" cat "/proc/$pid/cgroup")"
}
ended() { on "$1" systemctl stop "$2"; becomes "$1" "$2" ActiveState inactive; is "$1" "$2" Result success; }

for u in b-always b-failure b-notify; do
	begin $u.service
	hauls A $u.service hostB || fail "$u: $(cat "$dir/out")"
	moved $u.service A B
	! on A systemctl start $u.service 2>/dev/null || fail "$u: a second copy is started by hand"
	[ "$(beats A)" = 0 ] || fail "$u: a second copy at A"
	until_true 30 'on B journalctl -u $u.service --no-pager -n 3 | grep "beat" >/dev/null' || fail "$u: nothing in the journal at B"
	# and back
	hauls B $u.service hostA || fail "$u back: $(cat "$dir/out")"
	moved $u.service B A
	case $u in
	b-always)
		on A kill -9 "$pid"
		until_true 60 '[ "$(show A $u.service NRestarts)" = 1 ]' || fail "a crash is not noticed: $(show A $u.service NRestarts)"
		;;
	b-notify) is A $u.service WatchdogUSec 10s ;;
	esac
	ended A $u.service
	note "$u: there and back; one copy; status, journal, stop, restart after a crash"
done
! on A test -e /run/alarm || fail "OnFailure= ran"

begin b-limits.service
hauls A b-limits.service hostB || fail "b-limits: $(cat "$dir/out")"
moved b-limits.service A B
[ "$(show B b-limits.service MemoryCurrent)" -gt 20000000 ] || fail "its memory is not charged to the unit: $(show B b-limits.service MemoryCurrent)"
[ "$(on B cat /sys/fs/cgroup/system.slice/b-limits.service/memory.max)" = 268435456 ] || fail "no MemoryMax"
ended B b-limits.service
note "MemoryMax, CPUQuota, User: the unit's there, and its memory counts"

# sandboxed: the namespaces are the unit's on either host
begin b-sand.service
on A nsenter -m -t "$pid" sh -c 'echo A >/tmp/mine'
for h in A B; do
	o=B; [ $h = A ] || o=A
	hauls $h b-sand.service host$o || fail "b-sand from $h: $(cat "$dir/out")"
	moved b-sand.service $h $o
	on $o grep -q 'systemd-private-.*b-sand' "/proc/$pid/mountinfo" || fail "/tmp at $o is not the unit's own"
	! on $o nsenter -m -t "$pid" sh -c 'echo x >/etc/x' 2>/dev/null || fail "ProtectSystem= does not hold at $o"
	! on $o sh -c "[ \$(readlink /proc/$pid/ns/uts) = \$(readlink /proc/1/ns/uts) ]" || fail "no UTS namespace at $o"
done
ended A b-sand.service
begin b-users.service
hauls A b-users.service hostB && fail "a user namespace moves"
grep -q 'PrivateUsers=no' "$dir/out" || fail "PrivateUsers= is not named: $(cat "$dir/out")"
ended A b-users.service
note "PrivateTmp=, PrivateDevices=, ProtectSystem= and the like: made by the unit there; PrivateUsers= refused"

# undone: both are as they were
begin b-notify.service
printf '#!/bin/sh\nexit 1\n' >"$dir/no"
chmod 755 "$dir/no"
hauls A --hook=frozen="$dir/no" b-notify.service hostB && fail "moved although the hook says no"
grep -q 'says no' "$dir/out" || fail "not undone by the hook: $(cat "$dir/out")"
is A b-notify.service MainPID "$pid"
is A b-notify.service WatchdogUSec 10s
is A b-notify.service Restart always
becomes B b-notify.service ActiveState inactive
until_true 60 'on B sh -c "! ls /run/systemd/system/b-notify.service.d 2>/dev/null | grep -q arriving"' || fail "a drop-in stays at B"
ended A b-notify.service
note "undone: Restart=, the watchdog and the unit there are as they were"

# a watchdog that is shorter than the post-copy
begin b-notify.service
hauls A --mode=post-copy --bandwidth-limit-mbit=2 b-notify.service hostB || fail "post-copy: $(cat "$dir/out")"
moved b-notify.service A B
ended B b-notify.service
note "a post-copy that is longer than the watchdog"

# an enabled unit: not after a reboot of A either, whose /run is empty then
begin b-failure.service
on A systemctl enable -q b-failure.service
hauls A b-failure.service hostB || fail "enabled: $(cat "$dir/out")"
moved b-failure.service A B
on A sh -c 'rm -rf /run/haul/away /run/systemd/system/b-failure.service.d; systemctl daemon-reload'
! on A systemctl start b-failure.service 2>/dev/null || fail "the next boot would start a second copy"
hauls B b-failure.service hostA || fail "enabled, back: $(cat "$dir/out")"
moved b-failure.service B A
on A sh -c '! test -e /etc/systemd/system/b-failure.service.d' || fail "the drop-in stays although it is back"
ended A b-failure.service
on A systemctl start b-failure.service || fail "it cannot be started any more"
ended A b-failure.service
note "an enabled unit: no second copy after a reboot, and free again when it is back"

note "ok"
