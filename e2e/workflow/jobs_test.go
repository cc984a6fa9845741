package workflow

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostguard/e2e/rig/act"
)

// TestJobDirectoryOfAKilledRunnerIsRemoved kills the engine in the middle of a
// job: its directory stays, the step works on in it, and clean-diag removes it once
// that has ended, and nothing of what jobs share.
func TestJobDirectoryOfAKilledRunnerIsRemoved(t *testing.T) {
	underBothActs(t, func(t *testing.T, build string) {
		cache, signs := t.TempDir(), t.TempDir()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = run(t, act.Job{Build: build, Repository: "wooo/site", Workflow: `
on: push
jobs:
  build:
    runs-on: awoooi-host
    steps:
      - run: |
          echo $PPID >` + signs + `/runner
          echo "$RUNNER_TEMP" >` + signs + `/temp.new && mv ` + signs + `/temp.new ` + signs + `/temp
          setsid --wait sh -c 'echo $$ >` + signs + `/pid; trap "" HUP; while [ -e ` + signs + `/temp ]; ` +
				`do sleep 0.05; done' </dev/null >/dev/null 2>&1
`, Runner: []string{"XDG_CACHE_HOME=" + cache}})
		}()
		sign := func(name string) string {
			data, _ := os.ReadFile(filepath.Join(signs, name))
			return strings.TrimSpace(string(data))
		}
		for sign("pid") == "" {
			select {
			case <-ended:
				t.Fatal("the job ended before its step had started")
			case <-time.After(20 * time.Millisecond):
			}
		}
		temp := sign("temp")
		job := filepath.Dir(temp)
		parent := filepath.Dir(job)
		if err := os.MkdirAll(filepath.Join(parent, "tool_cache"), 0o755); err != nil {
			t.Fatal(err)
		}
		clean := func() string {
			cmd := exec.Command(filepath.Join(exported(t), "dist", distName), "clean-diag", "-jobs", "-runner-root", parent)
			cmd.Env = []string{"HOME=/no-home", "PATH=" + os.Getenv("PATH")}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("clean-diag: %v", err)
			}
			return string(out)
		}
		if said := clean(); !exists(job) {
			t.Fatalf("the directory of a job that goes on is gone:\n%s", said)
		}
		runner, err := strconv.Atoi(sign("runner"))
		if err == nil {
			err = syscall.Kill(runner, syscall.SIGKILL)
		}
		if err != nil {
			t.Fatal(err)
		}
		<-ended
		// Runners of other tests may be older than this job.
		if yesterday := time.Now().AddDate(0, 0, -1); os.Chtimes(job, yesterday, yesterday) != nil {
			t.Fatalf("the directory of a killed runner's job is gone: %s", job)
		}
		if said := clean(); !exists(job) || !strings.Contains(said, "keep ") {
			t.Errorf("the step of a killed runner works on, and its directory is gone:\n%s", said)
		}
		os.Remove(filepath.Join(signs, "temp"))
		if !firstPIDNamespace(t) {
			if said := clean(); !exists(job) || !strings.Contains(said, "this is a container with processes of its own") {
				t.Errorf("not all processes can be seen, and the directory is gone:\n%s", said)
			}
			return
		}
		said := clean()
		for end := time.Now().Add(2 * time.Minute); exists(job) && time.Now().Before(end); {
			said = clean() // until its process has ended
		}
		if exists(job) || !exists(filepath.Join(parent, "tool_cache")) {
			t.Errorf("the job's directory is there: %v\n%s", exists(job), said)
		}
	})
}

// firstPIDNamespace reports whether the tests see all processes of the machine;
// those of "docker run" or "unshare --pid" do not.
func firstPIDNamespace(t *testing.T) bool {
	t.Helper()
	name, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	return name == "pid:[4026531836]" // PROC_PID_INIT_INO of Linux
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
