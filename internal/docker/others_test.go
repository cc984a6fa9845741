package docker

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostguard/runner"
)

func TestWhatRunsInOtherContainers(t *testing.T) {
	const state = `"State": {"Status": "running", "Running": true}, "HostConfig": {"RestartPolicy": {"Name": "no"}}`
	c, d := strings.Repeat("c", 64), strings.Repeat("d", 64)
	engine := daemon(t, map[string]string{
		"/containers/json": `[
			{"Id": "a", "Names": ["/gitea-runner"], "Image": "own/image", "State": "running"},
			{"Id": "b", "Names": ["/GITEA-ACTIONS-TASK-3435_WORKFLOW-ci_JOB-web"], "Image": "x", "State": "running"},
			{"Id": "` + c + `", "Names": ["/own"], "Image": "registry:5000/own", "State": "running"},
			{"Id": "` + d + `", "Names": ["/watch"], "Image": "containrrr/watchtower", "State": "running"},
			{"Id": "e", "Names": ["/gone"], "Image": "x", "State": "exited"}]`,
		"/containers/" + c + "/json": `{"Id": "` + c + `", "Name": "/own", ` + state +
			`, "Config": {"Image": "registry:5000/own",
			"Env": ["PATH=/bin"], "Labels": {"autoheal": "true",
			"com.docker.compose.project.config_files": "/a/x.yml,/a/y.yml",
			"com.docker.compose.service": "runner"}}}`,
		"/containers/" + c + "/top": `{"Processes": [["7", "1", "00:10", "00:00", "100", "/opt/act_runner daemon"]]}`,
		"/containers/" + d + "/json": `{"Id": "` + d + `", "Name": "/watch", ` + state +
			`, "Config": {"Image": "containrrr/watchtower",
			"Cmd": ["--cleanup"], "Env": ["WATCHTOWER_REVIVE_STOPPED=true", "WATCHTOWER_NOTIFICATION_URL=secret"]}}`,
	})
	others, err := engine.Others(t.Context())
	want := []runner.Container{
		{ID: c, Name: "own", Image: "registry:5000/own", Restart: "no", Status: "running", Running: true,
			Processes: [][]string{{"/opt/act_runner", "daemon"}}, Variables: []string{"PATH"},
			Marks:        map[string]string{"autoheal": "true"},
			ComposeFiles: []string{"/a/x.yml", "/a/y.yml"}, ComposeService: "runner"},
		{ID: d, Name: "watch", Image: "containrrr/watchtower", Restart: "no", Status: "running", Running: true,
			Command:   []string{"--cleanup"},
			Variables: []string{"WATCHTOWER_REVIVE_STOPPED", "WATCHTOWER_NOTIFICATION_URL"},
			Settings:  map[string]string{"WATCHTOWER_REVIVE_STOPPED": "true"}},
	}
	if diff := cmp.Diff(want, others); err != nil || diff != "" {
		t.Error(err, diff)
	}
}
