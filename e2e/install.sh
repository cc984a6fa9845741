#!/bin/sh
# Puts in place what the tests need, or with "demo" what the demo needs, and does
# nothing where it is there already.
#
# Both Docker engines are unpacked from Debian's packages into .cache of this
# checkout: whatever Docker the machine has is neither needed nor touched, and
# no service is installed or started.
set -eu

cd "$(dirname "$0")/.."
cache=$PWD/.cache
mkdir -p "$cache"
log=$cache/install.log

die() {
	echo "e2e/install.sh: $*" >&2
	exit 1
}

# quietly runs a command and shows what it said only if it failed.
quietly() {
	"$@" >"$log" 2>&1 || {
		tail -n 20 "$log" >&2
		return 1
	}
}

# Mirrors are now and then in the middle of an update.
update() {
	quietly apt-get "$@" update || quietly apt-get "$@" update
}

missing=
need() { # COMMAND PACKAGE...
	command -v "$1" >/dev/null && return
	shift
	missing="$missing $*"
}

need node nodejs
need npm npm
if [ "${1:-}" != demo ]; then
	[ "$(id -u)" = 0 ] || die "the tests start Docker daemons of their own: run them as root"
	need make make
	need gcc gcc libc6-dev # go test -race
	need ip iproute2
	need iptables iptables
	need ps procps
	need strace strace
	need busybox busybox
	need curl curl
	need debootstrap debootstrap
	ldconfig -p >"$log"
	grep -q 'libdevmapper\.so\.1\.02\.1 ' "$log" || missing="$missing libdevmapper1.02.1"
	grep -q 'libseccomp\.so\.2 ' "$log" || missing="$missing libseccomp2"
fi
if [ -n "$missing" ]; then
	command -v apt-get >/dev/null || die "no apt-get to install$missing with"
	echo "installing$missing"
	update || echo "e2e/install.sh: apt-get update failed, trying with the lists that are there" >&2
	# --no-remove: nothing of the machine's own may have to go.
	# shellcheck disable=SC2086 # a list of names
	DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends --no-remove \
		-o DPkg::Lock::Timeout=300 $missing || die "cannot install$missing"
fi
case $(node --version) in
v[0-9].* | v1[0-7].*) die "node $(node --version) is too old: the tests need 18 or newer" ;;
esac
[ "${1:-}" != demo ] || exit 0

debian_mirror() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Codename: bookworm' | head -n 1
}

find_mirror() {
	mirror=$(debian_mirror)
	if [ -z "$mirror" ]; then # apt knows the names of its suites after an update
		update || die "apt-get update failed"
		mirror=$(debian_mirror)
	fi
	[ -n "$mirror" ] || die "no mirror of Debian 12 (bookworm) among apt's sources: the tests run on Debian 12"
}

# unpack NAME SUITE PACKAGE... makes .cache/NAME of packages of a Debian suite,
# fetched through a private set of apt's folders.
unpack() {
	name=$1 suite=$2
	shift 2
	echo "unpacking $name from Debian $suite"
	find_mirror
	work=$cache/unpack-$name
	rm -rf "$work" "$cache/$name"
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/root"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/sources.list"
	cat >"$work/apt.conf" <<-EOF
		Dir::Etc::sourcelist "$work/sources.list";
		Dir::Etc::sourceparts "-";
		Dir::State::lists "$work/lists";
		Dir::Cache "$work/cache";
		APT::Sandbox::User "root";
		APT::Update::Error-Mode "any";
	EOF
	update -c "$work/apt.conf" || die "cannot read Debian's suite $suite from $mirror"
	(cd "$work/debs" && quietly apt-get -c "$work/apt.conf" download "$@") || die "cannot download $* of Debian $suite"
	for deb in "$work"/debs/*.deb; do
		quietly dpkg-deb -x "$deb" "$work/root" || die "cannot unpack ${deb##*/}"
	done
	mv "$work/root" "$cache/$name"
	rm -rf "$work"
}

# unpack_engine VERSION SUITE PACKAGE...
unpack_engine() {
	version=$1 root=$cache/engine-$1
	[ ! -d "$root" ] || return 0
	shift
	unpack "engine-$version.new" "$@"
	said=$("$root.new/usr/sbin/dockerd" --version 2>&1) || true
	case $said in
	*"version $version."*) ;;
	*) die "want Docker Engine $version from Debian $1, its dockerd says: $said" ;;
	esac
	mv "$root.new" "$root"
}

# unpack_systemd makes .cache/systemd, the tree of a Debian 12 whose init is systemd.
unpack_systemd() {
	root=$cache/systemd
	[ ! -d "$root" ] || return 0
	echo "unpacking a Debian 12 with systemd"
	find_mirror
	rm -rf "$root.new"
	quietly debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,sudo \
		bookworm "$root.new" "$mirror" || die "cannot make a tree of Debian 12 from $mirror"
	rm -rf "$root.new/var/cache/apt" "$root.new/var/lib/apt/lists"
	mv "$root.new" "$root"
}

# Debian 13's runc needs a newer libc: both engines use Debian 12's.
unpack_engine 20.10 bookworm docker.io containerd tini runc
unpack_engine 26.1 trixie docker.io docker-cli containerd tini
unpack_systemd

# A cron of the tests' own: an installed one would run on the machine.
[ -d "$cache/cron" ] || unpack cron bookworm cron
