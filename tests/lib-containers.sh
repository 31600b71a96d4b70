# SPDX-License-Identifier: GPL-2.0-or-later
# lib-containers.sh - a lab for containers: podman and runc on both hosts, an image and a bundle with the workload
# that stamps pages. Sourced by tests/t-containers*.sh after lib.sh.
# shellcheck shell=bash disable=SC2154

# containers_up [OPTION]...: of lab_up
containers_up() {
	local p
	for p in runc podman; do
		command -v $p >/dev/null || skip "$p is not installed: contrib/install-deps"
	done
	lab_up --containers "$@"
	root_files "$dir/root"
}

# root_files FOLDER: a root file system with busybox, the writer and its libraries
root_files() {
	local f
	mkdir -p "$1"/{bin,dev,etc,proc,sys,tmp,work}
	cp "$(command -v busybox)" "$1/bin/"
	for f in sh sleep cat ls; do ln -s busybox "$1/bin/$f"; done
	cp "$work/writer" "$1/bin/"
	ldd "$work/writer" | grep -o '/[^ ]*' | while read -r f; do
		mkdir -p "$1${f%/*}"
		cp -L "$f" "$1$f"
	done
}

# bundle NAME: $dir/NAME for runc, with /work as on the host
bundle() {
	mkdir -p "$dir/$1" "$wdir"
	cp -a "$dir/root" "$dir/$1/rootfs"
	(cd "$dir/$1" && runc spec)
	python3 - "$dir/$1/config.json" "$wdir" <<'END_OF_PYTHON'
import json, sys
c = json.load(open(sys.argv[1]))
p = c["process"]
p["terminal"] = False
p["args"] = ["sh", "-c", "sleep 1000 & exec writer --dir /work --mib 16 --rate 2000"]
p.pop("rlimits", None)
c["root"]["readonly"] = False
c["linux"]["namespaces"].append({"type": "cgroup"})
c["mounts"].append({"destination": "/work", "type": "none", "source": sys.argv[2], "options": ["rbind", "rw"]})
json.dump(c, open(sys.argv[1], "w"))
END_OF_PYTHON
}

# image: the same tar gives the same image on both hosts
image() {
	local h
	tar -C "$dir/root" -cf "$dir/root.tar" .
	for h in A B; do
		"$lab" run $h podman import -q "$dir/root.tar" localhost/work:1 >/dev/null 2>>"$dir/podman.log" ||
			fail "podman import: $(tail -3 "$dir/podman.log")"
	done
}

pod() { "$lab" run "$1" podman "${@:2}" 2>>"$dir/podman.log"; }

# work_dir NAME: sets $wdir, made anew
work_dir() {
	wdir=$dir/$1.work
	mkdir -p "$wdir"
	chmod 777 "$wdir"
	verified=0
}

ready() { until_true 60 '[ -e "$wdir/ready" ]' || fail "the workload is not ready"; }

# pid_of HOST RUNTIME:NAME: its init there, empty when it does not run there
pid_of() {
	case $2 in
	runc:*) "$lab" run "$1" runc state "${2#*:}" 2>/dev/null | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])' 2>/dev/null || true ;;
	podman:*) pod "$1" inspect --format '{{.State.Pid}}' "${2#*:}" || true ;;
	esac
}

# haul_it FROM RUNTIME:NAME [OPTION]...: to the other host; it is whole there, and nothing of it is left here
haul_it() {
	local from=$1 what=$2 to
	to=$(other "$from")
	shift 2
	"$lab" run "$from" "$haul" --json "$@" "$what" "host$to" >"$dir/report" 2>"$dir/stderr" ||
		{ cat "$dir/stderr" "$dir/report" >&2; fail "haul $what from $from to $to"; }
	pid=$(pid_of "$to" "$what")
	[ -n "$pid" ] || fail "$what is not known on $to"
	verify "$to"
	one_at "$to" "$what"
}

# one_at HOST RUNTIME:NAME: it lives there, and there alone; nothing of a restore is left
one_at() {
	local no
	no=$(other "$1")
	# an undo there may take longer than haul's here
	until_true 60 '[ -z "$(pid_of "$1" "$2")" ]' "$no" "$2" || fail "$2 is still known on $no"
	[ "$(writers "$1")" = 1 ] || fail "$(writers "$1") copies on $1"
	[ "$(writers "$no")" = 0 ] || fail "$(writers "$no") copies on $no"
	until_true 20 '! left_over' || fail "left over: $(left_over 2>&1)"
}

# of the workload
writers() { "$lab" run "$1" sh -c 'grep -lx writer /proc/[0-9]*/comm 2>/dev/null | wc -l'; }

left_over() {
	local h
	for h in A B; do
		"$lab" run $h sh -c 'ls -d /run/haul/front/* /run/haul/journal/*source* 2>/dev/null' && return 0
	done
	return 1
}
