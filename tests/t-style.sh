#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-style - the form of the code: clang-format, length of files and functions, SPDX lines, all files in
# Makefile.am, findings and tests in docs/KEPT.md, codes of findings in docs/FINDINGS.md, docstrings.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
command -v clang-format >/dev/null || { echo "SKIP: clang-format is not installed"; exit 77; }
list() { find common transport engine archive policies hauler agent tests contrib -name '*.[ch]' ! -name '*.pb-c.*'; }
bad=0
complain() { echo "$*"; bad=1; }

# one process for many files: one for each takes a minute
badly_formed=$(list | xargs -n 16 -P "$(nproc)" clang-format --dry-run --Werror 2>&1 | grep -oE '^[^ :]+:[0-9]+' | sort -u) || true
[ -z "$badly_formed" ] || complain "not as clang-format has it: $badly_formed"
faults=$(list | xargs awk 'FNR == 1 && !/SPDX-License-Identifier/ { print FILENAME ": no SPDX line" }
	FNR == 601 { print FILENAME ": more than 600 lines" }')
[ -z "$faults" ] || complain "$faults"
command -v ctags >/dev/null || { echo "SKIP: universal-ctags is not installed"; exit 77; }
# shellcheck disable=SC2046	# words
while read -r name file first last; do
	[ $((last - first)) -lt 100 ] || complain "$file: $name() has $((last - first + 1)) lines, more than 100"
done < <(ctags --languages=C --kinds-C=f --fields=+ne -f - $(list) |
	awk -F'\t' '{ f = l = 0; for (i = 4; i <= NF; i++) { if ($i ~ /^line:/) f = substr($i, 6); if ($i ~ /^end:/) l = substr($i, 5) }
		print $1, $2, f, l }')
# what Makefile.am does not name is missing in a release
for f in $(list | grep -v ^tests/); do
	grep -qF "$f" Makefile.am || complain "$f: Makefile.am does not name it"
done
# docs/KEPT.md: each finding is one of haul's, and each test is there
for c in $(grep -oE '`[a-z]+(-[a-z]+)*`' docs/KEPT.md | tr -d '`' | sort -u); do
	grep -rqF "\"$c\"" --include='*.c' hauler agent || complain "docs/KEPT.md: no finding $c"
done
for t in $(grep -oE '\bt-[a-z-]+' docs/KEPT.md | sort -u); do
	[ -e "tests/$t.sh" ] || [ -e "tests/$t.c" ] || complain "docs/KEPT.md: no test $t"
done
# docs/FINDINGS.md: the codes of findings, both ways
python3 tests/finding-codes.py "$top" || bad=1
# what each public function does
python3 tests/docstrings.py "$top" || bad=1
exit $bad
