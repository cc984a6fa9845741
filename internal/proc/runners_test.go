package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
		if pid != "16" {
			write(t, dir, "status", "Name:\tx\nUid:\t1000\t1000\t1000\t1000\n")
		}
	}
	add("7", "mnt:[1]", "/srv/act-runner", "/usr/local/bin/act_runner", "daemon", "--config", "config.yaml")
	add("8", "mnt:[2]", "/data", "act_runner", "daemon") // in a container
	add("9", "mnt:[1]", "/srv", "act_runner", "register")
	add("10", "mnt:[1]", "/", "vi", "act_runner", "daemon")
	add("11", "mnt:[1]", "/", "/srv/actions-runner/bin/Runner.Listener", "run")
	add("12", "mnt:[1]", "/srv/actions-runner", "./bin/Runner.Listener", "run")
	// By a link's name, replaced while it runs; and what only claims to be one.
	add("13", "mnt:[1]", "/home/ci/r", "/usr/local/bin/runner", "daemon")
	symlink(t, "/opt/gitea-runner-3.1.0-linux-amd64 (deleted)", filepath.Join(proc, "13"), "exe")
	write(t, filepath.Join(proc, "13"), "cgroup",
		fmt.Sprintf("0::/user.slice/user-1000.slice/user@%d.service/app.slice/runner-x.service\n", os.Getuid()))
	add("16", "mnt:[1]", "/srv/o", "act_runner", "daemon")
	write(t, filepath.Join(proc, "16"), "cgroup",
		"0::/user.slice/user-4242.slice/user@4242.service/app.slice/runner-x.service\n")
	add("14", "mnt:[1]", "/", "sh", "-c", "daemon")
	symlink(t, "/usr/bin/dash", filepath.Join(proc, "14"), "exe")
	add("15", "mnt:[1]", "/srv/f", "/usr/bin/forgejo-runner", "-c", "/srv/f/c.yaml", "daemon")
	write(t, filepath.Join(proc, "15"), "cgroup",
		"1:name=systemd:/system.slice/runner-sysq.service\n0::/system.slice/runner-sysq.service\n")
	daemons, roots, err := Host{proc}.Runners()
	slices.SortFunc(daemons, func(a, b RunnerProcess) int { return a.PID - b.PID })
	want := []RunnerProcess{
		{
			7, 1000, []string{"/usr/local/bin/act_runner", "daemon", "--config", "config.yaml"}, "/srv/act-runner", "",
			false,
		},
		{13, 1000, []string{"/opt/gitea-runner-3.1.0-linux-amd64", "daemon"}, "/home/ci/r", "runner-x.service", true},
		{
			15, 1000, []string{"/usr/bin/forgejo-runner", "-c", "/srv/f/c.yaml", "daemon"}, "/srv/f",
			"runner-sysq.service", false,
		},
		{16, -1, []string{"act_runner", "daemon"}, "/srv/o", "", false}, // another user's manager
	}
	listeners := []string{"/srv/actions-runner", "/srv/actions-runner"}
	if diff := cmp.Diff(want, daemons) + cmp.Diff(listeners, roots); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, _, err := (Host{filepath.Join(proc, "none")}).Runners(); err == nil {
		t.Error("no process table, and no error")
	}
}
