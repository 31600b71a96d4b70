#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-fuzz-replay - every fuzz target on its corpus: real messages, what fuzzing reached with
# them, and what once broke it.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
for c in "$top"/tests/fuzz-*.c; do
	name=${c##*/fuzz-}
	name=${name%.c}
	n=$("${HAUL_BUILDDIR:-$top}/tests/fuzz-$name" "$top/tests/corpus/$name")
	echo "$name: $n"
	case $n in 0* | 1\ * | 2\ *) echo "tests/corpus/$name is nearly empty" >&2; exit 1 ;; esac
done
