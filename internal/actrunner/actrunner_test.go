package actrunner

import (
	"strings"
	"testing"
)

func TestRoleOfAProgram(t *testing.T) {
	for path, want := range map[string]Role{
		"/usr/local/bin/act_runner":                       Daemon,
		"/opt/act_runner-0.2.11-linux-amd64":              Daemon,
		"/opt/act_runner-v0.3.0-linux-arm64":              Daemon,
		"gitea-runner_3.1.0":                              Daemon,
		"/usr/bin/gitea-runner (deleted)":                 Daemon,
		"/opt/gitea-runner-nightly-linux-amd64":           Daemon,
		"/usr/bin/forgejo-runner":                         Daemon,
		"/nix/store/x-act_runner/bin/.act_runner-wrapped": Daemon,
		"/srv/act_runner.old":                             Daemon,
		"/r/bin/Runner.Listener":                          Listener,
		"/r/bin/Runner.Worker":                            Worker,
		"/r/bin/Runner.Worker (deleted)":                  Worker,
		"/usr/bin/act_runner_exporter":                    NoRunner,
		"/usr/bin/act_runner-watchdog":                    NoRunner,
		"/usr/bin/my_act_runner":                          NoRunner,
		"/usr/bin/act_runners":                            NoRunner,
		"/usr/bin/node":                                   NoRunner,
		"":                                                NoRunner,
	} {
		if got := RoleOf(path); got != want {
			t.Errorf("RoleOf(%q) = %d, want %d", path, got, want)
		}
	}
}

func TestTaskOfAContainer(t *testing.T) {
	sum := strings.Repeat("0a", 32)
	for name, want := range map[string]Task{
		"GITEA-ACTIONS-TASK-49_WORKFLOW-ct_JOB-build":                    {"49", "ct", "build"},
		"GITEA-ACTIONS-TASK-49-WORKFLOW-ct-JOB-build-" + sum:             {"49", "ct", "build"},
		"GITEA-ACTIONS-TASK-49-WORKFLOW-code-review-JOB-a-b-" + sum:      {"49", "code-review", "a-b"},
		"GITEA-ACTIONS-TASK-7-WORKFLOW-a-name-cut-before-its-job-" + sum: {"7", "a-name-cut-before-its-job", ""},
		"GITEA-ACTIONS-TASK-7-" + sum:                                    {"7", "", ""},
		"GITEA-ACTIONS-TASK-7":                                           {"7", "", ""},
		"FORGEJO-ACTIONS-TASK-8_WORKFLOW-" + sum + "_JOB-x":              {"8", sum, "x"},
	} {
		if got, ok := TaskOf(name); !ok || got != want {
			t.Errorf("TaskOf(%q) = %+v, %v; want %+v", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "gitea-runner", "GITEA-ACTIONS-TASK-", "GITEA-ACTIONS-TASK-_WORKFLOW-x_JOB-y",
		"GITEA-ACTIONS-TASK-4x", "x-GITEA-ACTIONS-TASK-4_WORKFLOW-x_JOB-y"} {
		if got, ok := TaskOf(name); ok {
			t.Errorf("TaskOf(%q) = %+v, want none", name, got)
		}
	}
}

func TestJobDirIsThePrivateDirectoryOfOneJob(t *testing.T) {
	for temp, want := range map[string]string{
		"/p/0123456789abcdef/tmp":  "/p/0123456789abcdef",
		"/p/0123456789abcdef/tmp/": "/p/0123456789abcdef",
		"/p/0123456789abcde/tmp":   "",
		"/p/0123456789ABCDEF/tmp":  "",
		"/p/0123456789abcdef/temp": "",
		"/r/_work/_temp":           "", // GitHub's runner, for all its jobs
		"/tmp":                     "", // a container
		"p/0123456789abcdef/tmp":   "",
		"":                         "",
	} {
		if got := JobDir(temp); got != want {
			t.Errorf("JobDir(%q) = %q, want %q", temp, got, want)
		}
	}
}

func TestThePrivateDirectoryThatAPathIsIn(t *testing.T) {
	for path, want := range map[string]string{
		"/p/0123456789abcdef/hostexecutor":       "/p/0123456789abcdef",
		"/p/0123456789abcdef/hostexecutor/a/b":   "/p/0123456789abcdef",
		"/p/0123456789abcdef/tmp/x":              "/p/0123456789abcdef",
		"/0123456789abcdef/act":                  "/0123456789abcdef",
		"/a/0123456789abcdef/0123456789abcdef/x": "",
		"/p/0123456789abcdef":                    "",
		"/p/0123456789abcdef/tmpx":               "",
		"/p/0123456789abcdef/src/tmp":            "",
		"p/0123456789abcdef/tmp":                 "",
		"/p/0123456789ABCDEF/tmp":                "",
		"/":                                      "", "": "",
	} {
		if got := JobDirOf(path); got != want {
			t.Errorf("JobDirOf(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestWhichProcessesTakeJobs(t *testing.T) {
	for line, want := range map[string]bool{
		"/usr/local/bin/act_runner daemon --config config.yaml": true,
		"gitea-runner -c config.yaml daemon":                    true,
		"forgejo-runner daemon":                                 true,
		"/opt/forgejo-runner-12.0.1-linux-amd64 one-job":        true,
		"forgejo-runner exec --job build":                       false,
		"act_runner one-job":                                    false,
		"act_runner register":                                   false,
		"act_runner":                                            false, "vi act_runner daemon": false,
		"/opt/act_runner/start daemon": false, "": false,
	} {
		if got := IsDaemon(strings.Fields(line)); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}
