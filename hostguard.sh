#!/bin/sh
# Finds the hostguard binary and executes it: hostguard.sh [ARGUMENT...]. The
# actions of this checkout run it. It looks at
#
#   1. $HOSTGUARD_BIN;
#   2. hostguard on PATH, of this action's major version and not older than it;
#   3. dist/hostguard-linux-ARCH of this checkout;
#   4. $HOSTGUARD_URL/vVERSION/hostguard-linux-ARCH, where the checkout has only
#      the sums of the binaries. HOSTGUARD_URL is where the owner's own Gitea keeps
#      them: https://GITEA/OWNER/hostguard/releases/download.
#
# What 3 and 4 find has to match dist/SHA256SUMS, or nothing runs at all. On a host
# where root keeps the owner's public key in /etc/hostguard/minisign.pub, these sums
# have to be signed for this version. Nothing is ever executed from RUNNER_TOOL_CACHE,
# which other jobs can write.
set -eu

# Each program that is started here costs a step 1 to 2 ms, hostguard itself 6.

# say prints one line. What it quotes may come from anywhere; without control
# characters it stays inside the line, and the line never begins as a command.
say() {
	case $* in
	*[!A-Za-z0-9\ .,:\;/_=+@%\(\)\"-]*)
		printf 'hostguard: %s' "$*" | LC_ALL=C tr -d '\000-\037\177'
		echo
		;;
	*) printf 'hostguard: %s\n' "$*" ;;
	esac
}

fail() {
	[ "${GITHUB_ACTIONS:-}" != true ] || printf '::error::'
	say "$*"
	exit 3
}

