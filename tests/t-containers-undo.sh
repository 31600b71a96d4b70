#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-containers-undo - a container that cannot move, or whose move is given up at any point: it runs on, whole, its runtime
# has noticed nothing, and the other host has no record of it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-containers.sh"
containers_up
work_dir web
image

run_web() {
	rm -f "$wdir/ready"
	pod A run --detach --name web --network=none --restart=always -v "$wdir:/work" localhost/work:1 \
		sh -c 'exec writer --dir /work --mib 8 --rate 1000' >"$dir/id" || fail "podman run: $(tail -3 "$dir/podman.log")"
	ready
	id=$(cat "$dir/id")
}

# stays WORDS: it runs here, as before
stays() {
	pid=$(pid_of A podman:web)
	verify A
	one_at A podman:web
	[ "$(pod A inspect --format '{{.State.Status}} {{.RestartCount}}' web)" = "running 0" ] || fail "$1: podman on A has noticed it"
	[ -z "$(pod B ps -aq)" ] || fail "$1: podman on B has $(pod B ps -a)"
}

# refused CODE [ARG]...: haul check and haul name it, nothing happens
refused() {
	local code=$1
	! "$lab" run A "$haul" check --json podman:web hostB >"$dir/check" 2>&1 || fail "$code: haul check finds nothing"
	grep -q "\"$code\"" "$dir/check" || fail "$code: $(cat "$dir/check")"
	! "$lab" run A "$haul" podman:web hostB >"$dir/out" 2>&1 || fail "$code: it was moved"
	stays "$code"
}

run_web
note "no such image there"
other_id=$(pod B images --quiet --no-trunc localhost/work:1)
pod B untag localhost/work:1
pod B rmi -f "$other_id" >/dev/null
refused container-image
pod B import -q --message other "$dir/root.tar" localhost/work:1 >/dev/null
refused container-image
pod B rmi -f localhost/work:1 >/dev/null
pod B import -q "$dir/root.tar" localhost/work:1 >/dev/null

note "the name is taken there"
pod B create --name web --network=none localhost/work:1 sh >/dev/null
! "$lab" run A "$haul" check --json podman:web hostB >"$dir/check" || fail "haul check finds nothing"
grep -q '"container-taken"' "$dir/check" || fail "$(cat "$dir/check")"
pod B rm web >/dev/null

for point in s-rounds-done s-stopped s-held-recorded s-sent s-restored-heard s-commit-recorded; do
	note "Ctrl-C at $point"
	! "$lab" run A env HAUL_FAULT=$point:int "$haul" podman:web hostB >"$dir/out" 2>&1 || fail "$point: it was moved"
	stays "$point"
done
for point in s-stopped s-held-recorded s-restored-heard; do
	note "haul is killed at $point"
	! "$lab" run A env HAUL_FAULT=$point:kill "$haul" podman:web hostB >"$dir/out" 2>&1 || fail "$point: it was moved"
	"$lab" run A "$haul" recover >"$dir/out" 2>&1 || fail "haul recover: $(cat "$dir/out")"
	until_true 60 '[ -z "$(pod B ps -aq)" ]' || fail "podman on B has $(pod B ps -a)"
	stays "$point"
done
stop_hauld B
for point in d-started d-switch-heard d-placed-said d-gate d-gate-recorded; do
	note "the worker is killed at $point"
	rm -f "$dir/once"
	HAUL_FAULT=$point:kill HAUL_FAULT_FILE=$dir/once start_hauld B
	! "$lab" run A "$haul" podman:web hostB >"$dir/out" 2>&1 || fail "$point: it was moved"
	until_true 60 '[ -z "$(pod B ps -aq)" ]' || fail "podman on B has $(pod B ps -a)"
	stays "$point"
	stop_hauld B
done
start_hauld B
haul_it A podman:web
[ "$(pod B inspect --format '{{.State.Status}}' web)" = running ] || fail "podman on B: $(pod B ps -a)"
