# SPDX-License-Identifier: GPL-2.0-or-later
# archive.sh - saves and loads of the workload $pid; sourced by tests/t-save*.sh and t-load*.sh after lib.sh.
# shellcheck shell=bash

# save HOST [OPTION]...: $pid into $ar; the report goes to $dir/report
save() {
	local h=$1
	shift
	# shellcheck disable=SC2086	# words
	"$lab" run "$h" "$haul" --json ${HAUL_OPTIONS:-} save "$@" "$pid" "$ar" >"$dir/report" 2>"$dir/stderr" ||
		{ cat "$dir/stderr" "$dir/report" >&2; fail "haul save $*"; }
}

# load HOST [OPTION]...: $ar
load() {
	local h=$1
	shift
	"$lab" run "$h" "$haul" --json load "$@" "$ar" >"$dir/report" 2>"$dir/stderr" ||
		{ cat "$dir/stderr" "$dir/report" >&2; fail "haul load $*"; }
}

# refused STATUS WORDS COMMAND...: it fails with that status (a pattern) and says the words
refused() {
	local want=$1 words=$2 rc=0
	shift 2
	"$@" >"$dir/report" 2>"$dir/stderr" || rc=$?
	[[ $rc = $want ]] || { cat "$dir/stderr" "$dir/report" >&2; fail "status $rc, not $want: $*"; }
	grep -q "$words" "$dir/stderr" || { cat "$dir/stderr" >&2; fail "does not say \"$words\": $*"; }
}

# end HOST: SIGKILL to $pid and all below it at once, until it is gone
end() {
	local all=$pid more=$pid
	while more=$("$lab" run "$1" pgrep -d ' ' -P "${more// /,}"); do all+=" $more"; done
	# shellcheck disable=SC2086	# words
	"$lab" run "$1" kill -STOP $all
	# shellcheck disable=SC2086
	"$lab" run "$1" kill -KILL $all
	gone "$1"
}