case $0 in
/*) here=${0%/*} ;;
*/*) here=$PWD/${0%/*} ;;
*) here=$PWD ;;
esac
IFS= read -r want 2>/dev/null <"$here/VERSION" || fail "cannot read the file VERSION beside $0"

in_tool_cache() {
	[ -n "${RUNNER_TOOL_CACHE:-}" ] && cache=$(readlink -f -- "$RUNNER_TOOL_CACHE") || return 1
	case $(readlink -f -- "$1") in
	"$cache"/*) return 0 ;;
	*) return 1 ;;
	esac
}

# What a binary calls itself is kept for the later steps of this job.
asked=${RUNNER_TEMP:+$RUNNER_TEMP/hostguard-asked}

# answered PATH sets output as an earlier step got it of the same file, not of a newer one.
answered() {
	[ -n "$asked" ] && [ "$asked" -nt "$1" ] && [ -O "$asked" ] && [ ! -L "$asked" ] &&
		{ IFS= read -r known && IFS= read -r output; } 2>/dev/null <"$asked" && [ "$known" = "$1" ]
}

# ask PATH sets output to what a binary calls itself.
ask() {
	answered "$1" && return
	output=$("$1" version 2>/dev/null </dev/null) && [ "${output#hostguard }" != "$output" ] || return 1
	[ -d "${RUNNER_TEMP:-}" ] || return 0
	[ ! -e "$asked" ] || rm -f -- "$asked" 2>/dev/null
	# "set -C" writes through no link, and over nothing of others.
	(set -C && printf '%s\n%s\n' "$1" "$output" >"$asked") 2>/dev/null || :
}

# try WHERE PATH sets bin and version if PATH is a hostguard that runs here, and
# prints why not otherwise.
try() {
	case $2 in
	/*) path=$2 ;;
	*) path=$PWD/$2 ;;
	esac
	if [ ! -f "$path" ] || [ ! -x "$path" ]; then
		say "skipping $1, no executable file: $path"
	elif in_tool_cache "$path"; then
		say "skipping $1, nothing is run from RUNNER_TOOL_CACHE: $path"
	elif ask "$path"; then
		output=${output#hostguard }
		bin=$path version=${output%% *}
	else
		say "skipping $1, no hostguard that runs here: $path"
	fi
}

# new_enough VERSION WANT compares MAJOR.MINOR.PATCH; anything else is not a release.
new_enough() (
	case .$1. in *[!0-9.]* | *..*) return 1 ;; esac
	IFS=.
	# shellcheck disable=SC2086 # split at the dots
	set -- $1 $2
	[ $# = 6 ] && [ "$1" -eq "$4" ] &&
		{ [ "$2" -gt "$5" ] || { [ "$2" -eq "$5" ] && [ "$3" -ge "$6" ]; }; }
)

bin=
if [ -n "${HOSTGUARD_BIN:-}" ]; then
	try HOSTGUARD_BIN "$HOSTGUARD_BIN"
fi

if [ -z "$bin" ] && found=$(command -v hostguard); then
	try "hostguard on PATH" "$found"
	if [ -n "$bin" ] && ! new_enough "$version" "$want"; then
		say "skipping hostguard on PATH, its version $version is not $want or newer of the same major version: $bin"
		bin=
	fi
fi

if [ -z "$bin" ]; then
	machine=$(uname -m)
	case $machine in
	x86_64) arch=amd64 ;;
	aarch64) arch=arm64 ;;
	*) arch=$machine ;;
	esac
	name=hostguard-linux-$arch
	dist=$here/dist/$name
	url=${HOSTGUARD_URL:+${HOSTGUARD_URL%/}/v$want/$name}
fi

# genuine FILE checks that FILE has the checksum of the release.
genuine() {
	got=$(sha256sum <"$1") && [ "${got%% *}" = "$sum" ]
}

# signed checks that the owner of this host's public key has signed the sums for this
# version, where there is such a key. It keeps a changed or mistaken dist from running;
# whoever can change this script too is stopped by the commit that a workflow pins.
signed() (
	key=/etc/hostguard/minisign.pub sums=$here/dist/SHA256SUMS
	[ ! -d "${key%/*}" ] || [ -x "${key%/*}" ] || fail "cannot look for a public key in ${key%/*}; make it readable: chmod 755 ${key%/*}"
	[ -e "$key" ] || [ -L "$key" ] || exit 0
	for path in "${key%/*}" "$key"; do
		case $(stat -L -c '%u %A' "$path" 2>&1) in
		'0 '?????-??-?) ;;
		*) fail "others than root may change the public key $key; make it and its directory root's: chmod 644 $key" ;;
		esac
	done
	[ -f "$sums.minisig" ] || fail "$sums is not signed, and this host has a public key, $key: pin a signed release, which has $sums.minisig"
	comment=$(sed -n '3s/^trusted comment: //p' "$sums.minisig" | head -c 100)
	[ "$comment" = "hostguard $want" ] || fail "$sums is signed for \"$comment\", not for \"hostguard $want\": push the release tag again"
	[ "$(grep -c '' "$sums.minisig")" = 4 ] || fail "$sums.minisig has other lines than a signature: push the release tag again"
	if command -v minisign >/dev/null; then
		output=$(minisign -V -m "$sums" -p "$key" 2>&1 </dev/null)
	elif command -v openssl >/dev/null; then
		output=$(by_openssl 2>&1)
	else
		fail "there is neither minisign nor openssl to check $sums with; install one of them"
	fi || fail "$sums is not what the owner of $key has signed: it is damaged or was changed, or is by another key, and is not run${output:+: $output}"
)

# by_openssl checks a signature of minisign: of the sums, or since minisign 0.9 of their
# BLAKE2b, then of the first signature and the comment. OpenSSL knows it from version 3 on.
by_openssl() {
	work=$(mktemp -d) || return
	trap 'rm -rf "$work"' EXIT
	tail -n 1 "$key" | base64 -d >"$work/key" && sed -n 2p "$sums.minisig" | base64 -d >"$work/first" &&
		sed -n 4p "$sums.minisig" | base64 -d >"$work/second" || return
	# A key has 42 bytes: what it is for, its number, itself. A signature has the first two as well.
	[ "$(wc -c <"$work/key") $(wc -c <"$work/first") $(wc -c <"$work/second")" = "42 74 64" ] || return
	[ "$(head -c 10 "$work/key" | tail -c 8 | base64)" = "$(head -c 10 "$work/first" | tail -c 8 | base64)" ] || return
	# The 12 bytes before an Ed25519 key that make it one for OpenSSL (RFC 8410).
	printf -- '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA%s\n-----END PUBLIC KEY-----\n' "$(tail -c 32 "$work/key" | base64)" >"$work/pem"
	case $(head -c 2 "$work/first") in
	ED) openssl dgst -blake2b512 -binary -out "$work/message" "$sums" ;;
	Ed) cp "$sums" "$work/message" ;;
	*) false ;;
	esac || return
	tail -c 64 "$work/first" >"$work/signature"
	openssl pkeyutl -verify -pubin -inkey "$work/pem" -rawin -in "$work/message" -sigfile "$work/signature" &&
		{ cat "$work/signature" && printf %s "$comment"; } >"$work/message" &&
		openssl pkeyutl -verify -pubin -inkey "$work/pem" -rawin -in "$work/message" -sigfile "$work/second"
}

# unchanged COPY checks that COPY is one that an earlier step has checked and left.
# Comparing takes 7 ms, a new checksum 40 ms.
unchanged() {
	[ -f "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] && if [ -f "$dist" ]; then cmp -s "$dist" "$1"; else genuine "$1"; fi
}

# origin URL prints the part of URL up to the path.
origin() {
	rest=${1#*://}
	printf '%s' "${1%%://*}://${rest%%/*}"
}

# download FILE fetches url. Only its own host may redirect, to itself; a
# password for it is in ~/.netrc, not in an address that logs show.
download() {
	command -v curl >/dev/null || fail "there is no curl to fetch $url with; install it, or pin the tag v$want, which has the binaries"
	at=$url
	for _ in 1 2 3; do
		# Without a length in the answer curl would take any: a file may have 100 MB.
		output=$(trap '' XFSZ; ulimit -f 195313 2>/dev/null; printf 'url = "%s"\n' "$at" | curl -q --config - --silent --show-error --globoff --netrc-optional --proto =http,https \
			--connect-timeout 10 --speed-limit 1 --speed-time 30 --max-time 300 --max-filesize 99999999 --output "$1" --write-out '%{http_code} %{redirect_url}' 2>&1) ||
			fail "cannot fetch $at: ${output%?[0-9][0-9][0-9] *}"
		at=${output#* }
		case ${output%% *} in
		200) return ;;
		3??) [ "$(origin "$at")" = "$(origin "$url")" ] || fail "$url redirects to another host, $(origin "$at"); nothing is fetched from there: set HOSTGUARD_URL to the server that has the file" ;;
		*) fail "cannot fetch $url: HTTP status ${output%% *}; attach the files of dist/ to the release v$want there" ;;
		esac
	done
	fail "cannot fetch $url: too many redirects"
}

if [ -n "$bin" ]; then
	: # found
elif in_tool_cache "$here"; then
	say "skipping dist, nothing is run from RUNNER_TOOL_CACHE: $here/dist"
elif [ -f "$dist" ] || [ -n "$url" ]; then
	case ${HOSTGUARD_URL:-} in
	'' | http://* | https://*) ;;
	*) fail "HOSTGUARD_URL is no address that begins with http:// or https://: $HOSTGUARD_URL" ;;
	esac
	case $(origin "$url") in
	*[!]A-Za-z0-9.:/_[-]*) fail "HOSTGUARD_URL has more than a host before its path; a password belongs into ~/.netrc" ;;
	esac
	case $url in
	*[\"\\]* | *[[:cntrl:][:space:]]*) fail "HOSTGUARD_URL has characters that no address has" ;;
	esac
	command -v sha256sum >/dev/null || fail "there is no sha256sum to check the binary with; install coreutils, or set HOSTGUARD_BIN"
	sum=$(sed -n "s/^\([0-9a-f]\{64\}\)  $name\$/\1/p" "$here/dist/SHA256SUMS" 2>/dev/null) && [ -n "$sum" ] ||
		fail "there is no sum of $name in $here/dist/SHA256SUMS; pin a release tag, or run \"make dist\" there"
	# Runners copy this checkout over itself, which fails while a program runs
	# from it: run a copy in the job's own folder.
	if [ -d "${RUNNER_TEMP:-}" ]; then
		temp=$RUNNER_TEMP
	else
		temp=$(mktemp -d) || fail "cannot make a temporary folder"
	fi
	copy=$temp/hostguard-$want-$arch
	if ! unchanged "$copy"; then
		signed || exit
		new=$(mktemp "$copy.XXXXXX" 2>&1) || fail "cannot write to RUNNER_TEMP, $temp: $new"
		trap 'rm -f "$new"' EXIT
		if [ -f "$dist" ]; then
			from=$dist
			output=$(cp "$dist" "$new" 2>&1) || fail "cannot copy $dist to $new: $output"
		else
			from=$url
			download "$new"
		fi
		genuine "$new" || fail "$from does not match $here/dist/SHA256SUMS: it is damaged or was changed, and is not run; push the release tag again"
		output=$(chmod 755 "$new" 2>&1 && mv -f "$new" "$copy" 2>&1) || fail "cannot write $copy: $output"
	fi
	try "the copy of dist" "$copy"
	[ -n "$bin" ] || fail "it has the right sum and does not run: mount RUNNER_TEMP, $temp, without noexec, or set HOSTGUARD_BIN to a hostguard elsewhere"
fi

[ -n "$bin" ] || fail "no binary found for linux/$arch. Do one of these:" \
	"pin the action to a release tag, whose checkout has $dist;" \
	"run \"make dist\" in the action's checkout;" \
	"set HOSTGUARD_URL to your server's releases, where the checkout has dist/SHA256SUMS;" \
	"put hostguard $want or newer on this host's PATH;" \
	"set HOSTGUARD_BIN to the path of one"

say "running $bin ($version)"
exec "$bin" "$@"
