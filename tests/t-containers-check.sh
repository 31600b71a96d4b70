#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-containers-check - haul check of a container names each thing that stands in its way, and a process in a container is
# recognised; the container runs on.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-containers.sh"
containers_up
image

# run_it NAME [OPTION]...: on A
run_it() {
	pod A run --detach --name "$1" "${@:2}" localhost/work:1 sh -c 'exec sleep 1000' >"$dir/id" </dev/null ||
		fail "podman run: $(tail -3 "$dir/podman.log")"
}

# names CODE SEVERITY TARGET: haul check says so; a blocker refuses the move, too
names() {
	local rc=0
	"$lab" run A "$haul" check --json "$3" hostB >"$dir/check" 2>&1 || rc=$?
	grep "\"$1\"" "$dir/check" | grep -q "\"$2\"" || fail "$1: $(cat "$dir/check")"
	[ "$2" != blocker ] || [ $rc = 3 ] || fail "$1: status $rc"
}

# refused CODE TARGET: then the container is removed
refused() {
	names "$1" blocker "$2"
	! "$lab" run A "$haul" "$2" hostB >"$dir/out" 2>&1 || fail "$1: it was moved"
	[ "$(pod A inspect --format '{{.State.Status}} {{.RestartCount}}' box)" = "running 0" ] || fail "$1: $(pod A ps -a)"
	pod A rm -f -t 0 box >/dev/null
}

note "a process of a container"
run_it box --network=none
pid=$(pid_of A podman:box)
names container-inside blocker "$pid"
grep -q 'haul podman:box HOST' "$dir/check" || fail "its name is not said: $(cat "$dir/check")"
id=$(cat "$dir/id")
! "$lab" run A "$haul" check "runc:$id" hostB >"$dir/out" 2>&1 || fail "runc moves a container of podman's"
grep -q "belongs to podman:$id" "$dir/out" || fail "$(cat "$dir/out")"
for word in crun:box lxc:box docker:box; do
	! "$lab" run A "$haul" check $word hostB >"$dir/out" 2>&1 || fail "$word: nothing is said"
	grep -q "does not move containers of" "$dir/out" || fail "$word: $(cat "$dir/out")"
done
pod A rm -f -t 0 box >/dev/null

note "what is missing at the destination"
"$lab" run A mkdir /run/here
run_it box --network=none -v /run/here:/here
refused container-bind podman:box
run_it box --network=none -v kept:/data
pod B volume create kept >/dev/null
refused container-volume podman:box
pod B volume rm kept >/dev/null
pod A volume rm kept >/dev/null

note "what does not move"
run_it box --network=none --tty
refused container-terminal podman:box
run_it box --network=none --pid=host
refused container-pids podman:box
run_it box --network=none --label PODMAN_SYSTEMD_UNIT=box.service
refused container-unit podman:box
run_it other --network=none
run_it box --network=container:other
refused container-depends podman:box
pod A rm -f -t 0 other >/dev/null

note "the host's network"
run_it box --network=host
"$lab" run A "$haul" podman:box hostB >"$dir/out" 2>&1 || fail "network host: $(cat "$dir/out")"
[ "$(pod B inspect --format '{{.State.Status}} {{.HostConfig.NetworkMode}}' box)" = "running host" ] || fail "$(pod B ps -a)"
"$lab" run B "$haul" podman:box hostA >"$dir/out" 2>&1 || fail "network host, back: $(cat "$dir/out")"
[ "$(pod A inspect --format '{{.State.Status}} {{.HostConfig.NetworkMode}}' box)" = "running host" ] || fail "$(pod A ps -a)"
