#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-trust-strangers - a stranger, who has no key, floods hauld from several addresses, in every way that comes before
# a login: peers with a key log in, begin, go on and come back after their link broke; no process is made for
# a stranger, descriptors stay few; who speaks SSH with strangers has no rights, no files, no host key, and
# another takes its place when it dies.
. "$(dirname "$0")/lib.sh"
lab_up --hosts 3
"$lab" run C cp "$dir/id" /etc/haul/id_ed25519
"$lab" run C "$haul" trust -y hostB >/dev/null
subnet=$("$lab" addr C)
subnet=${subnet%.*}
addresses=("$("$lab" addr C)")
for i in 101 102 103 104; do
	"$lab" run C ip addr add "$subnet.$i/24" dev eth0
	addresses+=("$subnet.$i")
done
# what B has of: its processes, descriptors of hauld, of the porter
processes() { "$lab" run B pgrep -c '^(hauld|criu)'; }
descriptors() { "$lab" run B sh -c "ls /proc/$1/fd | wc -l"; }
porter() { "$lab" run B pgrep -f '^hauld --porter'; }

# asks HOST WORDS: a login there at B, and a probe
asks() {
	"$lab" run "$1" "$haul" --json peers >"$dir/out" 2>&1
	grep -qi '"host": *"hostB".*"reachable": *true' "$dir/out" || fail "$2: $(cat "$dir/out")"
}

note "what the porter has"
until_true 20 porter || fail "no porter: $(cat "$dir/hauld.B.log")"
p=$(porter)
until_true 20 '"$lab" run B grep -q "^Seccomp:.*2" "/proc/$p/status"' || fail "no filter of system calls: $("$lab" run B cat "/proc/$p/status")"
"$lab" run B cat "/proc/$p/status" >"$dir/status"
has() { grep -qE "^$1:[[:space:]]*$2" "$dir/status" || fail "the porter's $1 is not $2: $(grep "^$1" "$dir/status")"; }
has Uid '65534[[:space:]]+65534[[:space:]]+65534[[:space:]]+65534$'
has Gid '65534[[:space:]]+65534[[:space:]]+65534[[:space:]]+65534$'
has Groups '$'
for set in CapInh CapPrm CapEff CapBnd CapAmb; do has $set '0+$'; done
has NoNewPrivs 1
has Seccomp 2
"$lab" run B sh -c "for f in /proc/$p/fd/*; do echo \"\${f##*/} \$(readlink \$f)\"; done" >"$dir/fds"
[ "$(cut -d' ' -f1 "$dir/fds" | tr '\n' ' ')" = "0 1 2 3 " ] || fail "the porter's descriptors: $(cat "$dir/fds")"
grep -q '^0 /dev/null$' "$dir/fds" && grep -q '^1 /dev/null$' "$dir/fds" && grep -q '^3 socket:' "$dir/fds" ||
	fail "the porter's descriptors: $(cat "$dir/fds")"
[ "$("$lab" run B readlink "/proc/$p/ns/net")" != "$("$lab" run B readlink /proc/self/ns/net)" ] || fail "the porter is in the host's network"
[ -z "$("$lab" run B ls -A "/proc/$p/root/")" ] || fail "the porter sees files: $("$lab" run B ls -A "/proc/$p/root/")"
! "$lab" run B grep -q NOTIFY "/proc/$p/environ" || fail "the porter has hauld's environment"
# neither the host's key nor a list of keys is in its memory
key=$("$lab" run B sed -n 2p /etc/haul/host_key)
listed=$(cut -d' ' -f2 "$dir/id.pub")
"$lab" run B python3 - "$p" "$key" "$listed" <<'END' || fail "the porter has secrets in its memory"
import base64, sys
pid, *words = sys.argv[1:]
blob = base64.b64decode(words[0] + "=" * (-len(words[0]) % 4))
needles = [w.encode() for w in words]
seed = open("/etc/haul/host_key").read().split("\n")
raw = base64.b64decode("".join(l for l in seed if l and "-----" not in l))
at = raw.find(b"ssh-ed25519", raw.find(b"ssh-ed25519") + 1)  # the private part: name, public, seed + public
public = raw[at + 11 + 4:at + 11 + 4 + 32]
secret = raw[at + 11 + 4 + 32 + 4:at + 11 + 4 + 32 + 4 + 32]
assert len(secret) == 32
needles += [secret]
mem = open(f"/proc/{pid}/mem", "rb", 0)
for line in open(f"/proc/{pid}/maps"):
    span, mode = line.split()[:2]
    a, b = (int(x, 16) for x in span.split("-"))
    if "r" not in mode or "[v" in line or b - a > 1 << 32:  # not a sanitizer's shadow
        continue
    try:
        mem.seek(a)
        data = mem.read(b - a)
    except OSError:
        continue
    for n in needles:
        if n in data:
            sys.exit(f"found in {line}")
