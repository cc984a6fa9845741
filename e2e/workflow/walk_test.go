package workflow

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newcomer is how long a newcomer's walk may take, from the clone to the job that waits.
const newcomer = 10 * time.Minute

// TestANewcomersWalk types the commands of docs/walk.md on a host with nothing but the
// programs of this one, Go's modules and a Gitea, and expects what it says "You see". A hook
// of the Gitea's repositories stands for the runner: it runs the workflow of a push with
// the runner's engine.
func TestANewcomersWalk(t *testing.T) {
	t.Parallel()
	const gitea = "http://127.0.0.1:3000"
	steps := stepsOf(t, string(readFile(t, "../../docs/walk.md")), 8)
	source := t.TempDir()
	repository(t, source)
	env, err := exec.Command("go", "env", "GOROOT", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	golang, modules, _ := strings.Cut(strings.TrimSpace(string(env)), "\n")
	h := newHost(t, source, "--volume", golang+":/opt/go:ro", "--volume", modules+":/opt/modules:ro",
		"--env", "PATH=/opt/go/bin:/usr/local/bin:/usr/bin:/bin", "--env", "GOMODCACHE=/opt/modules",
		"--env", "GOPROXY=off", "--env", "GOTOOLCHAIN=local")
	h.sh("gitea", fmt.Sprintf(`
		git config --global url.%s/.insteadOf https://gitea.example.com/
		git config --global url.%s/.pushInsteadOf https://gitea.example.com/
		git config --global user.name ci; git config --global user.email ci@localhost
		git config --global safe.directory '*'
		git clone --quiet --bare /bundle /srv/wooo/hostguard
		git init --quiet --bare --initial-branch main /srv/wooo/shop
		git init --quiet --bare --initial-branch main /srv/wooo/blog
		until curl --silent %[1]s; do sleep 0.02; done`,
		gitea, strings.Replace(gitea, "//", "//wooo:"+ownerPassword+"@", 1)))

	begin := time.Now()
	step := func(i int) string {
		t.Helper()
		return h.sh(fmt.Sprintf("step %d", i), strings.ReplaceAll(steps[i-1].commands,
			"uses: https://gitea.example.com", "uses: "+gitea))
	}
	steps[0].sees(t, step(1))
	installed := step(2)
	steps[1].sees(t, installed)
	h.addRunner(gitea, runnerConfig(t, installed).Runner.Envs["HOSTGUARD_BIN"])
	steps[2].sees(t, step(3))
	steps[3].sees(t, step(4))
	step(5)
	h.awaitLog("shop", steps[4])
	step(6)
	h.awaitLog("blog", steps[5])
	took := time.Since(begin)
	t.Logf("from the clone to the job that waits: %v", took.Round(time.Second))
	if took > newcomer {
		t.Errorf("the walk took %v, want at most %v", took, newcomer)
	}
	steps[6].sees(t, step(7))
	h.awaitLog("blog", readmeStep{quotes: []string{"acquired lock"}})
	// The observer looks every few seconds.
	h.sh("the observer",
		`timeout 60 sh -c 'until ~/.local/bin/hostguard why -last | grep wooo/blog; do sleep 0.2; done'`)
	steps[7].sees(t, step(8))
}

// addRunner gives each repository a hook that runs its workflow; its log is ~/NAME.log.
func (h host) addRunner(gitea, program string) {
	h.t.Helper()
	h.sh("runner", fmt.Sprintf(`
		cat >/tmp/hook <<'END'
#!/bin/sh
unset $(git rev-parse --local-env-vars)
at=$PWD name=${PWD##*/}
{
	git clone --quiet "$at" /tmp/run-$name && cd /tmp/run-$name
	git remote set-url origin https://github.com/wooo/$name
	exec env -i HOME=/home/ci PATH=/opt/node/bin:/usr/local/bin:/usr/bin:/bin HOSTGUARD_BIN=%q \
		/act -server %s -actions https://github.com -W .gitea/workflows/build.yaml -P ci-host=-self-hosted
} >/home/ci/$name.log 2>&1 </dev/null &
END
		for name in shop blog; do install -m 0755 /tmp/hook /srv/wooo/$name/hooks/post-receive; done`,
		filepath.Clean(program), gitea))
}

// awaitLog waits until the log of a repository's job has what a step quotes.
func (h host) awaitLog(repository string, s readmeStep) {
	h.t.Helper()
	var log string
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		log, _ = h.engine.Docker("exec", "host", "cat", "/home/ci/"+repository+".log")
		if len(s.unseen(log)) == 0 {
			h.t.Logf("log of %s: %s", repository, log)
			return
		}
	}
	h.t.Fatalf("the log of %s has no %q:\n%s", repository, s.unseen(log), log)
}
