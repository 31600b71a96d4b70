# SPDX-License-Identifier: GPL-2.0-or-later
# lib-systemd.sh - two machines with systemd, services to move, and what systemd says of them. Sourced by t-systemd*.sh.
# shellcheck shell=bash
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export HAUL_VM_SYSTEMD=1 HAUL_AGENT=none LAB=${LAB:-systemd}
# What is waited for comes as fast as the machine is; software emulation beside others takes a minute for a start.
limit_s=300
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
rm -rf /run/haul/away /var/lib/haul/away /run/systemd/system/b-*.d /etc/systemd/system/b-*.d /run/systemd/system/hauld.service.d
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
becomes() { until_true $limit_s '[ "$(show "$1" "$2" "$3")" = "$4" ]' "$@" || is "$@"; }
options=(--freeze-limit-ms=120000 --connect-limit-ms=60000)
hauls() { local from=$1; shift; on "$from" haul "${options[@]}" "$@" >"$dir/out" 2>&1; }
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
	until_true $limit_s 'on "$3" sh -c "! ls /run/systemd/system/$1.d 2>/dev/null | grep -q ."' "$@" || fail "a drop-in stays at $3"
	on "$3" grep -q "/system.slice/$1" "/proc/$pid/cgroup" || fail "it is in $(on "$3" cat "/proc/$pid/cgroup")"
}
ended() { on "$1" systemctl stop "$2"; becomes "$1" "$2" ActiveState inactive; is "$1" "$2" Result success; }
