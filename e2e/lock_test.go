package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"hostguard/e2e/act"
	"hostguard/e2e/engine"
)

// startEngine starts a private engine for one test.
func startEngine(t *testing.T, version string) *engine.Engine {
	t.Helper()
	e, err := engine.Start(version)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	return e
}

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
					e := startEngine(t, version)
					dir := t.TempDir()
					look := filepath.Join(dir, "look")
					err := os.WriteFile(look, []byte("#!/bin/sh\n"+e.CLI()+" network ls --filter type=custom --format '{{.Name}}' >"+dir+"/held\n"), 0o755)
					if err != nil {
						t.Fatal(err)
					}
					_, err = run(t, act.Job{Build: build, Repository: "wooo/site", Workflow: `
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
