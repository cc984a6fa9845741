package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// exhausted are ways in which nothing can be put into a directory that is mounted: a shell's
// function "spoil DIR", which keeps what is there.
var exhausted = map[string]string{
	"full":             `spoil() { ! cat /dev/zero >"$1/filler" 2>/dev/null; }`,
	"without an inode": `spoil() { ! touch "$1"/filler-{1..60} 2>/dev/null; }`,
	"read-only":        `spoil() { mount -o remount,ro "$1"; }`,
	"noexec":           `spoil() { mount -o remount,noexec "$1"; }`,
}

// onSpoiled runs a script in mounts of its own: $W is a directory with the program in
// $W/bin, which is on the PATH, and with small file systems in $W/small, /tmp and
// /run/lock; "kept STATUS COMMAND" fails unless the command ends with that status and one
// line says why, if it is not 0.
func onSpoiled(t *testing.T, how, script string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root mounts")
	}
	base, err := os.MkdirTemp("/var/tmp", "exhausted")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = errors.Join(os.Mkdir(filepath.Join(base, "bin"), 0o755), os.Mkdir(filepath.Join(base, "small"), 0o755),
			os.WriteFile(filepath.Join(base, "bin/hostguard"), self, 0o755)) // TestMain makes it the real main
	}
	if err != nil {
		t.Fatal(err)
	}
	const setup = `
set -eu
for dir in /run/lock /tmp "$W/small"; do
	mount -t tmpfs -o size=64k,nr_inodes=40,mode=1777 tmpfs "$dir"
done
mkdir -m 0777 /run/lock/hostguard
mkdir -p "$RUNNER_TEMP" # of the job, which a release knows its lock by
kept() {
	want=$1 got=0
	shift
	output=$("$@" 2>&1) || got=$?
	printf '%s\n' "$output"
	[ "$got" = "$want" ] || { echo "WRONG: status $got of $*"; exit 1; }
	[ "$got" = 0 ] || printf '%s\n' "$output" | tail -n 1 | grep -q '^\(::error::\|::warning::\)\{0,1\}hostguard: ' ||
		{ echo "WRONG: no line says why: $*"; exit 1; }
}
unlocked() {
	hostguard status | grep '"spoiled": free' >/dev/null || { echo "WRONG: held"; exit 1; }
}
`
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "bash", "-c",
		setup+exhausted[how]+"\n"+script)
	cmd.Dir = base
	cmd.Env = []string{"W=" + base, "PATH=" + base + "/bin:" + os.Getenv("PATH"), "TMPDIR=/tmp", "HOME=/root",
		"RUNNER_TEMP=" + base + "/0123456789abcdef/tmp",
		"HOSTGUARD_LOCK_BACKEND=file", "HOSTGUARD_LOCK_NAME=spoiled", "DOCKER_HOST=unix:///nowhere",
		"GORACE=atexit_sleep_ms=0"}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "WRONG") {
		t.Errorf("%v:\n%s", err, out)
	}
	return string(out)
}

func TestNoCommandNeedsSpaceForTemporaryFiles(t *testing.T) {
	for how := range exhausted {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			onSpoiled(t, how, `
spoil /tmp
kept 0 hostguard acquire-lock -timeout 30s
kept 0 hostguard status
kept 0 hostguard release-lock
kept 0 hostguard with-lock -timeout 30s -- true
kept 0 hostguard clean-diag -mode hard-fail
kept 0 hostguard wait-pressure -mode hard-fail -patterns 'no such build'
kept 0 hostguard install -apply -prefix "$W/opt"
kept 0 "$W/opt/bin/hostguard" version
unlocked`)
		})
	}
}

func TestAnExhaustedLockDirectoryIsHeldByNobody(t *testing.T) {
	for how := range exhausted {
		if how == "noexec" {
			continue // nothing is run there
		}
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			release := `kept 0 hostguard release-lock
unlocked`
			if how == "read-only" { // which no release can change
				release = "mount -o remount,rw /run/lock\n" + release
			}
			out := onSpoiled(t, how, `
kept 0 hostguard acquire-lock -timeout 30s
kept 0 hostguard release-lock
spoil /run/lock
kept 3 hostguard acquire-lock -timeout 5s
kept 125 hostguard with-lock -timeout 5s -- touch "$W/ran"
[ ! -e "$W/ran" ] || echo WRONG: it ran
mount -o remount,rw /run/lock # full is full all the same
unlocked
ls -A /run/lock/hostguard | grep -v '^guard$' && echo WRONG: left
rm -f /run/lock/filler*
kept 0 hostguard acquire-lock -timeout 30s
spoil /run/lock
`+release)
			if !strings.Contains(out, map[string]string{"read-only": "read-only file system"}[how]) ||
				how != "read-only" && !strings.Contains(out, "no space left on device") {
				t.Errorf("it does not say why:\n%s", out)
			}
		})
	}
}

// What the runner reads of a step is on a disk of its own.
func TestALockThatTheRunnerIsNotToldOfIsGivenBack(t *testing.T) {
	for how := range exhausted {
		if how == "noexec" {
			continue
		}
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			onSpoiled(t, how, `
export GITHUB_ACTIONS=true GITHUB_OUTPUT=$W/small/output GITHUB_ENV=$W/small/env GITHUB_STATE=$W/small/state \
	GITHUB_STEP_SUMMARY=$W/small/summary
: >"$W/small/output" && : >"$W/small/env" && : >"$W/small/state" && : >"$W/small/summary"
spoil "$W/small"
if [ -e "$W/small/filler" ] || ! (: >>"$W/small/output") 2>/dev/null; then
	kept 3 hostguard acquire-lock -timeout 10s
	unlocked
	unset GITHUB_OUTPUT GITHUB_ENV GITHUB_STATE GITHUB_STEP_SUMMARY
fi
kept 0 hostguard acquire-lock -timeout 10s
export GITHUB_OUTPUT=$W/small/output GITHUB_ENV=$W/small/env GITHUB_STATE=$W/small/state
kept 0 hostguard release-lock
unlocked`)
		})
	}
}

// A program on a full disk is the old one or none.
func TestAnInstallOnAFullDiskLeavesNothingHalf(t *testing.T) {
	for how := range exhausted {
		if how == "noexec" {
			continue // it is what its owner wants
		}
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			onSpoiled(t, how, `
mkdir -p "$W/small/bin"
chmod 755 "$W/small"
printf '#!/bin/sh\n# Written by hostguard install.\n' >"$W/small/bin/hostguard"
cp "$W/small/bin/hostguard" "$W/old"
spoil "$W/small"
kept 3 hostguard install -apply -prefix "$W/small"
cmp "$W/old" "$W/small/bin/hostguard" || echo WRONG: changed
[ "$(ls -A "$W/small/bin")" = hostguard ] || { ls -A "$W/small/bin"; echo WRONG: left; }`)
		})
	}
}
