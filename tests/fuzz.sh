#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fuzz.sh - build the fuzz targets with clang, libFuzzer, ASan and UBSan, and run each.
set -euo pipefail
shopt -s nullglob

usage() {
	cat <<'END_OF_USAGE'
Usage: tests/fuzz.sh [--seconds N | --runs N] [--keep] [NAME...]   (make fuzz FUZZ_SECONDS=N)

Runs each fuzz target (tests/fuzz-NAME.c; all) for N seconds (60), or until it has had N runs
in all, from the seeds in tests/corpus/NAME. What crashes one is left in fuzz-NAME/crash-*; put
it into the corpus with the fix. fuzz-NAME/runs counts the runs, of all calls. --keep adds the
inputs that reach new code, up to 2 KiB each, to the corpus.
Needs a built tree (make) and clang. Exit status 0 when nothing was found.
END_OF_USAGE
}

top=$(cd "$(dirname "$0")/.." && pwd)
build=${HAUL_BUILDDIR:-$top}
seconds=60
runs=
keep=
names=()
while [ $# -gt 0 ]; do
	case $1 in
	--seconds) seconds=${2?seconds}; shift ;;
	--runs) runs=${2?runs}; shift ;;
	--keep) keep=1 ;;
	-h | --help) usage; exit 0 ;;
	-*) usage >&2; exit 2 ;;
	*) names+=("$1") ;;
	esac
	shift
done
if [ ${#names[@]} -eq 0 ]; then
	for c in "$top"/tests/fuzz-*.c; do
		c=${c##*/fuzz-}
		names+=("${c%.c}")
	done
fi
command -v clang >/dev/null || { echo "fuzz.sh: no clang: apt-get install clang" >&2; exit 1; }
[ -e "$build/config.h" ] || { echo "fuzz.sh: configure and make first" >&2; exit 1; }

obj=$build/fuzz-build
packages='libssh libprotobuf-c liblz4 libzstd libcurl libxxhash jansson'
# shellcheck disable=SC2046,SC2086
flags=(-std=c17 -DLIBFUZZER -DPOLICY_DIR='"/nonexistent"' -D_GNU_SOURCE -g -O1 -fno-omit-frame-pointer -I"$top" -I"$build" $(pkg-config --cflags $packages)
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
mkdir -p "$obj"
for folder in common transport engine archive policies; do
	rm -rf "${obj:?}/lib$folder.a"
	{ find "$top/$folder" -name '*.c'; [ "$build" = "$top" ] || find "$build/$folder" -name '*.pb-c.c'; } | while read -r c; do
		o=${c#"$top"/}
		o=$obj/${o#"$build"/}
		o=${o%.c}.o
		mkdir -p "${o%/*}"
		[ "$o" -nt "$c" ] || printf '%s\0%s\0' "$o" "$c"
	done | xargs -0 -r -n 2 -P "$(nproc)" clang "${flags[@]}" -c -o
	find "$obj/$folder" -name '*.o' -exec ar cr "$obj/lib$folder.a" {} +
done

# a short memory of what was freed keeps it in the cache: several times as fast
export ASAN_OPTIONS=quarantine_size_mb=8:malloc_context_size=4
found=0
for name in "${names[@]}"; do
	# shellcheck disable=SC2046,SC2086
	clang "${flags[@]}" -fsanitize=fuzzer -pthread -o "$obj/fuzz-$name" "$top/tests/fuzz-$name.c" \
		"$obj"/libarchive.a "$obj"/libpolicies.a "$obj"/libengine.a "$obj"/libtransport.a "$obj"/libcommon.a \
		$(pkg-config --libs $packages) -lm
	out=$build/fuzz-$name
	mkdir -p "$out/corpus"
	had=$(cat "$out/runs" 2>/dev/null || echo 0)
	limit=-max_total_time=$seconds
	if [ -n "$runs" ]; then
		[ "$had" -lt "$runs" ] || continue
		limit=-runs=$((runs - had))
	fi
	case $name in frame | sink) max=12288 ;; journal | policy) max=1024 ;; *) max=4096 ;; esac
	echo "== $name"
	(cd "$out" && "$obj/fuzz-$name" "$limit" -timeout=10 -rss_limit_mb=2048 -max_len=$max \
		-print_final_stats=1 corpus "$top/tests/corpus/$name") >"$out/log" 2>&1 ||
		{ found=1; tail -40 "$out/log"; }
	new=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/log")
	echo $((had + ${new:-0})) >"$out/runs"
	grep -E 'number_of_executed_units|average_exec|peak_rss' "$out/log" || true
	[ -z "$keep" ] || "$obj/fuzz-$name" -merge=1 -max_len=2048 "$top/tests/corpus/$name" "$out/corpus" >/dev/null 2>&1
done
exit $found
