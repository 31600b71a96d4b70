#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-lint - clang's warnings and clang-tidy's short list (.clang-tidy), cppcheck and shellcheck find nothing.
# A file that passed is not looked at again until it, a header or a flag changes: .lint in the build's tests.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${HAUL_BUILDDIR:-$top}" && pwd)
cd "$top"
for tool in clang-tidy cppcheck shellcheck; do
	command -v "$tool" >/dev/null || { echo "SKIP: $tool is not installed"; exit 77; }
done
bad=0
passed=$build/tests/.lint
mkdir -p "$passed"
# shellcheck disable=SC2046	# words
flags=(-std=c17 -D_GNU_SOURCE -DPOLICY_DIR='""' -I"$top" -I"$build" -Wall -Wextra -Wshadow -Wno-unknown-warning-option
	$(pkg-config --cflags libssh libprotobuf-c liblz4 libxxhash jansson libmicrohttpd libcurl))
mapfile -t sources < <(find common transport engine archive policies hauler agent contrib -name '*.c' ! -name '*.pb-c.c' | sort)

# what every result depends on beside the file itself
common=$({ clang-tidy --version; printf '%s\n' "${flags[@]}"; cat .clang-tidy
	find common transport engine archive policies hauler agent "$build" -name '*.h' | sort -u | xargs cat; } | sha256sum | cut -c1-16)
todo=()
while read -r sum file; do
	[ -e "$passed/$common-$sum" ] || todo+=("$passed/$common-$sum" "$file")
done < <(sha256sum "${sources[@]}")
if [ ${#todo[@]} != 0 ]; then
	find "$passed" -maxdepth 1 -name '????????????????-*' ! -name "$common-*" -delete
	printf '%s\n' "${flags[@]}" >"$passed/compile_flags.txt"
	# shellcheck disable=SC2016	# for the inner shell
	printf '%s\0' "${todo[@]}" | xargs -0 -n 2 -P "$(nproc)" sh -c \
		'clang-tidy --quiet -p "${0%/*}" "$1" 2>/dev/null && : >"$0"' || bad=1
fi

# libraries' headers are not read: what generated headers ask of protobuf-c's is said here, jansson's loops in cppcheck.cfg
cppcheck --quiet --enable=warning,portability --std=c11 --inline-suppr --suppressions-list=tests/cppcheck.txt \
	--library=tests/cppcheck.cfg -D__x86_64__ -DPROTOBUF_C_VERSION_NUMBER=1004001 -DPROTOBUF_C_MIN_COMPILER_VERSION=1000000 \
	--max-configs=1 -D_GNU_SOURCE -I. -I"$build" -j "$(nproc)" --error-exitcode=1 \
	$(printf '%s\n' "${sources[@]}" | grep -v '^contrib/') || bad=1
mapfile -t scripts < <(find tests contrib .ci -type f -exec grep -lE '^#!.*\bbash' {} + 2>/dev/null)
shellcheck -S error -x "${scripts[@]}" || bad=1
exit $bad