END

note "the porter is killed: another one takes its place, at once"
"$lab" run B kill -9 "$p"
asks A "no login after the porter was killed"
until_true 20 '[ "$(porter)" != "$p" ] && porter' || fail "no new porter"

start A "$work/writer" --mib 96 --rate 2000
d=$(daemon B)
processes=$(processes)
descriptors=$(descriptors "$d")

# flood RATE: from C, until flood_ends; $flood
flood() {
	rm -f "$dir/flood.end"
	"$lab" run C python3 "$top/tests/work/flood.py" hostB "$1" "$dir/flood.end" "${addresses[@]}" >"$dir/flood" 2>&1 &
	flood=$!
}
flood_ends() {
	kill -0 "$flood" || fail "the flood was over too early: $(cat "$dir/flood")"
	touch "$dir/flood.end"
	wait "$flood"
	cat "$dir/flood"
}
# crowd: the flood has filled what it can
crowd() {
	until_true 30 'grep -q "connections are refused: too many" "$dir/hauld.B.log" && grep -q "logins are refused: too many" "$dir/hauld.B.log"' ||
		fail "no flood: $(cat "$dir/flood")"
}
few() {
	local n
	n=$(processes)
	# a peer that was just answered has a worker and its guardian
	[ "$n" -le $((processes + ${1:-2})) ] || fail "$n processes at B, $processes before: $("$lab" run B ps -ef)"
	n=$(descriptors "$d")
	[ "$n" -le $((descriptors + 140 + ${1:-0})) ] || fail "$n descriptors of hauld, $descriptors before"
	n=$(descriptors "$(porter)")
	[ "$n" -le 640 ] || fail "$n descriptors of the porter"
}

note "100 connections a second: peers log in"
flood 100
crowd
for i in 1 2 3 4 5 6; do
	few
	asks A "peer $i, from an address of its own"
	asks C "peer $i, from an address of the flood"
done
note "  the porter is killed under it"
"$lab" run B kill -9 "$(porter)"
asks A "no login after the porter was killed under the flood"
note "  migrations there and back"
move A --mode=pre-copy
verify B
move B --mode=post-copy
verify A
flood_ends

note "400 a second: a migration at work does not notice, and finds back when its link breaks"
"$lab" rate 200mbit
"$lab" run A "$haul" --json --mode=post-copy --link-limit-s=60 "$pid" hostB >"$dir/report" 2>"$dir/stderr" &
job=$!
until_true 60 'grep -q "\"state\": *\"post-copy\"" "$dir/report"' || fail "no post-copy: $(cat "$dir/report" "$dir/stderr")"
flood 400
works 1
"$lab" run A nft -f - <<'END'
table inet cut {
	chain out { type filter hook output priority 0; tcp dport 4285 reject with tcp reset; }
}
END
until_true 30 'grep -q "\"event\": *\"link-lost\"" "$dir/report"' || fail "the link was not lost: $(cat "$dir/report")"
"$lab" run A nft delete table inet cut
wait "$job" || { cat "$dir/report" "$dir/stderr"; fail "the migration failed"; }
"$lab" rate off
gone A
verify B
few 8
flood_ends

note "afterwards nothing is left"
until_true 30 '[ "$(descriptors "$d")" -le "$descriptors" ] && [ "$(descriptors "$(porter)")" -le 6 ]' ||
	fail "descriptors: hauld $(descriptors "$d"), $descriptors before; porter $(descriptors "$(porter)")"
[ "$(daemon B)" = "$d" ] || fail "hauld was replaced"
stop B
until_true 20 '[ "$(processes)" -le "$processes" ]' || fail "processes are left: $("$lab" run B ps -ef)"
