#!/bin/sh
# Makes a release of the last commit: two tags in this repository, and dist/.
#
#   v1.0.0            the commit and dist/, with the binaries: nothing else needed
#   v1.0.0-download   the commit and only the sums of the binaries, which the
#                     action then fetches from HOSTGUARD_URL
#
# Nothing of the working tree gets in, and nothing that differs between two
# machines or in what their git and Go are set to: whoever runs this on the same
# commit with the same Go gets the same bytes and the same tags.
set -eu
cd "$(dirname "$0")"

die() {
	echo "release.sh: $*" >&2
	exit 1
}

head=$(git rev-parse --verify HEAD) || die "a release is made of a commit, in a git checkout"
[ -z "$(git status --porcelain)" ] || die "there are changes without a commit; commit or remove them: git status"
version=$(cat VERSION)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -c core.autocrlf=false archive HEAD | tar -x -C "$work"
# sbom before dist, whose sums are of all that is there.
make -C "$work" --no-print-directory COMMIT="$head" sbom dist
rm -rf dist
mv "$work/dist" .

# tag NAME FILE... names a commit that is HEAD and these files.
tag() {
	name=$1
	shift
	export GIT_INDEX_FILE="$work/index"
	git read-tree HEAD
	git -c core.autocrlf=false -c core.fileMode=true add -f -- "$@"
	GIT_AUTHOR_NAME=hostguard GIT_AUTHOR_EMAIL=hostguard@localhost GIT_AUTHOR_DATE=$(git show -s --format=%cI HEAD)
	GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
	export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_COMMITTER_DATE
	commit=$(git -c i18n.commitEncoding=UTF-8 commit-tree -p HEAD -m "Release $name" "$(git write-tree)")
	unset GIT_INDEX_FILE
	is=$commit
	git -c tag.gpgSign=false tag "$name" "$commit" 2>"$work/log" || is=$(git rev-parse --quiet --verify "refs/tags/$name") ||
		die "cannot make the tag $name: $(cat "$work/log")"
	[ "$is" = "$commit" ] || die "the tag $name is of another release: raise VERSION; old runners keep what a moved tag was"
	echo "$name is $commit"
}
tag "v$version" dist
tag "v$version-download" dist/SHA256SUMS

cat <<-EOF
	dist/ has the files of the release. Push the tag, and a branch for those who look:
	  git push YOUR_GITEA HEAD:main v$version
EOF
