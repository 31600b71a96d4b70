#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-park - haul-drain --park puts what is named into archives, haul-unpark starts it again, in order; what cannot be
# parked or loaded says why and stays.
. "$(dirname "$0")/lib.sh"
lab_up
export HAUL=$haul
parked=$dir/parked
in_a() { "$lab" run A "$@"; }
all=()
for mib in 8 16 24; do
	start A "$work/writer" --mib $mib --rate 500
	verify A
	all+=("$pid:$wdir")
done
in_a "$top/contrib/haul-drain" --comm writer --park="$parked" --dry-run >"$dir/out" || fail "dry run: $(cat "$dir/out")"
[ "$(grep -c 'would be parked' "$dir/out")" = 3 ] || fail "dry run: $(cat "$dir/out")"
in_a "$top/contrib/haul-drain" --comm writer --park="$parked" >"$dir/out" || fail "park: $(cat "$dir/out")"
[ "$(grep -c 'is parked' "$dir/out")" = 3 ] || fail "park: $(cat "$dir/out")"
for p in "${all[@]}"; do
	pid=${p%%:*}
	gone A
done
note "  three are parked"

# one is damaged, and the process ID of another is taken
set -- "$parked"/*.haul
truncate -s 20000 "$1"
in_a "$top/contrib/haul-unpark" "$parked" >"$dir/out" && fail "all were loaded: $(cat "$dir/out")"
[ "$(grep -c ' runs$' "$dir/out")" = 2 ] && grep -q "^${1##*/} stays: .*cut off" "$dir/out" || fail "unpark: $(cat "$dir/out")"
[ -e "$1" ] && [ "$(ls "$parked/loaded" | wc -l)" = 2 ] || fail "what is left: $(ls -R "$parked")"
for p in "${all[@]:1}"; do
	pid=${p%%:*} wdir=${p#*:} verified=1
	verify A
done
note "  two run again, the damaged one stays and says why"
rm "$1"
in_a "$top/contrib/haul-unpark" "$parked" >"$dir/out" || fail "a second time: $(cat "$dir/out")"
[ ! -s "$dir/out" ] || fail "a second time: $(cat "$dir/out")"
for p in "${all[@]:1}"; do
	pid=${p%%:*}
	stop A
done
