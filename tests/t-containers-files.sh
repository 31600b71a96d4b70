#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-containers-files - what a container writes until the stop is there: on its root file system, in a volume, in /dev/shm, in
# podman's log.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-containers.sh"
containers_up
image

# one file stays open; of each of the others the last four stay
cat >"$dir/files.sh" <<'END_OF_SCRIPT'
i=0
exec 3>/kept
while :; do
	i=$((i + 1))
	echo $i >&3
	echo $i
	for d in /data /dev/shm /made; do
		echo $i >$d/f.$i
		rm -f $d/f.$((i - 3))
	done
	sleep 0.02
done
END_OF_SCRIPT
chmod 755 "$dir/files.sh"
pod A run --detach --name files --network=none -v "$dir/files.sh:/files.sh:ro" -v kept:/data localhost/work:1 \
	sh -c 'mkdir /made; exec sh /files.sh' >/dev/null || fail "podman run: $(tail -3 "$dir/podman.log")"

# files_right HOST: what the loop has written is there without a gap, and nothing else
files_right() {
	pod "$1" exec files sh -c 'kill -STOP 1; cat /kept; kill -CONT 1' >"$dir/kept"
	pod "$1" logs files >"$dir/log"
	python3 - "$dir/kept" "$dir/log" <<'END_OF_PYTHON' || fail "on $1: $(tail -3 "$dir/kept" "$dir/log")"
import sys
for path in sys.argv[1:]:
    got = [int(line) for line in open(path)]
    assert len(got) > 10 and got == list(range(1, len(got) + 1)), path
END_OF_PYTHON
	for d in /data /dev/shm /made; do
		[ "$(pod "$1" exec files ls $d | grep -c '^f')" -le 4 ] || fail "$d on $1: $(pod "$1" exec files ls $d)"
	done
}

until_true 30 '[ "$(pod A logs files | wc -l)" -gt 10 ]' || fail "it does not write"
h=A
for m in auto post-copy; do
	"$lab" run $h "$haul" --mode=$m podman:files host$(other $h) >"$dir/out" 2>&1 || fail "files: $(cat "$dir/out")"
	pod $h volume rm kept >/dev/null || fail "the volume on $h is in use"
	h=$(other $h)
	works 0.5
	files_right $h
done
