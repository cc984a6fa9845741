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
	// Any other name with a runner's subcommand; and what only starts one.
	add("17", "mnt:[1]", "/srv/any", "/opt/ci/agent", "--config=c.yaml", "daemon")
	add("18", "mnt:[1]", "/srv/any", "/opt/ci/start", "daemon")
	add("19", "mnt:[1]", "/srv/any", "git", "-c", "x", "help", "daemon")
	write(t, filepath.Join(proc, "17"), "stat", "17 (agent) S 18 17 17 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0")
	write(t, filepath.Join(proc, "18"), "stat", "18 (start) S 1 18 18 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4 0 0")
	symlink(t, "/srv/any/.runner.lock", mkdir(t, proc, "17", "fd"), "3")
	// A confined service has mounts of its own, on the same root; a container has another.
	const root = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
	write(t, filepath.Join(proc, "self"), "mountinfo", root)
	add("20", "mnt:[3]", "/srv/p", "act_runner", "daemon")
	write(t, filepath.Join(proc, "20"), "mountinfo", root+"99 21 0:50 / /tmp rw - tmpfs tmpfs rw\n")
	add("21", "mnt:[4]", "/data", "act_runner", "daemon")
	write(t, filepath.Join(proc, "21"), "mountinfo", "60 1 0:77 / / rw - overlay overlay rw\n")
	daemons, roots, err := Host{proc}.Runners()
	slices.SortFunc(daemons, func(a, b RunnerProcess) int { return a.PID - b.PID })
	want := []RunnerProcess{
		{PID: 7, UID: 1000, Argv: []string{"/usr/local/bin/act_runner", "daemon", "--config", "config.yaml"},
			Named: true, Dir: "/srv/act-runner", Manager: -1},
		{PID: 13, UID: 1000, Argv: []string{"/opt/gitea-runner-3.1.0-linux-amd64", "daemon"}, Named: true,
			Dir: "/home/ci/r", Unit: "runner-x.service", Manager: os.Getuid()},
		{PID: 15, UID: 1000, Argv: []string{"/usr/bin/forgejo-runner", "-c", "/srv/f/c.yaml", "daemon"},
			Named: true, Dir: "/srv/f", Unit: "runner-sysq.service", Manager: -1},
		{PID: 16, UID: -1, Argv: []string{"act_runner", "daemon"}, Named: true, Dir: "/srv/o",
			Unit: "runner-x.service", Manager: 4242},
		{PID: 17, UID: 1000, Argv: []string{"/opt/ci/agent", "--config=c.yaml", "daemon"}, Dir: "/srv/any",
			Open: "/srv/any/.runner", Manager: -1},
		{PID: 20, UID: 1000, Argv: []string{"act_runner", "daemon"}, Named: true, Dir: "/srv/p", Manager: -1},
	}
	listeners := []string{"/srv/actions-runner", "/srv/actions-runner"}
	if diff := cmp.Diff(want, daemons) + cmp.Diff(listeners, roots); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, _, err := (Host{filepath.Join(proc, "none")}).Runners(); err == nil {
		t.Error("no process table, and no error")
	}
}
