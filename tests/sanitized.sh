#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# sanitized.sh - a copy of this tree, built with sanitizers, and its tests.
set -euo pipefail

usage() {
	cat <<'END_OF_USAGE'
Usage: tests/sanitized.sh asan|tsan [TEST...]     (make check-asan, make check-tsan)

Builds the tree as it is, uncommitted files included, in build-asan or build-tsan, and runs
"make check" there: with asan (and UBSan) all tests, with tsan those with threads, or the
TESTs. Whatever a sanitizer says ends in a failure, also in processes whose exit status
nobody looks at: reports go to files, which are shown at the end.
END_OF_USAGE
}

top=$(cd "$(dirname "$0")/.." && pwd)
kind=${1-}
case $kind in asan | tsan) shift ;; -h | --help) usage; exit 0 ;; *) usage >&2; exit 2 ;; esac
build=$top/build-$kind
reports=$build/reports

# tests of threads: senders, receivers, store, pager, guardians, the last scan; and whole moves
threads=(tests/t-transport-auth tests/t-transport-duplex tests/t-frame-bounds tests/t-sink
	tests/t-store-pages tests/t-pager-fill tests/t-pager-moves tests/t-pager-storm tests/t-pager-gate
	tests/t-pager-kernel tests/t-guardian tests/t-tracker
	tests/t-threads.sh tests/t-ten-times.sh tests/t-link.sh tests/t-guardian-worker.sh
	tests/t-urgent.sh tests/t-churn.sh tests/t-policy.sh tests/t-fail.sh tests/t-recover.sh
	tests/t-misc.sh tests/t-drain.sh tests/t-fs.sh tests/t-tcp-undo.sh)

mkdir -p "$build"
(cd "$top" && git ls-files -coz --exclude-standard | while IFS= read -rd '' f; do
	[ ! -e "$f" ] || printf '%s\0' "$f"
done) >"$build/.files"
tar -C "$top" --null -T "$build/.files" -cf - | tar -C "$build" --keep-newer-files -xf - 2>/dev/null
cd "$build"
if [ ! -e Makefile ] || [ configure.ac -nt Makefile ]; then
	./autogen.sh >/dev/null
	./configure --enable-werror "--enable-$kind" -q
fi
make -j"$(nproc)" >/dev/null

rm -rf "$reports"
mkdir -m 1777 "$reports"
export ASAN_OPTIONS=log_path=$reports/asan:detect_leaks=1:exitcode=99
export UBSAN_OPTIONS=log_path=$reports/ubsan:print_stacktrace=1
export TSAN_OPTIONS="log_path=$reports/tsan:exitcode=66:die_after_fork=0:report_thread_leaks=0:suppressions=$top/tests/tsan.supp"
# some ten times as slow: what is stopped may be so for longer
export HAUL_SANITIZED=1
export HAUL_OPTIONS="--freeze-limit-ms=120000 ${HAUL_OPTIONS:-}"
[ "$kind" = asan ] || [ $# -gt 0 ] || set -- "${threads[@]}"
rc=0
make check ${1+TESTS="$*"} || rc=$?
shopt -s nullglob
for f in "$reports"/*; do
	printf -- '--- %s\n' "${f##*/}"
	head -40 "$f"
	rc=1
done
exit $rc
