package proc

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProcessesThatTakeJobs(t *testing.T) {
	proc := t.TempDir()
	symlink(t, "mnt:[1]", mkdir(t, proc, "self", "ns"), "mnt")
	add := func(pid, mounts, cwd string, argv ...string) {
		dir := mkdir(t, proc, pid)
		write(t, dir, "cmdline", strings.Join(argv, "\x00")+"\x00")
		symlink(t, mounts, mkdir(t, dir, "ns"), "mnt")
		symlink(t, cwd, dir, "cwd")
	}
	add("7", "mnt:[1]", "/srv/act-runner", "/usr/local/bin/act_runner", "daemon", "--config", "config.yaml")
	add("8", "mnt:[2]", "/data", "act_runner", "daemon") // in a container
	add("9", "mnt:[1]", "/srv", "act_runner", "register")
	add("10", "mnt:[1]", "/", "vi", "act_runner", "daemon")
	add("11", "mnt:[1]", "/", "/srv/actions-runner/bin/Runner.Listener", "run")
	add("12", "mnt:[1]", "/srv/actions-runner", "./bin/Runner.Listener", "run")
	daemons, roots, err := Runners(proc)
	want := []RunnerProcess{{7, []string{"/usr/local/bin/act_runner", "daemon", "--config", "config.yaml"}, "/srv/act-runner"}}
	if diff := cmp.Diff(want, daemons) + cmp.Diff([]string{"/srv/actions-runner", "/srv/actions-runner"}, roots); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, _, err := Runners(filepath.Join(proc, "none")); err == nil {
		t.Error("no process table, and no error")
	}
}
