#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-crash - a part of the crash matrix; the whole of it is `make check-crash`.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || { echo "SKIP: needs root"; exit 77; }
[ -s /var/lib/haul/criu/chosen ] || { echo "SKIP: no CRIU chosen: run contrib/find-criu"; exit 77; }
exec python3 "$top/tests/crash-matrix.py" --short
