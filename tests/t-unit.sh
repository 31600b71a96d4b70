#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-unit - hauld under a service manager, played by tests/api/manager.py: sockets that it passes,
# READY, RELOADING, WATCHDOG, STOPPING; an API process that hangs; logs for a journal.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
dir=$(mktemp -d /var/tmp/haul-test.XXXXXX)
chmod 755 "$dir"
trap lab_down EXIT
"$lab" up
"$lab" run A python3 "$top/tests/api/manager.py" "$hauld" "$dir" || { cat "$dir/log"; exit 1; }
if command -v systemd-analyze >/dev/null; then
	# the programs need not be installed here: what else is complained of?
	systemd-analyze verify "$builddir/contrib/systemd/hauld.service" "$top/contrib/systemd/hauld.socket" >"$dir/verify" 2>&1 || true
	! grep -v '/usr/local/sbin/hauld is not executable\|man hauld\|^$' "$dir/verify" || fail "systemd-analyze verify"
	note "  systemd-analyze verify: the units are well-formed"
fi
