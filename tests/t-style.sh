#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-style - the form of the code: clang-format, lengths of files, SPDX lines, options in the man pages.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
command -v clang-format >/dev/null || { echo "SKIP: clang-format is not installed"; exit 77; }
list() { find common transport engine policies hauler agent tests contrib -name '*.[ch]' ! -name '*.pb-c.*'; }
bad=0
complain() { echo "$*"; bad=1; }

for f in $(list); do
	clang-format --dry-run --Werror "$f" 2>/dev/null || complain "$f: not as clang-format has it"
	[ "$(wc -l <"$f")" -le 600 ] || complain "$f: more than 600 lines"
	head -1 "$f" | grep -q SPDX-License-Identifier || complain "$f: no SPDX line"
done
for pair in haul:hauler/cli/main.c hauld:agent/daemon/main.c; do
	for o in $(grep -oE '^	\{ "[a-z-]+", (no|required)_argument' "${pair#*:}" | cut -d'"' -f2); do
		grep -q -- "\\\\-\\\\-${o//-/\\\\-}\\|Fl -$o" "docs/${pair%%:*}.8" || complain "docs/${pair%%:*}.8: --$o is missing"
	done
done
exit $bad
