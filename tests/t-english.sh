#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-english - comments, messages and documents keep away from turns of phrase that a reader has to
# translate back (tests/english.txt), and codespell finds no slip.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
command -v codespell >/dev/null || { echo "SKIP: codespell is not installed"; exit 77; }
bad=0
mapfile -t files < <(find common transport engine archive policies hauler agent contrib docs README.md ARCHITECTURE.md \
	CONTRIBUTING.md tests -name '*.pb-c.*' -prune -o -name corpus -prune -o -name .lint -prune -o -type f \( -name '*.[ch]' -o \
	-name '*.md' -o -name '*.8' -o -name '*.proto' -o -name '*.sh' -o -name '*.py' -o -name '*.js' -o -path 'contrib/*' \) -print)
while IFS=$'\t' read -r pattern better; do
	case $pattern in '' | '#'*) continue ;; esac
	if grep -nEi -- "$pattern" "${files[@]}"; then
		echo "    better: $better"
		bad=1
	fi
done <tests/english.txt
codespell --ignore-words-list=lates,chekc,meanin,nd "${files[@]}" || bad=1
exit $bad
