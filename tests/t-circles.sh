#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-circles - no file and no folder depends on itself through others; folders call and include only
# those below them; a function's prefix is the name of its file or folder; each header includes what it uses.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "${HAUL_BUILDDIR:-$top}"
exec python3 "$top/tests/circles.py" "$top"
