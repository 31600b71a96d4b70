#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fuzz.sh - build the fuzz targets with clang, libFuzzer, ASan and UBSan, and run each.
set -euo pipefail
shopt -s nullglob

usage() {
	cat <<'END_OF_USAGE'
Usage: tests/fuzz.sh [--seconds N] [--keep] [NAME...]    (make fuzz FUZZ_SECONDS=N)

Runs each fuzz target (frame wire sink img conf keys journal) for N seconds (60) from the seeds in
tests/corpus/NAME. What crashes one is left in fuzz-NAME/crash-*; put it into the corpus with
the fix. --keep adds the inputs that reach new code, up to 2 KiB each, to the corpus.
Needs a built tree (make) and clang. Exit status 0 when nothing was found.
END_OF_USAGE
}

top=$(cd "$(dirname "$0")/.." && pwd)
build=${HAUL_BUILDDIR:-$top}
seconds=60
keep=
names=()
while [ $# -gt 0 ]; do
	case $1 in
	--seconds) seconds=${2?seconds}; shift ;;
	--keep) keep=1 ;;
	-h | --help) usage; exit 0 ;;
	-*) usage >&2; exit 2 ;;
	*) names+=("$1") ;;
	esac
	shift
done
[ ${#names[@]} -gt 0 ] || names=(frame wire sink img conf keys journal)
command -v clang >/dev/null || { echo "fuzz.sh: no clang: apt-get install clang" >&2; exit 1; }
[ -e "$build/config.h" ] || { echo "fuzz.sh: configure and make first" >&2; exit 1; }

obj=$build/fuzz-build
packages='libssh libprotobuf-c liblz4 libxxhash jansson'
# shellcheck disable=SC2046,SC2086
flags=(-std=c17 -D_GNU_SOURCE -g -O1 -fno-omit-frame-pointer -I"$top" -I"$build" $(pkg-config --cflags $packages)
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
mkdir -p "$obj"
for folder in common transport engine; do
	mkdir -p "$obj/$folder"
	for c in "$top/$folder"/*.c $( [ "$build" = "$top" ] || echo "$build/$folder"/*.pb-c.c); do
		o=$obj/$folder/$(basename "$c" .c).o
		[ "$o" -nt "$c" ] || printf '%s\0%s\0' "$o" "$c"
	done | xargs -0 -r -n 2 -P "$(nproc)" clang "${flags[@]}" -c -o
	rm -f "$obj/lib$folder.a"
	ar cr "$obj/lib$folder.a" "$obj/$folder"/*.o
done

found=0
for name in "${names[@]}"; do
	# shellcheck disable=SC2046,SC2086
	clang "${flags[@]}" -fsanitize=fuzzer -pthread -o "$obj/fuzz-$name" "$top/tests/fuzz-$name.c" \
		"$obj"/libengine.a "$obj"/libtransport.a "$obj"/libcommon.a $(pkg-config --libs $packages)
	mkdir -p "$build/fuzz-$name/corpus"
	echo "== $name: $seconds s"
	(cd "$build/fuzz-$name" && "$obj/fuzz-$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-max_len=65536 -print_final_stats=1 corpus "$top/tests/corpus/$name") >"$build/fuzz-$name/log" 2>&1 ||
		{ found=1; tail -40 "$build/fuzz-$name/log"; }
	grep -E 'number_of_executed_units|peak_rss' "$build/fuzz-$name/log" || true
	[ -z "$keep" ] || "$obj/fuzz-$name" -merge=1 -max_len=2048 "$top/tests/corpus/$name" "$build/fuzz-$name/corpus" >/dev/null 2>&1
done
exit $found
