# SPDX-License-Identifier: GPL-2.0-or-later
# lab.sh - two hosts whose hauld serves HTTP over TLS, too. Sourced, after lib.sh.
# shellcheck shell=bash

token=admin-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
operator=operate-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
reader=read-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')

hash_of() { printf %s "$1" | sha256sum | cut -d' ' -f1; }

# before lab_up starts hauld: it is called by the lab's own start_hauld
api_config() {
	local h=$1
	shift
	"$lab" run "$h" sh -c 'cat >/etc/haul/haul.conf' <<-EOF
		api-port = 8443
		api-cert = $dir/cert.pem
		api-key = $dir/key.pem
		$(printf '%s\n' "$@")
	EOF
	"$lab" run "$h" sh -c 'umask 077; cat >/etc/haul/tokens' <<-EOF
		# name role sha256
		alice admin $(hash_of "$token")
		bob read $(hash_of "$reader")
		carol operate $(hash_of "$operator")
	EOF
}

api_up() {
	eval "$(declare -f start_hauld | sed '1s/start_hauld/plain_start_hauld/')"
	start_hauld() {
		[ -e "$dir/cert.pem" ] || openssl req -x509 -newkey rsa:2048 -nodes -days 2 \
			-subj /CN=hostA -addext subjectAltName=DNS:hostA,DNS:hostB,DNS:localhost \
			-keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
		[ -z "$(declare -F api_prepare)" ] || api_prepare "$1"
		api_config "$1" "${api_options[@]}"
		plain_start_hauld "$@"
		until_true 60 '"$lab" run "$1" curl -sf --unix-socket /run/haul/api.sock http://h/healthz >/dev/null' "$@" || fail "no API on $1"
	}
	lab_up "$@"
}
