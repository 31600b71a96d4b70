#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-fs-big: 100,000 small files, a sparse file of 4 GiB, one of 2 GiB of which 1 % changes on the way: holes
# stay holes, only changed blocks travel, rsync finds no difference. Needs 6 GB below /var/tmp.
. "$(dirname "$0")/lib.sh"
command -v rsync >/dev/null || skip "rsync is not installed: run contrib/install-deps"
lab_up
for h in A B; do
	mkdir "$dir/disk.$h"
	"$lab" run $h mount --bind "$dir/disk.$h" /srv
done
"$lab" run B sh -c 'echo "fs-allow = /srv" >>/etc/haul/haul.conf'
tree=$dir/disk.A/big
python3 - "$tree" "${FILES:-100000}" "${MIB:-2048}" <<'EOF2'
import os, random, sys
root, files, mib = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
r = random.Random(5)
for k in range(files):
    if k % 200 == 0:
        os.makedirs(f"{root}/many/d{k // 200}")
    with open(f"{root}/many/d{k // 200}/f{k}", "wb") as f:
        f.write(r.randbytes(r.randrange(3000)))
with open(root + "/bulk", "wb") as f:
    for _ in range(mib):
        f.write(os.urandom(1 << 20))
with open(root + "/sparse", "wb") as f:
    f.truncate(4 << 30)
    for k in range(64):
        f.seek(k * (64 << 20) + 12345 * k)
        f.write(r.randbytes(10000))
EOF2
start A "$work/writer" --mib 32
verify A

"$lab" run A env HAUL_FAULT=s-prepared:hold HAUL_FAULT_FILE="$dir/hold" "$haul" --json -v --mode=pre-copy --fs=/srv/big "$pid" hostB \
	>"$dir/report" 2>"$dir/stderr" &
moving=$!
while [ ! -e "$dir/hold" ]; do
	kill -0 $moving 2>/dev/null || fail "haul: $(cat "$dir/stderr" "$dir/report")"
	sleep 0.05
done
# the first pass is over: now 1 % of the blocks of bulk change, and little else
python3 - "$tree" <<'EOF2'
import os, random, sys
root = sys.argv[1]
r = random.Random(6)
with open(root + "/bulk", "r+b") as f:
    blocks = os.fstat(f.fileno()).st_size // 16384
    for b in r.sample(range(blocks), blocks // 100):
        f.seek(b * 16384 + r.randrange(16000))
        f.write(r.randbytes(300))
with open(root + "/sparse", "r+b") as f:
    f.seek((3 << 30) + 777)
    f.write(b"in a hole")
os.rename(root + "/many/d1", root + "/many/renamed")
EOF2
rm "$dir/hold"
wait $moving || fail "haul: $(cat "$dir/stderr" "$dir/report")"
gone A
verify B

# bytes of files in each pass
mapfile -t sent < <(grep -o 'files pass=[0-9]* .*' "$dir/stderr" | grep -o ' bytes=[0-9]*' | cut -d= -f2)
later=0
for n in "${sent[@]:1}"; do later=$((later + n)); done
[ ${#sent[@]} -ge 3 ] || fail "passes: ${sent[*]}"
all=$(stat -c %s "$tree/bulk")
# two blocks where a write crosses the border, and the block in the hole
[ $later -le $((all / 100 * 2 + 100000)) ] || fail "$later bytes for 1 % of $all"
[ $later -ge $((all / 100)) ] || fail "only $later bytes for 1 % of $all"
out=$(rsync -aHAXn --checksum --itemize-changes --delete "$tree/" "$dir/disk.B/big/")
[ -z "$out" ] || fail "rsync finds: $(echo "$out" | head -20)"
a=$(du -s --block-size=1k "$tree/sparse" | cut -f1) b=$(du -s --block-size=1k "$dir/disk.B/big/sparse" | cut -f1)
[ "$b" -le $((a * 3)) ] || fail "holes were filled: $a KiB there, $b KiB here"
note "  $(field fs_inodes) inodes; first pass ${sent[0]} bytes in $(($(field fs_first_us) / 1000)) ms, then $later bytes; files $(($(field fs_frozen_us) / 1000)) ms of $(($(field downtime_us) / 1000)) ms downtime"
stop B
