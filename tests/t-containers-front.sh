#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-containers-front - with haul as the first criu in PATH, podman's and runc's own checkpoint and restore do what they do
# without it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-containers.sh"
containers_up
criu=${HAUL_CRIU:-$(head -1 /var/lib/haul/criu/chosen)}
mkdir "$dir/front"
ln -s "$haul" "$dir/front/criu"

# through COMMAND...: on A
through() {
	"$lab" run A env PATH="$dir/front:${criu%/*}:$PATH" "$@" </dev/null >>"$dir/through.log" 2>&1 ||
		fail "$*: $(tail -5 "$dir/through.log")"
}

note "arguments and status"
[ "$("$lab" run A env PATH="$dir/front:${criu%/*}:$PATH" criu --version)" = "$("$lab" run A "$criu" --version)" ] || fail "criu --version"
! "$lab" run A env PATH="$dir/front:${criu%/*}:$PATH" criu no-such-command >/dev/null 2>&1 || fail "criu takes a wrong command"

note "podman"
image
work_dir podman
pod A run --detach --name web --network=none -v "$wdir:/work" localhost/work:1 \
	sh -c 'exec writer --dir /work --mib 8 --rate 1000' >/dev/null || fail "podman run: $(tail -3 "$dir/podman.log")"
ready
through podman container checkpoint web
[ "$(writers A)" = 0 ] || fail "podman container checkpoint ends nothing"
through podman container restore web
pid=$(pid_of A podman:web)
verify A
pod A rm -f -t 0 web >/dev/null

note "runc"
work_dir runc
bundle box
"$lab" run A runc run --detach --bundle "$dir/box" box </dev/null >/dev/null 2>&1 || fail "runc run"
ready
through runc checkpoint --image-path "$dir/images" --work-path "$dir/images" box
[ "$(writers A)" = 0 ] || fail "runc checkpoint ends nothing"
through runc restore --detach --image-path "$dir/images" --work-path "$dir/images" --bundle "$dir/box" box
pid=$(pid_of A runc:box)
verify A
"$lab" run A runc delete --force box
