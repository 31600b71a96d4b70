#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-tcp-http - an HTTP server moves there and back, in each mode, while two clients download 1 GiB: one
# over IPv6, one over IPv4 from the same IPv6 socket. Their checksums are right.
. "$(dirname "$0")/lib-tcp.sh"
command -v curl >/dev/null || skip "curl is not installed"
net_up
mib=${MIB:-1024}
rate=${RATE:-40M}
wdir=$dir/www
mkdir "$wdir"
python3 - "$wdir/file" "$mib" <<'END'
import hashlib, sys
with open(sys.argv[1], "wb") as f:
    for i in range(int(sys.argv[2])):
        f.write(hashlib.shake_128(b"%d" % i).digest(1 << 20))
END
want=$(sha256sum <"$wdir/file" | cut -d' ' -f1)
pid=$("$lab" spawn A http python3 -m http.server --bind :: --directory "$wdir" 7000)
until_true 60 '"$lab" run C curl -sf -o /dev/null "http://$addr:7000/"' || fail "the HTTP server does not answer"
watch 7000

# download NAME HOST: the sum and what curl says go to files
download() {
	("$lab" run C curl -sS --limit-rate "$rate" "http://$2:7000/file" 2>"$dir/$1.err" | sha256sum | cut -d' ' -f1 >"$dir/$1.sum") &
	downloads+=($!)
}

downloads=()
download v4 "$addr"
download v6 "[$addr6]"
works 1
h=A
for m in ${MODES:-stop-copy pre-copy post-copy hybrid auto}; do
	for _ in there back; do
		move $h --mode="$m" --move-address="$addr" --move-address="$addr6"
		h=$(other $h)
		no_traces $h
		note "  $m to $h: downtime $(($(field downtime_us) / 1000)) ms"
		[ "$(jobs -r | wc -l)" -gt 1 ] || fail "the downloads were over before $m"
	done
done
wait "${downloads[@]}"
for v in v4 v6; do
	[ "$(cat "$dir/$v.sum")" = "$want" ] || fail "$v: $(cat "$dir/$v.sum" "$dir/$v.err"), wanted $want"
	[ ! -s "$dir/$v.err" ] || fail "$v: $(cat "$dir/$v.err")"
done
note "  $mib MiB each, checksums right"
watch_ok 7000
stop $h
