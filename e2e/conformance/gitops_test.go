package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"hostguard/e2e/rig/contend"
)

// The example of a GitOps repository pushes under a lock of a real Gitea, and a job that has
// lost that lock pushes nothing.
func TestAJobThatLostItsLockPushesNothing(t *testing.T) {
	t.Parallel()
	_, store := startGitea(t)
	binary, err := contend.Hostguard()
	if err != nil {
		t.Fatal(err)
	}
	repository := filepath.Join(t.TempDir(), "gitops.git")
	run := func(name string, args ...string) (string, int) {
		cmd := exec.Command(name, args...)
		cmd.Dir = t.TempDir()
		cmd.Env = store.Environ("HOSTGUARD_LOCK_BACKEND=gitea", "REPOSITORY="+repository, "GITHUB_SHA=0123abcd",
			"PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), contend.Status(err)
	}
	made := `git init --quiet --bare --initial-branch main "$REPOSITORY" && git clone --quiet "$REPOSITORY" new &&
		cd new && git -c user.name=ci -c user.email=ci@example.com commit --quiet --allow-empty --message begin &&
		git push --quiet origin HEAD:main`
	if out, status := run("sh", "-c", made); status != 0 {
		t.Fatal(out)
	}
	push := pushOf(t)
	for _, job := range []struct {
		what, script string
		status       int
	}{
		{"holds the lock", `FENCE=$HOSTGUARD_FENCE; export FENCE; ` + push, 0},
		{"holds it later", `FENCE=$HOSTGUARD_FENCE; export FENCE; ` + push, 0},
		{"has lost it", `FENCE=1; export FENCE; ` + push, 1},
	} {
		out, status := run(binary, "with-lock", "-lock-name", "gitops-deploy", "--", "sh", "-ec", job.script)
		if status != job.status {
			t.Errorf("a job that %s: status %d: %s", job.what, status, out)
		}
	}
	if log, _ := run("git", "-C", repository, "log", "--oneline", "main"); strings.Count(log, "Deploy 0123abcd") != 2 {
		t.Errorf("pushed: %s", log)
	}
}

// pushOf returns the commands of the example's last step.
func pushOf(t *testing.T) string {
	data, err := os.ReadFile("../../examples/workflows/gitops.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs struct {
			Deploy struct{ Steps []struct{ Name, Run string } }
		}
	}
	if err := yaml.Unmarshal(data, &workflow); err != nil {
		t.Fatal(err)
	}
	steps := workflow.Jobs.Deploy.Steps
	if len(steps) == 0 || steps[len(steps)-1].Name != "push" {
		t.Fatalf("the example's steps are %v", steps)
	}
	return steps[len(steps)-1].Run
}
