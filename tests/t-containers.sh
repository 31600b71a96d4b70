#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-containers - a podman container and a runc container there and back: every page, and the runtimes on both hosts know
# what is true.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-containers.sh"
containers_up

note "runc, with two processes"
work_dir runc
bundle box
"$lab" run A runc run --detach --bundle "$dir/box" box </dev/null >/dev/null 2>&1 || fail "runc run"
ready
haul_it A runc:box --mode=pre-copy
"$lab" run B runc exec box cat /proc/1/cgroup | grep -qx '0::/' || fail "its cgroup namespace is lost"
haul_it B runc:box --mode=post-copy
[ "$("$lab" run A runc ps box | grep -c 'sleep\|writer')" = 2 ] || fail "runc ps: $("$lab" run A runc ps box)"
"$lab" run A runc delete --force box

note "podman"
work_dir podman
image
pod A run --detach --name web --network=none --restart=always -v "$wdir:/work" localhost/work:1 \
	sh -c 'echo begun; sleep 1000 & exec writer --dir /work --mib 16 --rate 2000' >"$dir/id" ||
	fail "podman run: $(tail -3 "$dir/podman.log")"
ready
haul_it A podman:web
[ "$(pod B ps --quiet --no-trunc)" = "$(cat "$dir/id")" ] || fail "podman ps on B: $(pod B ps)"
pod B logs web | grep -qx begun || fail "its log is not there: $(pod B logs web)"
pod B exec web cat /proc/1/cgroup | grep -qx '0::/' || fail "its cgroup namespace is lost"
haul_it B podman:web --mode=post-copy
pod A stop -t 1 web >/dev/null
[ "$(pod A inspect --format '{{.State.Status}}' web)" = exited ] || fail "podman stop: $(pod A ps -a)"
rm "$wdir/ready"
pod A start web >/dev/null
ready
pod A rm -f -t 0 web >/dev/null
