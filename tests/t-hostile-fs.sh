#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-hostile-fs: a source that tries to write outside what haul.conf allows, by paths and by links,
# also such as change on the way: each is refused, and nothing is written elsewhere.
. "$(dirname "$0")/lib.sh"
lab_up

"$lab" run B sh -c 'cd / && mkdir -p srv/x srv-outside && mount -t tmpfs tmpfs srv-outside &&
	mkdir -p srv-outside/dir/b && echo mine | tee srv-outside/file srv-outside/dir/file >/dev/null &&
	ln -s /srv-outside srv/link && printf "fs-allow = /srv\nfiles-allow = /srv\n" >>/etc/haul/haul.conf'
state() { "$lab" run B find /srv /srv-outside /etc -xdev -printf '%p %y %i %m %U %n %s %T@ %C@ %l\n' | LC_ALL=C sort; }
state | awk '$1 != "/srv"' >"$dir/before"

"$lab" run A "$builddir/tests/hostile-fs" hostB >"$dir/attack" 2>&1 || { cat "$dir/attack" >&2; fail "hostile-fs"; }
note "  $(tail -1 "$dir/attack")"
until_true 60 '[ -z "$("$lab" run B sh -c "ls -A /run/haul/fs /run/haul/files 2>/dev/null | grep -v :")" ]' || fail "files are left at B"
state | awk '$1 != "/srv"' >"$dir/after"
diff "$dir/before" "$dir/after" >"$dir/diff" || fail "B is not as it was: $(cat "$dir/diff")"

# what is allowed to one key is not to another; a process's own files
key=$(ssh-keygen -lf "$dir/id.pub" | cut -d' ' -f2)
"$lab" run A mkdir -p /srv/x/own
"$lab" run A dd if=/dev/urandom of=/srv/x/own/blob bs=1k count=64 status=none
pid=$("$lab" spawn A reader /usr/bin/python3 -c 'import time
f = open("/srv/x/own/blob", "rb")
while True: time.sleep(1)')
until_true 60 '"$lab" run A ls -l "/proc/$pid/fd" | grep -q own/blob' || fail "the reader does not open its file"
may() { # WANT FILES-ALLOW
	"$lab" run B sed -i "s,^files-allow.*,files-allow = $2," /etc/haul/haul.conf
	local rc=0
	"$lab" run A "$haul" check --json "$pid" hostB >"$dir/check" 2>&1 || rc=$?
	[ $rc = "$1" ] || fail "files-allow = $2: $rc: $(cat "$dir/check")"
	[ "$1" = 0 ] || grep -q 'file-not-allowed.*/srv/x/own/blob' "$dir/check" || fail "files-allow = $2: $(cat "$dir/check")"
}
may 0 /srv
may 0 "/opt $key=/srv/x/"
may 0 /
may 3 ""
may 3 /srv/x/own/blob
may 3 /srv/x/ow
may 3 "SHA256:another=/srv /opt"
may 3 "${key%?}=/srv"
"$lab" run A kill -9 "$pid"
note "  files-allow: by directory, by key"
