#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-handover-model - docs/HANDOVER.md holds in every order of steps and faults (Spin), and
# the check notices each of the mistakes that the model can be told to make.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
command -v spin >/dev/null || { echo "SKIP: spin is not installed: run contrib/install-deps"; exit 77; }
cc=${CC:-cc}
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/haul-spin.XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cp "$top/tests/handover.pml" .
bad=0
complain() { echo "FAIL: $*"; bad=1; }

# build KIND FLAG...: the verifier, at most 2 GiB
build() {
	local kind=$1
	shift
	rm -f pan pan.* ./*.trail
	spin "$@" -a handover.pml >spin.out || { cat spin.out; exit 1; }
	case $kind in
	safety) $cc -O0 -w -DMEMLIM=2048 -DSAFETY -DNOCLAIM -o pan pan.c ;;
	ends) $cc -O0 -w -DMEMLIM=2048 -o pan pan.c ;;
	esac
}

# verify KIND FLAG...: sets $errors; the search must have been complete
verify() {
	local kind=$1 args=(-m200000)
	build "$@"
	[ "$kind" = safety ] || args+=(-a)
	./pan "${args[@]}" >pan.out 2>&1 || true
	errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' pan.out)
	[ -n "$errors" ] || { cat pan.out; complain "$*: no result"; errors=none; }
	# an error found ends the search; without one it has to be whole
	[ "$errors" != 0 ] || ! grep -qE 'search depth too small|Search not completed|out of memory' pan.out ||
		complain "$*: the search was cut short"
}

holds() {
	verify "$@"
	echo "== $*"
	grep -E 'State-vector|states, stored|transitions|total actual memory|elapsed' pan.out | sed 's/^ */   /'
	[ "$errors" = 0 ] || { grep pan: pan.out; complain "$*: errors $errors"; }
}

# A step of the model that is never taken proves nothing.
all_reached() {
	local line n
	sed -n 's/.*handover\.pml:\([0-9]*\), state .*/\1/p' pan.out | sort -nu >unreached
	while IFS=: read -r n line; do
		! grep -qx "$n" unreached || complain "never taken: $line"
	done < <(grep -nE '[SD]_GO\(S_|[SD]_GO\(D_' handover.pml)
}

fails() {
	local kind=$1 mistake=$2
	shift 2
	verify "$kind" "$@" -DBREAK_"$mistake"
	if [ "$errors" = 0 ] || [ "$errors" = none ]; then
		complain "nothing noticed BREAK_$mistake"
	else
		echo "   $mistake: $(sed -n 's/^pan:1: //p' pan.out)"
	fi
}

echo "never two, never none without a stopped copy that can be resumed"
holds safety -DS_CRASHES=3 -DD_CRASHES=3 -DCUTS=4
holds safety -DHOSTS -DWIPED
all_reached
echo "every doubt ends once the peers talk"
holds ends -DS_CRASHES=3 -DD_CRASHES=3 -DCUTS=3
holds ends -DHOSTS
echo "mistakes are noticed"
for m in COMMIT_BEFORE_RECORD SILENCE_MEANS_NO OPEN_BEFORE_RECORD ANSWER_WITHOUT_LOCK KILL_AT_RUNNING \
	DRAINED_BEFORE_DONE ENDED_IS_DONE RUNNING_UNSEEN SIGNALS_UNSEEN SUCCESSOR_BLIND UNDO_UNRECORDED NOT_GIVEN; do
	fails safety $m
done
fails safety MARK_LATE -DHOSTS
fails ends NO_ANSWER
exit $bad
