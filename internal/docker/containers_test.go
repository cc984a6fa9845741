package docker

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostguard/runner"
)

func TestRunnersAndJobsAmongTheContainers(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	sum := strings.Repeat("0a", 32)
	forgejos := "FORGEJO-ACTIONS-TASK-49_WORKFLOW-" + sum + "_JOB-build"
	news := "GITEA-ACTIONS-TASK-49-WORKFLOW-ct-JOB-build-" + sum
	answers := map[string]string{
		"/containers/json": `[
			{"Id": "a", "Names": ["/gitea-runner"], "Image": "own/image", "State": "exited"},
			{"Id": "b", "Names": ["/other"], "Image": "docker.io/gitea/act_runner:0.2.13", "State": "running"},
			{"Id": "c", "Names": ["/GITEA-ACTIONS-TASK-3435_WORKFLOW-ci_JOB-frontend"], "State": "running"},
			{"Id": "d", "Names": ["/GITEA-ACTIONS-TASK-3434_WORKFLOW-ci_JOB-old"], "Image": "x", "State": "exited"},
			{"Id": "e", "Names": ["/gone"], "Image": "act_runner", "State": "running"},
			{"Id": "f", "Names": ["/postgres"], "Image": "postgres", "State": "running"},
			{"Id": "g", "Names": ["/` + forgejos + `"], "Image": "x", "State": "paused"},
			{"Id": "h", "Names": ["/` + forgejos + `-service-db"], "Image": "x", "State": "running"},
			{"Id": "i", "Names": ["/` + news + `"], "Image": "x", "State": "running"}]`,
		"/containers/a/json": `{"Id": "` + a + `", "Name": "/gitea-runner", "State": {"Status": "exited"}, ` +
			`"HostConfig": {"RestartPolicy": {"Name": ""}}, ` +
			`"Mounts": [{"Source": "/srv/act-runner", "Destination": "/data"}]}`,
		"/containers/b/json": `{"Id": "` + b + `", "Name": "/other", ` +
			`"State": {"Status": "running", "Running": true}, ` +
			`"HostConfig": {"RestartPolicy": {"Name": "always"}},
			"Config": {"Env": ["GITEA_RUNNER_REGISTRATION_TOKEN=secret", "GITEA_RUNNER_LABELS=a:host,b"]}}`,
	}
	engine := daemon(t, answers)
	runners, active, err := engine.Runners(t.Context())
	want := []runner.Container{
		{ID: a, Name: "gitea-runner", Restart: "no", Status: "exited", Mounts: []string{"/srv/act-runner"}},
		{ID: b, Name: "other", Restart: "always", Status: "running", Running: true, Labels: []string{"a:host", "b"},
			Variables: []string{"GITEA_RUNNER_REGISTRATION_TOKEN", "GITEA_RUNNER_LABELS"}},
	}
	tasks := []string{forgejos, forgejos + "-service-db", "GITEA-ACTIONS-TASK-3435_WORKFLOW-ci_JOB-frontend", news}
	if diff := cmp.Diff(want, runners) + cmp.Diff(tasks, active); err != nil || diff != "" {
		t.Error(err, diff)
	}
}
