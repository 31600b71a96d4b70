#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-save-files - what the tree needs from the file system is in the archive, as it was in the freeze: files that it writes,
# maps, has deleted, its own program, directories (--fs). Loaded where none of that exists; over newer files only if asked.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive.sh"
lab_up # /srv is a disk of its own on each host
in_host() { "$lab" run "$@"; }

pid=$("$lab" spawn A idle /usr/bin/python3 -c 'import time; time.sleep(1e6)')
ar=$dir/idle.haul
save A
size=$(stat -c %s "$ar")
save A --end
gone A
grown=$(($(stat -c %s "$ar") - size))
[ $grown -lt $((size / 4)) ] || fail "the second state takes $grown bytes, the first $size"
note "  an idle program: $((size >> 10)) KiB with its files, the next state $((grown >> 10)) KiB"

note "  a program, its log, data, mapping and deleted files are on A only"
in_host A sh -c "mkdir -p /srv/app/log && cp '$top/tests/work/keepfiles.py' /usr/bin/python3 /srv/app && echo 12345 >/srv/app/conf"
ar=$dir/keep.haul
wdir=$dir/keep
mkdir "$wdir"
pid=$("$lab" spawn A keep /usr/bin/env PYTHONHOME=/usr /srv/app/python3 /srv/app/keepfiles.py --dir "$wdir" --data /srv/app)
until_true 60 '[ -e "$wdir/ready" ]' || fail "not ready: $(cat "$("$lab" log keep)")"
verified=0
verify A
save A
first=$verified
verify A
save A --end
gone A
last=$verified
in_host A "$haul" archive verify "$ar" >"$dir/out" || fail "verify: $(cat "$dir/out")"
load B
verify B
end B
note "  all of it came to B with the processes"

note "  on A it is as it was: nothing has to come. Then an earlier state: files are newer, and stay unless asked"
verified=$last
load A --copy # it was on B meanwhile
verify A
end A
verified=$first
refused 3 "/srv/app/.* is written by the tree" in_host A "$haul" load --copy --state=1 "$ar"
in_host A sh -c 'rm /srv/app/log/app.log' # a longer log would stay, and be appended to
load A --copy --state=1 --files=ship-differing
verify A
end A

note "  --files=require leaves contents out"
verified=$last
in_host A sh -c 'rm -r /srv/app/log'
load A --copy --state=2 --files=ship-differing
verify A
ar=$dir/lean.haul
save A --files=require --end
gone A
in_host B rm -r /srv/app
refused 3 "is not there at the destination" in_host B "$haul" load --copy "$ar"

note "  a directory with a database, while it is in use"
for h in A B; do in_host $h sh -c 'echo "fs-allow = /srv" >>/etc/haul/haul.conf; mkdir -p /srv/x'; done
start A "$work/filekeeper.py" --tree /srv/x/keeper --aio
works 1
verify A
in_host A mkdir /srv/x/keeper/inside
ar=$dir/tree.haul
refused 2 "lies in a directory" in_host A "$haul" save --fs=/srv/x/keeper "$pid" /srv/x/keeper/inside/a.haul
save A --fs=/srv/x/keeper
first=$verified
verify A
size=$(stat -c %s "$ar")
save A --fs=/srv/x/keeper --end
gone A
last=$verified
load B
verify B
stop B
gone B
[ -z "$(in_host B sh -c 'ls -A /srv/x | grep -v "^keeper$"')" ] || fail "something is left: $(in_host B ls -A /srv/x)"
refused 3 "exists and is not empty" in_host A "$haul" load --copy "$ar"
verified=$first
load A --copy --state=1 --fs-replace
verify A
stop A
gone A
verified=$last
load A --copy --fs-replace
verify A
stop A
gone A
note "  both states, on A and B"
