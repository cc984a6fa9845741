#!/bin/sh
# Finds the hostguard binary and becomes it: hostguard.sh [ARGUMENT...]. The
# actions of this checkout run it. It looks at
#
#   1. $HOSTGUARD_BIN;
#   2. hostguard on PATH, of this action's major version and not older than it;
#   3. dist/hostguard-linux-ARCH of this checkout.
#
# Nothing is ever executed from RUNNER_TOOL_CACHE, which other jobs can write.
set -eu

# say prints one line. What it quotes may come from anywhere; without control
# characters it stays inside the line, and the line never opens as a command.
say() {
	printf 'hostguard: %s' "$*" | LC_ALL=C tr -d '\000-\037\177'
	echo
}

fail() {
	[ "${GITHUB_ACTIONS:-}" != true ] || printf '::error::'
	say "$*"
	exit 3
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) && want=$(cat "$here/VERSION") ||
	fail "cannot read the file VERSION beside $0"

in_tool_cache() {
	[ -n "${RUNNER_TOOL_CACHE:-}" ] && cache=$(readlink -f -- "$RUNNER_TOOL_CACHE") || return 1
	case $(readlink -f -- "$1") in
	"$cache"/*) return 0 ;;
	*) return 1 ;;
	esac
}

# try WHERE PATH sets bin and version if PATH is a hostguard that runs here, and
# says why not otherwise.
try() {
	case $2 in
	/*) path=$2 ;;
	*) path=$PWD/$2 ;;
	esac
	if [ ! -f "$path" ] || [ ! -x "$path" ]; then
		say "skipping $1, no executable file: $path"
	elif in_tool_cache "$path"; then
		say "skipping $1, nothing is run from RUNNER_TOOL_CACHE: $path"
	elif said=$("$path" version 2>/dev/null </dev/null) && [ "${said#hostguard }" != "$said" ]; then
		said=${said#hostguard }
		bin=$path version=${said%% *}
	else
		say "skipping $1, no hostguard that runs here: $path"
	fi
}

# new_enough VERSION WANT compares MAJOR.MINOR.PATCH; anything else is no release.
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

case $(uname -m) in
x86_64 | amd64) arch=amd64 ;;
aarch64 | arm64) arch=arm64 ;;
*) arch=$(uname -m) ;;
esac
dist=$here/dist/hostguard-linux-$arch
if [ -z "$bin" ] && [ -f "$dist" ]; then
	if in_tool_cache "$dist"; then
		say "skipping dist, nothing is run from RUNNER_TOOL_CACHE: $dist"
	else
		# Runners copy this checkout over itself, which fails while a program
		# runs from it: run a copy in the job's own folder.
		if [ -d "${RUNNER_TEMP:-}" ]; then
			temp=$RUNNER_TEMP
		else
			temp=$(mktemp -d) || fail "cannot make a temporary folder"
		fi
		copy=$temp/hostguard-$want-$arch
		if ! cmp -s "$dist" "$copy"; then
			{ cp "$dist" "$copy.$$" && chmod 755 "$copy.$$" && mv -f "$copy.$$" "$copy"; } ||
				fail "cannot copy $dist to $copy"
		fi
		try "the copy of dist" "$copy"
	fi
fi

[ -n "$bin" ] || fail "no binary found for linux/$arch. Do one of these:" \
	"pin the action to a release tag, whose checkout has $dist;" \
	"run \"make dist\" in the action's checkout;" \
	"put hostguard $want or newer on this host's PATH;" \
	"set HOSTGUARD_BIN to the path of one"

say "running $bin ($version)"
exec "$bin" "$@"
