#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-cli-usage - wrong command lines and wrong targets: the exit status of the man pages, and
# a message that names what is wrong.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
build=${HAUL_BUILDDIR:-$top}
[ "$(id -u)" = 0 ] || { echo "SKIP: needs root"; exit 77; }
failed=0

# try STATUS PATTERN PROGRAM ARG...
try() {
	local want=$1 pattern=$2 out rc=0
	shift 2
	out=$(timeout 20 "$build/$1" "${@:2}" 2>&1 </dev/null) || rc=$?
	if [ $rc != "$want" ] || ! grep -qE -- "$pattern" <<<"$out"; then
		printf 'FAIL: %s: status %s, not %s; no "%s" in: %s\n' "$*" "$rc" "$want" "$pattern" "$out"
		failed=1
	fi
}

sleep 0 &
dead=$!
wait $dead
sleep 300 &
alive=$!
trap 'kill $alive' EXIT

try 2 '^Usage:' haul
try 2 'unrecognized option.*--bogus' haul --bogus
try 2 'haul --help lists' haul --bogus
try 2 'where to\? haul 123 HOST' haul 123
try 2 'takes two words, not 3' haul chekc 1 hostB
try 2 'haul trust HOST' haul trust
try 2 'haul check PID' haul check
try 2 'haul policy list' haul policy
try 2 'haul watch PID' haul watch
try 2 'haul watch PID' haul watch 1 2
try 2 'haul show MIGRATION' haul show nothing
try 2 '"" is not a process ID' haul watch ''
try 2 'no policy ""' haul policy show ''
try 2 'name of the host is empty' haul trust ''
try 2 '"abc" is not a process ID' haul abc hostB
try 2 '"-5" is not a process ID' haul -- -5 hostB
try 2 '"0" is not a process ID' haul check 0
try 2 '"99999999" is not a process ID' haul check 99999999
try 2 'name of the host is empty' haul $alive ''
try 2 'not one of auto, stop-copy' haul --mode=fast $alive hostB
try 2 'streams=17: not a number from 1 to 16' haul --streams=17 $alive hostB
try 2 'streams=-1: not a number' haul --streams=-1 $alive hostB
try 2 'port=99999: not a number' haul --port=99999 $alive hostB
try 2 'downtime-limit-ms=: not a number' haul --downtime-limit-ms= $alive hostB
try 2 'config=/nonexistent: No such file' haul --config=/nonexistent $alive hostB
try 2 'haul PID HOST does not take --leave-running' haul --leave-running $alive hostB
try 2 'haul check does not take --end' haul check --end $alive
try 2 'haul save does not take --copy' haul save --copy $alive /nonexistent/a.haul
try 2 'haul load does not take --end' haul load --end /nonexistent/a.haul
try 2 'name of the archive is empty' haul save $alive ''
try 2 'name of the archive is empty' haul load ''
try 0 '^haul [0-9]' haul --version
try 0 '^Usage:' haul --help
try 3 "no process $dead" haul check $dead
try 3 "no process $dead" haul $dead hostB
try 3 'remedy: see ps' haul $dead hostB
try 3 'pid 1 is the init' haul check 1
try 3 'haul itself' haul check $$
try 1 'nowhere.invalid' haul check $alive nowhere.invalid
[ ! -e /proc/2/comm ] || [ "$(cat /proc/2/comm)" != kthreadd ] || try 3 'thread of the kernel' haul check 2

try 2 'hauld --help lists' hauld --bogus
try 2 '"extra" is not an option' hauld extra
try 2 'port: not a number from 1 to 65535' hauld --port=0
try 2 'config=/nonexistent: No such file' hauld --config=/nonexistent
try 2 'port: not a number' hauld --port=80x
try 1 'cannot write the host key' hauld --host-key=/proc/none
try 0 '^hauld? [0-9]' hauld --version
exit $failed
