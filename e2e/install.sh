#!/bin/sh
# Puts in place what the tests need, or with "demo" what the demo needs, on a
# machine that has git and Go, and does nothing where it is there already.
#
# Node and both Docker engines are unpacked into .cache of this checkout: those
# of the machine are neither needed nor touched, and no service is installed or
# started.
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
	quietly apt-get "$@" update 2>/dev/null || quietly apt-get "$@" update
}

# older A B tells whether version A is older than B.
older() {
	[ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# want_go checks Go itself: all else is built, or brought, with it. A Go that may
# fetch the toolchain of go.mod says here that it is that one.
want_go() {
	wanted=$(sed -n 's/^go //p' go.mod)
	command -v go >/dev/null || die "no Go on PATH: install Go $wanted or newer"
	have=$(go env GOVERSION 2>"$log") || have=$(GOTOOLCHAIN=local go version | cut -d ' ' -f 3)
	case $have in
	go[0-9]*) ! older "${have#go}" "$wanted" || die "$have is too old: install Go $wanted or newer" ;;
	esac
}

# node_is tells whether the Node on PATH has at least a version, and npm with it.
node_is() {
	command -v npm >/dev/null && have=$(node --version 2>/dev/null) && ! older "${have#v}" "$1"
}

# as_root runs a command with root's rights over files that are this user's.
as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else unshare --map-root-user "$@"; fi
}

# bring_node makes .cache/node of packages of npm, pinned in e2e/rig/npm/node. Where
# there is no npm to fetch them, Debian's does it, in a tree of its own that is
# removed again: nothing is installed on the machine, and no root is needed.
bring_node() {
	wanted=$1
	node_is "$wanted" && return
	PATH=$cache/node/bin:$PATH
	node_is "$wanted" && cmp -s e2e/rig/npm/node/package-lock.json "$cache/node/package-lock.json" && return
	how="install Node $wanted or newer with npm, then run this again"
	command -v npm >/dev/null || command -v apt-get >/dev/null ||
		die "no Node $wanted or newer here, and no apt-get to bring it: install it with npm, then run this again"
	echo "bringing Node 24 into .cache/node: 210 MB"
	tree=$cache/unpack-npm
	rm -rf "$tree" "$cache/node"
	mkdir -p "$tree/node" "$tree/tmp"
	cp e2e/rig/npm/node/package*.json "$tree/node"
	ci="ci --ignore-scripts --no-audit --no-fund"
	# shellcheck disable=SC2086 # a list of arguments
	if command -v npm >/dev/null; then
		quietly npm --prefix "$tree/node" --cache "$tree/tmp" $ci || die "npm cannot fetch Node: $how"
	else
		unpack_npm || die "cannot unpack Debian's npm to fetch Node with: $how"
		quietly as_root env HOME=/root chroot "$tree" /usr/bin/node /usr/share/nodejs/npm/bin/npm-cli.js \
			--prefix /node --cache /tmp $ci || die "npm cannot fetch Node: $how"
	fi
	mkdir "$tree/node/bin"
	(
		cd "$tree/node/bin"
		ln -s ../node_modules/node-linux-*/bin/node node
		ln -s ../node_modules/npm/bin/npm-cli.js npm
		ln -s ../node_modules/npm/bin/npx-cli.js npx
	)
	mv "$tree/node" "$cache/node"
	rm -rf "$tree"
	node_is "$wanted" || die "the Node in .cache/node does not run here: $how"
}

# unpack_npm unpacks Debian's npm, with all that it needs, into $tree.
unpack_npm() {
	mkdir -p "$tree/lists/partial" "$tree/archives/partial" "$tree/etc/ssl" "$tree/root" "$tree/tmp" "$tree/dev"
	: >"$tree/status" >"$tree/dev/null"
	cat >"$tree/apt.conf" <<-EOF
		Dir::State "$tree";
		Dir::State::status "$tree/status";
		Dir::Cache "$tree";
		APT::Sandbox::User "root";
		Debug::NoLocking "true";
	EOF
	update -c "$tree/apt.conf" || return
	quietly apt-get -c "$tree/apt.conf" install -y --download-only --no-install-recommends nodejs npm || return
	for deb in "$tree"/archives/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tree" --no-same-owner || return
		rm "$deb"
	done
	# What the machine knows of the network and of npm's registry.
	cp -L /etc/resolv.conf /etc/hosts "$tree/etc/" 2>/dev/null || :
	cp -rL /etc/ssl/certs "$tree/etc/ssl/" || return
	[ ! -f "$HOME/.npmrc" ] || cp "$HOME/.npmrc" "$tree/root/"
}

missing=
need() { # COMMAND PACKAGE...
	command -v "$1" >/dev/null && return
	shift
	missing="$missing $*"
}

want_go
case ${1:-} in
demo)
	bring_node 18.0
	exit
	;;
esac
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
need minisign minisign
need openssl openssl
need mandoc mandoc
need chromium chromium
ldconfig -p >"$log"
grep -q 'libdevmapper\.so\.1\.02\.1 ' "$log" || missing="$missing libdevmapper1.02.1"
grep -q 'libseccomp\.so\.2 ' "$log" || missing="$missing libseccomp2"
if [ -n "$missing" ]; then
	command -v apt-get >/dev/null || die "no apt-get to install$missing with"
	echo "installing$missing"
	update || echo "e2e/install.sh: apt-get update failed, trying with the lists that are there" >&2
	# --no-remove: nothing of the machine's own may have to go.
	# shellcheck disable=SC2086 # a list of names
	DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends --no-remove \
		-o DPkg::Lock::Timeout=300 $missing || die "cannot install$missing"
fi
bring_node 22.15 # what e2e/builds asks for most; npm checks each of its packages

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

# promtool checks the observer's metrics; the package would start Prometheus on the machine.
[ -d "$cache/prometheus" ] || unpack prometheus bookworm prometheus
