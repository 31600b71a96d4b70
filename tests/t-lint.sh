#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-lint - clang's warnings and clang-tidy's short list (.clang-tidy), cppcheck and shellcheck find nothing.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${HAUL_BUILDDIR:-$top}" && pwd)
cd "$top"
for tool in clang-tidy cppcheck shellcheck; do
	command -v "$tool" >/dev/null || { echo "SKIP: $tool is not installed"; exit 77; }
done
bad=0
# shellcheck disable=SC2046	# words
flags=(-std=c17 -D_GNU_SOURCE -DPOLICY_DIR='""' -I"$top" -I"$build" -Wall -Wextra -Wshadow -Wno-unknown-warning-option
	$(pkg-config --cflags libssh libprotobuf-c liblz4 libxxhash jansson libmicrohttpd libcurl))
find common transport engine policies hauler agent contrib -name '*.c' ! -name '*.pb-c.c' -print0 |
	xargs -0 -n 8 -P "$(nproc)" sh -c 'clang-tidy --quiet "$@" 2>/dev/null' sh "${flags[@]/#/--extra-arg=}" || bad=1
cppcheck --quiet --enable=warning,portability --std=c11 --inline-suppr --suppressions-list=tests/cppcheck.txt \
	--max-configs=1 -D_GNU_SOURCE -I. -j "$(nproc)" --error-exitcode=1 \
	$(find common transport engine policies hauler agent -name '*.c' ! -name '*.pb-c.c') || bad=1
mapfile -t scripts < <(grep -lE '^#!.*\bbash' -r tests contrib .ci)
shellcheck -S error -x "${scripts[@]}" || bad=1
exit $bad
