package gitea

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hostguard/e2e/rig/engine"
)

// startContainers starts a runner whose jobs run in containers that have the machine's
// /usr, a directory, and nothing else.
func startContainers(t *testing.T, program, name, dir, config string) (*engine.Engine, string) {
	t.Helper()
	docker := engine.ForTest(t, engine.New)
	if err := docker.ImportEmpty("empty"); err != nil {
		t.Fatal(err)
	}
	config += "container:\n  network: none\n" +
		"  options: -v /usr:/usr:ro -v " + dir + ":" + dir + "\n  valid_volumes: [/usr, " + dir + "]\n"
	r, err := Register(server, program, name, []string{name + ":docker://empty"}, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Stop() })
	r.Env = []string{"DOCKER_HOST=" + docker.Host()}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if err := wooo.CreateRepository(name, false); err != nil {
		t.Fatal(err)
	}
	return docker, "wooo/" + name
}

// A cancel reaches no process in a container: it ends with the container. The new
// runner runs its last steps beside it.
func TestAContainerOfACancelledJob(t *testing.T) {
	t.Parallel()
	for program, name := range map[string]string{
		ActRunner:   `^GITEA-ACTIONS-TASK-\d+_WORKFLOW-ci_JOB-build$`,
		GiteaRunner: `^GITEA-ACTIONS-TASK-\d+-WORKFLOW-ci-JOB-build-[0-9a-f]{64}$`,
	} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			docker, repo := startContainers(t, program, "container-"+program, dir, "")
			files := job("container-"+program,
				"run: echo $RUNNER_TEMP $PWD >"+dir+"/in; exec sleep 321",
				"if: always()\nrun: cat /proc/[0-9]*/cmdline | tr '\\0' ' ' >"+dir+"/beside")
			files[".gitea/workflows/ci.yaml"] = "name: ci\n" + files[".gitea/workflows/ci.yaml"]
			run := run(t, repo, files)
			eventually(t, "step at work", func() bool { return exists(dir + "/in") })
			got, err := docker.Docker("ps", "--format", "{{.Names}}")
			if err != nil || !regexp.MustCompile(name).MatchString(got) {
				t.Errorf("the container is %q, want %s, %v", got, name, err)
			}
			if err := wooo.Cancel(repo, run.ID); err != nil {
				t.Fatal(err)
			}
			eventually(t, "removal of the container", func() bool {
				left, err := docker.Docker("ps", "--all", "--quiet")
				return err == nil && left == ""
			})
			in, _ := os.ReadFile(filepath.Join(dir, "in"))
			if string(in) != "/tmp /workspace/"+repo+"\n" {
				t.Errorf("RUNNER_TEMP and working directory: %q", in)
			}
			beside, err := os.ReadFile(filepath.Join(dir, "beside"))
			if ran := err == nil; ran != (program == GiteaRunner) || ran && !strings.Contains(string(beside), "sleep 321") {
				t.Errorf("the last step has run: %v, beside %q", ran, beside)
			}
		})
	}
}

// A hook that is there on the host only fails the job of a container.
func TestAHookRunsInTheContainer(t *testing.T) {
	t.Parallel()
	inside, outside := t.TempDir(), t.TempDir()
	for _, dir := range []string{inside, outside} {
		script := []byte("#!/bin/sh\necho \"the hook in $(pwd)\"\n")
		if err := os.WriteFile(filepath.Join(dir, "hook"), script, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct{ dir, conclusion, want string }{
		"mounted": {inside, "success", "the hook in /workspace/wooo/hook-mounted"},
		"host":    {outside, "failure", "126"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, repo := startContainers(t, GiteaRunner, "hook-"+name, inside, "  hooks: {job_completed: "+c.dir+"/hook}\n")
			run := run(t, repo, job("hook-"+name, "run: echo the step"))
			log := ended(t, repo, run.ID, c.conclusion)
			has(t, log, "the step", c.want)
		})
	}
}
