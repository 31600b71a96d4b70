#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-systemd - services of a real systemd on both hosts: haul NAME.service HOST; never a second copy, and the
# unit there is what systemd says of it.
. "$(dirname "$0")/lib-systemd.sh"

for u in b-always b-failure b-notify; do
	begin $u.service
	hauls A $u.service hostB || fail "$u: $(cat "$dir/out")"
	moved $u.service A B
	! on A systemctl start $u.service 2>/dev/null || fail "$u: a second copy is started by hand"
	[ "$(beats A)" = 0 ] || fail "$u: a second copy at A"
	until_true $limit_s 'on B journalctl -u $u.service --no-pager -n 3 | grep "beat" >/dev/null' || fail "$u: nothing in the journal at B"
	# and back
	hauls B $u.service hostA || fail "$u back: $(cat "$dir/out")"
	moved $u.service B A
	case $u in
	b-always)
		on A kill -9 "$pid"
		until_true $limit_s '[ "$(show A $u.service NRestarts)" = 1 ]' || fail "a crash is not noticed: $(show A $u.service NRestarts)"
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
[ "$(on B cat /sys/fs/cgroup/system.slice/b-limits.service/cpu.max)" = "80000 100000" ] || fail "no CPUQuota"
on B grep -q '^nr_periods [1-9]' /sys/fs/cgroup/system.slice/b-limits.service/cpu.stat || fail "its processor time is not counted there"
on B systemctl status b-limits.service >"$dir/status" || fail "status: $(cat "$dir/status")"
grep -q "Main PID: $pid" "$dir/status" || fail "another main process: $(cat "$dir/status")"
on B systemctl restart b-limits.service || fail "it cannot be restarted"
becomes B b-limits.service ActiveState active
[ "$(show B b-limits.service MainPID)" != "$pid" ] || fail "restart has changed nothing"
on B systemctl kill -s KILL b-limits.service
until_true $limit_s '[ "$(show B b-limits.service NRestarts)" = 1 ]' || fail "systemctl kill: no restart"
[ "$(beats A) $(beats B)" = "0 1" ] || fail "$(beats A) copies at A, $(beats B) at B"
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
until_true $limit_s 'on B sh -c "! ls /run/systemd/system/b-notify.service.d 2>/dev/null | grep -q arriving"' || fail "a drop-in stays at B"
ended A b-notify.service
note "undone: Restart=, the watchdog and the unit there are as they were"

# a watchdog that is shorter than the post-copy
begin b-notify.service
hauls A --mode=post-copy --bandwidth-limit-mbit=2 b-notify.service hostB || fail "post-copy: $(cat "$dir/out")"
moved b-notify.service A B
ended B b-notify.service
note "a post-copy that is longer than the watchdog"

# what systemd would do with it there is another thing; a pid that is taken; who starts it
begin b-failure.service
on B sh -c 'mkdir -p /etc/systemd/system/b-failure.service.d; printf "[Service]\nMemoryMax=99M\n" >/etc/systemd/system/b-failure.service.d/own.conf; systemctl daemon-reload'
on A haul check b-failure.service hostB >"$dir/out" 2>&1 || fail "check: $(cat "$dir/out")"
grep -q 'Service.MemoryMax=99M' "$dir/out" || fail "the other settings are not named: $(cat "$dir/out")"
on B sh -c 'rm -r /etc/systemd/system/b-failure.service.d; systemctl daemon-reload'
on A haul check b-failure.service hostB >"$dir/out" 2>&1 || fail "check: $(cat "$dir/out")"
! grep -q 'other settings' "$dir/out" || fail "settings differ, and are the same: $(cat "$dir/out")"
until_true $limit_s 'on B bash -c "echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid; setsid sleep 10000 </dev/null >/dev/null 2>&1 & [ \$! = $pid ] || { kill \$!; exit 1; }"' || fail "pid $pid cannot be taken at B"
for o in --pid=auto --pid=own-namespace; do
	hauls A $o b-failure.service hostB && fail "$o: pid $pid is taken, and it has moved"
	grep -qE 'is taken|cannot be combined with a service' "$dir/out" || fail "$o: not named: $(cat "$dir/out")"
	is A b-failure.service MainPID "$pid"
	is A b-failure.service Restart on-failure
	is B b-failure.service ActiveState inactive
done
on B kill "$pid"
for o in --as=k --into-root=/srv; do
	hauls A $o b-failure.service hostB && fail "$o: moved"
	grep -qE -- "${o%%=*} cannot be combined with a service" "$dir/out" || fail "$o: not named: $(cat "$dir/out")"
	is A b-failure.service MainPID "$pid"
done
on A sh -c 'printf "[Timer]\nOnActiveSec=1h\n" >/run/systemd/system/b-failure.timer; systemctl daemon-reload; systemctl start b-failure.timer'
hauls A b-failure.service hostB && fail "a timer would start another one"
grep -q b-failure.timer "$dir/out" || fail "the timer is not named: $(cat "$dir/out")"
on A sh -c 'systemctl stop b-failure.timer; rm /run/systemd/system/b-failure.timer; systemctl daemon-reload'
ended A b-failure.service
note "other settings, a pid that is taken, a timer: named before anything stops"

# an enabled unit: not after a reboot of A either, whose /run is empty then
begin b-failure.service
for h in A B; do on $h systemctl enable -q b-failure.service; done
hauls A b-failure.service hostB || fail "enabled: $(cat "$dir/out")"
moved b-failure.service A B
"$lab" reboot A
note "A has booted again"
is A b-failure.service ActiveState inactive
! on A systemctl start b-failure.service 2>/dev/null || fail "after a reboot a second copy can be started"
[ "$(beats A) $(beats B)" = "0 1" ] || fail "$(beats A) copies at A, $(beats B) at B"
is B b-failure.service MainPID "$pid"
hauls B b-failure.service hostA || fail "enabled, back: $(cat "$dir/out")"
moved b-failure.service B A
on A sh -c '! test -e /etc/systemd/system/b-failure.service.d' || fail "the drop-in stays although it is back"
ended A b-failure.service
begin b-failure.service
hauls A b-failure.service hostB || fail "enabled, again: $(cat "$dir/out")"
moved b-failure.service A B
"$lab" reboot B
note "B has booted again"
becomes B b-failure.service ActiveState active
[ "$(beats A) $(beats B)" = "0 1" ] || fail "$(beats A) copies at A, $(beats B) at B"
pid=$(show B b-failure.service MainPID)
ended B b-failure.service
for h in A B; do on $h systemctl disable -q b-failure.service; done
note "an enabled unit: one copy after a reboot of either host"

# A is restarted while pages are missing at B: they are lost, and nothing else is started
begin b-notify.service
on A systemctl enable -q b-notify.service
on A sh -c "haul ${options[*]} --mode=post-copy --bandwidth-limit-mbit=1 b-notify.service hostB >/run/out 2>&1 &"
until_true $limit_s '[ "$(show B b-notify.service MainPID)" = "$pid" ]' || fail "post-copy: $(on A cat /run/out)"
"$lab" reboot A
is A b-notify.service ActiveState inactive
[ "$(beats A)" = 0 ] || fail "a second copy at A after a reboot in the post-copy"
on B systemctl stop b-notify.service
becomes B b-notify.service ActiveState inactive
on A sh -c 'systemctl disable -q b-notify.service; rm -f /var/lib/haul/away/b-notify.service; systemctl daemon-reload'
note "a reboot of A in the post-copy: A starts none"

note "ok"
