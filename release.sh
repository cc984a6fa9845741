#!/bin/sh
# Makes a release of the last commit: two tags in this repository, and dist/.
#
#   v1.0.0            the commit and dist/, with the binaries: nothing else needed
#   v1.0.0-download   the commit and only the sums of the binaries, which the
#                     action then fetches from HOSTGUARD_URL
#
# dist/ has packages and the image as well, for a release's page: no clone of the
# action needs them. With HOSTGUARD_SIGN_KEY, the file of a secret key of minisign,
# SHA256SUMS is signed, and both tags have its signature.
#
# Neither has this repository's own workflows: a server runs those of whatever is
# pushed to it, and they would run on the host of whoever adopts hostguard. Each
# follows the last commit and the release before it, so that a branch that is moved
# from release to release is never rewritten.
#
# Nothing of the working tree gets in, and nothing that differs between two
# machines or in what their git and Go are set to: whoever runs this on the same
# commit with the same Go and the earlier tags gets the same bytes, and whoever has
# the same key the same tags.
set -eu
cd "$(dirname "$0")"

die() {
	echo "release.sh: $*" >&2
	exit 1
}

# previous KIND prints the newest tag of an earlier version, if there is one; KIND
# is what such a tag ends in.
previous() {
	{ git tag --list && echo "v$version$1"; } | grep -x "v[0-9]*\.[0-9]*\.[0-9]*$1" | sort -uV |
		grep -xB 1 "v$version$1" | grep -vx "v$version$1" || :
}

head=$(git rev-parse --verify HEAD) || die "a release is made of a commit, in a git checkout"
[ -z "$(git status --porcelain)" ] || die "there are changes without a commit; commit or remove them: git status"
version=$(cat VERSION)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -c core.autocrlf=false archive HEAD | tar -x -C "$work"
# dist last: its sums are of all that is there.
make -C "$work" --no-print-directory COMMIT="$head" SOURCE_DATE_EPOCH="$(git show -s --format=%ct HEAD)" sbom packages image dist
if [ -n "${HOSTGUARD_SIGN_KEY:-}" ]; then
	key=$(readlink -f -- "$HOSTGUARD_SIGN_KEY") && [ -f "$key" ] || die "HOSTGUARD_SIGN_KEY names no file: $HOSTGUARD_SIGN_KEY"
	# The version is signed too: an old dist is then none of a newer release.
	(cd "$work" && go tool -modfile=tools.mod minisign -S -s "$key" -m dist/SHA256SUMS -t "hostguard $version") ||
		die "cannot sign with the key $HOSTGUARD_SIGN_KEY: want a secret key as \"minisign -G\" makes it"
fi
rm -rf dist
mv "$work/dist" .

# tag KIND FILE... names a commit that is HEAD without workflows and with these files.
tag() {
	name=v$version$1 before=$(previous "$1")
	shift
	export GIT_INDEX_FILE="$work/index"
	git read-tree HEAD
	git rm -r --cached --quiet --ignore-unmatch -- .gitea/workflows .github/workflows .forgejo/workflows
	git -c core.autocrlf=false -c core.fileMode=true add -f -- "$@"
	GIT_AUTHOR_NAME=hostguard GIT_AUTHOR_EMAIL=hostguard@localhost GIT_AUTHOR_DATE=$(git show -s --format=%cI HEAD)
	GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
	export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_COMMITTER_DATE
	commit=$(git -c i18n.commitEncoding=UTF-8 commit-tree -p HEAD ${before:+-p "$before"} -m "Release $name" "$(git write-tree)")
	unset GIT_INDEX_FILE
	is=$commit
	git -c tag.gpgSign=false tag "$name" "$commit" 2>"$work/log" || is=$(git rev-parse --quiet --verify "refs/tags/$name") ||
		die "cannot make the tag $name: $(cat "$work/log")"
	[ "$is" = "$commit" ] || die "the tag $name is of another release: raise VERSION; old runners keep what a moved tag was"
	echo "$name is $commit"
}
tag "" dist ':!dist/*.deb' ':!dist/*.rpm' ':!dist/*.apk' ':!dist/*.tar'
set -- dist/SHA256SUMS*
tag -download "$@"

cat <<-EOF
	dist/ has the files of the release. Push the tag, and the same as a branch, without
	which runners clone nothing. Push no other: this one has workflows that would run there.
	  git push YOUR_GITEA v$version:refs/heads/main v$version
EOF
