#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-handover-tables - the programs, docs/HANDOVER.md and the model have the same states, the
# same edges and the same idea of where the tree may run; the programs and docs/PROTOCOL.md have the
# same idea of which message may arrive in which state. A * in a document is not built yet.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/haul-tables.XXXXXX")
trap 'rm -rf "$dir"' EXIT
bad=0

# One fact a line: SIDE STATE runs WHERE, SIDE STATE > STATE; the * stays on.
document() {
	awk -F ' *[|] *' '
	/^<!-- states: / { side = $0; sub(/^<!-- states: /, "", side); sub(/ -->$/, "", side); next }
	/^<!-- end -->/ { side = "" }
	side && $2 != "state" && $2 !~ /^-/ && NF > 4 {
		print side, $2, "runs", $3
		n = split($4, to, / *, */)
		for (i = 1; i <= n; i++) if (to[i] != "") print side, $2, ">", to[i]
	}' "$top/docs/HANDOVER.md"
}

# dest takes MESSAGE in STATE, from the destination's table of messages.
messages() {
	awk -F ' *[|] *' '
	/^<!-- messages: / { side = $0; sub(/^<!-- messages: /, "", side); sub(/ -->$/, "", side); next }
	/^<!-- end -->/ { side = "" }
	side == "dest" && $2 != "message" && $2 !~ /^-/ && NF > 3 {
		n = split($3, in_state, / *, */)
		for (i = 1; i <= n; i++) print side, "takes", $2, "in", in_state[i]
	}' "$top/docs/PROTOCOL.md"
}

# S_GO(S_post_copy, S_done) is an edge of the source.
model() {
	grep -oE '\b[SD]_GO\([SD]_[a-z_]+, [SD]_[a-z_]+\)' "$top/tests/handover.pml" |
		sed -E 's/^(.)_GO\(._([a-z_]+), ._([a-z_]+)\)/\1 \2 > \3/; s/_/-/g; s/^S/source/; s/^D/dest/'
}

# The source's table of messages in docs/PROTOCOL.md, section 4.
rules() {
	awk -F ' *[|] *' '
	/^<!-- messages: source -->/ { on = 1; next }
	/^<!-- end -->/ { on = 0 }
	on && $2 != "message" && $2 !~ /^-/ && NF > 4 { print "message", $2, "from", $3, "to", $4 }' \
		"$top/docs/PROTOCOL.md"
}

# differ WHAT FILE FILE: every line in only one of them is a complaint
differ() {
	local only
	only=$(diff <(sort -u "$2") <(sort -u "$3") | sed -n 's/^< /  only in the document: /p; s/^> /  not in the document: /p' || true)
	[ -z "$only" ] || { printf '%s:\n%s\n' "$1" "$only"; bad=1; }
}

document >"$dir/all"
"${HAUL_BUILDDIR:-$top}/tests/handover-edges" >"$dir/printed"
grep -v '^message ' "$dir/printed" >"$dir/programs"
grep '^message ' "$dir/printed" >"$dir/said"
messages >"$dir/messages"
rules >"$dir/rules"
model >"$dir/model"
grep -v '\*' "$dir/all" >"$dir/built"
tr -d '*' <"$dir/all" | grep ' > ' >"$dir/edges"
grep ' takes ' "$dir/programs" >"$dir/takes"
grep -v ' takes ' "$dir/programs" >"$dir/states"
differ "programs (once it is built, take the * away)" "$dir/built" "$dir/states"
differ "messages that the destination takes" "$dir/messages" "$dir/takes"
differ "messages that the source takes" "$dir/rules" "$dir/said"
differ "model" "$dir/edges" "$dir/model"
# a parser that finds nothing would find no difference
for f in states:30 takes:25 said:15 model:30 all:30; do
	least=${f#*:} f=${f%:*}
	[ "$(wc -l <"$dir/$f")" -gt "$least" ] || { echo "$f: only $(wc -l <"$dir/$f") facts"; bad=1; }
done
echo "$(wc -l <"$dir/states") facts about states, $(cat "$dir/takes" "$dir/said" | wc -l) about messages in the programs, $(sort -u "$dir/model" | wc -l) edges in the model, $(grep -c '\*' "$dir/all") not built yet"
exit $bad
