#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-containers-crash - haul, or the worker, is killed after the commit while a container moves, whose policy is to be restarted
# always: one copy, whole, at the destination, where podman knows it; here nothing is started, and nothing is left.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-containers.sh"
containers_up
work_dir web
image
pod A run --detach --name web --network=none --restart=always -v "$wdir:/work" localhost/work:1 \
	sh -c 'exec writer --dir /work --mib 32 --rate 1000' >"$dir/id" || fail "podman run: $(tail -3 "$dir/podman.log")"
ready

# arrived HOST: it runs there, podman knows it, the other host has nothing
arrived() {
	pid=$(pid_of "$1" podman:web)
	verify "$1"
	one_at "$1" podman:web
	[ "$(pod "$1" inspect --format '{{.State.Status}}' web)" = running ] || fail "podman on $1: $(pod "$1" ps -a)"
	[ -z "$(pod "$(other "$1")" ps -aq)" ] || fail "podman on $(other "$1") has $(pod "$(other "$1")" ps -a)"
}

h=A
for point in s-commit-sent s-running-heard s-drained-heard; do
	note "haul is killed at $point"
	! "$lab" run $h env HAUL_FAULT=$point:kill "$haul" --mode=post-copy podman:web host"$(other $h)" >"$dir/out" 2>&1 ||
		fail "$point: haul was not killed"
	"$lab" run $h "$haul" recover >"$dir/out" 2>&1 || fail "haul recover: $(cat "$dir/out")"
	h=$(other $h)
	arrived $h
done
for point in d-commit-recorded d-resumed d-running-said; do
	to=$(other $h)
	note "the worker is killed at $point"
	stop_hauld "$to"
	rm -f "$dir/once"
	HAUL_FAULT=$point:kill HAUL_FAULT_FILE=$dir/once start_hauld "$to"
	if "$lab" run $h "$haul" --mode=post-copy podman:web host"$to" >"$dir/out" 2>&1; then
		h=$to
	else
		[ $point = d-commit-recorded ] || fail "$point: $(cat "$dir/out")"
	fi
	until_true 60 '[ -z "$(pod "$(other $h)" ps -aq)" ]' || fail "podman on $(other $h) has $(pod "$(other $h)" ps -a)"
	arrived $h
	stop_hauld "$to"
	start_hauld "$to"
done
