package workflow

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/engine"
)

func docker(t *testing.T, e *engine.Engine, args ...string) string {
	t.Helper()
	out, err := e.Docker(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// nothingLeft expects that hostguard has taken away all that it made.
func nothingLeft(t *testing.T, e *engine.Engine) {
	t.Helper()
	if left := docker(t, e, "network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"); left != "" {
		t.Errorf("left in the Docker daemon: %q", left)
	}
}

func TestFailingJobGivesTheLockBack(t *testing.T) {
	for name, steps := range map[string]string{
		"by the post of the lock action": `
      - uses: wooo/hostguard/lock@v1
      - run: "$LOOK"
      - run: exit 1
`,
		"by a step with always": `
      - uses: wooo/hostguard@v1
        with: { step: acquire-lock }
      - run: "$LOOK"
      - run: exit 1
      - uses: wooo/hostguard@v1
        if: always()
        with: { step: release-lock }
`,
	} {
		t.Run(name, func(t *testing.T) {
			for build, version := range map[string]string{act.Nektos: engine.Old, act.Gitea: engine.New} {
				t.Run(build, func(t *testing.T) {
					t.Parallel()
					e := engine.ForTest(t, version)
					dir := t.TempDir()
					look := filepath.Join(dir, "look")
					writeFile(t, look,
						"#!/bin/sh\n"+
							e.CLI()+" network ls --filter type=custom --format '{{.Name}}' >"+dir+"/held\n", 0o755)
					_, err := run(t, act.Job{Build: build, Repository: "wooo/site", Workflow: `
on: push
jobs:
  build:
    runs-on: awoooi-host
    steps:` + steps, Env: []string{"DOCKER_HOST=" + e.Host(), "LOOK=" + look}})
					if err == nil {
						t.Error("the job did not fail")
					}
					if held, err := os.ReadFile(filepath.Join(dir, "held")); string(held) != "awoooi-cd-docker-build-lock\n" {
						t.Errorf("the job held %q: %v", held, err)
					}
					nothingLeft(t, e)
				})
			}
		})
	}
}

// TestInterruptedLockAction ends the one-line lock while it waits, as runners
// and service managers do: its ticket has to go with it.
func TestInterruptedLockAction(t *testing.T) {
	e := engine.ForTest(t, engine.New)
	for name, interrupt := range map[string]struct {
		send   func(node int) error
		status int
	}{
		"the process, by GitHub's runner": {func(node int) error { return syscall.Kill(node, syscall.SIGINT) }, 130},
		"the cgroup, by systemd":          {func(node int) error { return syscall.Kill(-node, syscall.SIGTERM) }, 143},
		"the session, by act_runner": {func(node int) error {
			return errors.Join(syscall.Kill(node, syscall.SIGKILL), syscall.Kill(-node, syscall.SIGHUP))
		}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			held := "held-" + rand.Text()
			docker(t, e, "network", "create", "--config-only", held)
			dir := t.TempDir()
			cmd := exec.Command("node", filepath.Join(exported(t), "lock/main.js"))
			cmd.Env = append(os.Environ(), "INPUT_LOCK-NAME="+held, "DOCKER_HOST="+e.Host(), "RUNNER_TEMP="+dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = cmd.Stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			lines := bufio.NewReader(io.TeeReader(out, &log))
			for line := ""; !strings.Contains(line, "waiting"); {
				if line, err = lines.ReadString('\n'); err != nil {
					t.Fatalf("it does not wait: %v, it said:\n%s", err, log.String())
				}
			}
			if len(queue(t, e, held)) != 1 {
				t.Errorf("tickets while it waits: %q", queue(t, e, held))
			}
			if err := interrupt.send(cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
			// The log ends when the last of them is gone, also where node was killed.
			_, _ = io.Copy(io.Discard, lines)
			_ = cmd.Wait()
			if status := cmd.ProcessState.ExitCode(); status != interrupt.status {
				t.Errorf("status %d, want %d; it said:\n%s", status, interrupt.status, log.String())
			}
			if left := queue(t, e, held); len(left) != 0 {
				t.Errorf("left behind: %q; it said:\n%s", left, log.String())
			}
		})
	}
}

// queue are the networks of a lock's queue.
func queue(t *testing.T, e *engine.Engine, lock string) []string {
	t.Helper()
	sum := sha256.Sum256([]byte(lock))
	prefix := "hg-" + hex.EncodeToString(sum[:8]) + "-"
	return strings.Fields(docker(t, e, "network", "ls", "--filter", "name=^"+prefix, "--format", "{{.Name}}"))
}

// A lock that somebody takes away is not given back to with-lock, but its log
// tells as soon as the next one has it, and the command goes on.
func TestALostLockIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	e := engine.ForTest(t, engine.New)
	cmd := exec.Command("../../bin/hostguard", "with-lock", "-lock-name", "build", "--",
		"sh", "-c", "echo inside >&2; cat; ls /proc/self/fd")
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	said := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("it never said %q", want)
	}
	said("inside")
	docker(t, e, "network", "rm", "build")
	start := time.Now()
	docker(t, e, "network", "create", "--config-only", "build")
	said("was lost while the command runs: somebody took it away, and may build at the same time")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %s to say so", took)
	}
	stdin.Close()
	said("was lost while the command ran")
	if err := cmd.Wait(); err != nil {
		t.Errorf("the command did not go on: %v", err)
	}
	without, err := exec.Command("sh", "-c", "cat </dev/null; ls /proc/self/fd").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), string(without)+"56\n"; got != want { // the socket that marks it
		t.Errorf("the command has the descriptors %q, without hostguard %q", got, without)
	}
	if left := docker(t, e, "network", "ls", "--quiet", "--filter", "name=^build$"); left == "" {
		t.Error("the next holder's entry was removed")
	}
}
