#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-systemd-faults - haul, hauld or its worker is killed while a service moves: one copy, which is the main process of
# the unit where it is; the other host's unit is as it was.
. "$(dirname "$0")/lib-systemd.sh"

# one_copy WHAT: sets $where
one_copy() {
	until_true $limit_s '[ "$(beats A) $(beats B)" = "1 0" ] || [ "$(beats A) $(beats B)" = "0 1" ]' || fail "$1: $(beats A) copies at A, $(beats B) at B"
	if [ "$(beats A)" = 1 ]; then
		where=A
		becomes A "$unit" MainPID "$pid"
		becomes A "$unit" Restart always
		becomes B "$unit" ActiveState inactive
		until_true $limit_s '! on A sh -c "ls /run/haul/away/$unit /var/lib/haul/away/$unit" 2>/dev/null | grep -q .' || fail "$1: a mark stays at A"
	else
		where=B
		moved "$unit" A B
	fi
	until_true $limit_s 'on $where grep -q "^State:.[SR]" "/proc/$pid/status"' || fail "$1: it does not run at $where"
}
over() {
	ended $where "$unit"
	on A sh -c "rm -f /run/haul/away/$unit /var/lib/haul/away/$unit"
}

unit=b-notify.service
for f in s-prepared s-stopped s-held-recorded s-restored-heard s-commit-recorded s-commit-sent s-running-heard s-copy-killed; do
	begin $unit
	on A env HAUL_FAULT=$f:kill haul "${options[@]}" $unit hostB >"$dir/out" 2>&1 && fail "$f: not killed"
	until_true $limit_s 'on A haul recover --quiet' || fail "$f: recover: $(on A haul recover 2>&1)"
	one_copy $f
	note "haul is killed at $f: the copy is at $where"
	case $f in
	s-running-heard | s-copy-killed) [ $where = B ] || fail "$f: it is at A" ;;
	s-commit-sent) ;;
	*) [ $where = A ] || fail "$f: it is at B" ;;
	esac
	over
done

# fault_at_B POINT: hauld there is killed at it once
fault_at_B() {
	on B sh -c "mkdir -p /run/systemd/system/hauld.service.d; rm -f /run/fault
		printf '[Service]\nEnvironment=HAUL_FAULT=$1:kill HAUL_FAULT_FILE=/run/fault\n' >/run/systemd/system/hauld.service.d/fault.conf
		systemctl daemon-reload; systemctl restart hauld.service"
}
for f in d-started d-gate d-restored-said d-commit-recorded d-resumed d-done-recorded; do
	fault_at_B $f
	begin $unit
	hauls A $unit hostB || true
	on B test -e /run/fault || fail "$f: not reached: $(cat "$dir/out")"
	until_true $limit_s 'on A haul recover --quiet' || fail "$f: recover: $(on A haul recover 2>&1)"
	one_copy $f
	note "the worker is killed at $f: the copy is at $where"
	over
done
on B sh -c 'rm -r /run/systemd/system/hauld.service.d; systemctl daemon-reload; systemctl restart hauld.service'

# hauld itself, in the middle; systemd starts it again
begin $unit
on A sh -c "HAUL_FAULT=s-restored-heard:hold HAUL_FAULT_FILE=/run/held haul ${options[*]} $unit hostB >/run/out 2>&1; echo \$? >/run/status" &
until_true $limit_s 'on A test -s /run/held' || fail "not held: $(on A cat /run/out)"
on B systemctl kill -s KILL --kill-whom=main hauld.service
on A rm -f /run/held
wait $!
on A haul recover --quiet || true
one_copy hauld
[ "$(on A cat /run/status)" = 0 ] || [ $where = A ] || fail "status $(on A cat /run/status), and it is at $where"
over
note "hauld is killed at the gate: the copy is at $where"

# its own supervisor at either host
begin $unit
on A sh -c "HAUL_FAULT=s-restored-heard:hold HAUL_FAULT_FILE=/run/held haul ${options[*]} $unit hostB >/run/out 2>&1; echo \$? >/run/status" &
until_true $limit_s 'on A test -s /run/held' || fail "not held: $(on A cat /run/out)"
on B systemctl stop $unit
on A rm -f /run/held
wait $!
[ "$(on A cat /run/status)" != 0 ] || fail "moved into a unit that was stopped"
one_copy "stop at B"
[ $where = A ] || fail "stopped at B: it is at $where"
over
note "systemctl stop there before the commit: it stays"
note "ok"
