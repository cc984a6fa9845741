package proc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hostguard/lock"
)

func TestWhichContainerThisIs(t *testing.T) {
	own, other := strings.Repeat("0a", 32), strings.Repeat("1b", 32)
	mounts := "136 46 0:38 / / rw,relatime master:4 - overlay overlay rw,lowerdir=/d/l/A:/d/l/B," +
		"upperdir=/d/x/diff,workdir=/d/x/work\n" +
		"155 136 254:0 /var/lib/docker/containers/" + other + "/hostname /etc/hostname rw - ext4 /dev/vda rw\n"
	for name, c := range map[string]struct {
		cgroup, mounts       string
		group, network, root string
	}{
		"the host":            {"0::/user.slice\n", "1 1 254:0 / / rw - ext4 /dev/vda rw\n", "", "", ""},
		"group's name hidden": {"0::/\n", mounts, "", other, "/d/x/diff"},
		"group's name known": {"4:cpu:/docker/" + own + "\n0::/docker/" + own + "\n", mounts, own, other,
			"/d/x/diff"},
		"by systemd": {
			"0::/system.slice/docker-" + own + ".scope\n",
			mounts, own, other, "/d/x/diff",
		},
		"a container's files seen whole": {
			"0::/\n",
			"1 1 254:0 /var/lib/docker/containers/" + own + " /c rw - ext4 /dev/vda rw\n", "", "", "",
		},
	} {
		table := t.TempDir()
		write(t, table, "self/cgroup", c.cgroup)
		write(t, table, "self/mountinfo", c.mounts)
		if group, network, root := (Host{table}).Container(); group != c.group || network != c.network || root != c.root {
			t.Errorf("%s: %q, %q, %q; want %q, %q, %q", name, group, network, root, c.group, c.network, c.root)
		}
	}
}

func TestThePlaceOfThisProcess(t *testing.T) {
	place := Host{"/proc"}.Place()
	if place.Boot == "" || place.PIDs == "" || place.Mounts == "" || !place.Local || place != (Host{"/proc"}).Place() {
		t.Errorf("%+v", place)
	}
	table := t.TempDir() // in a time namespace with an offset
	symlink(t, "time:[4026532000]", mkdir(t, table, "self/ns"), "time")
	if got := (Host{table}).Place().Times; got != "time:[4026532000]" {
		t.Errorf("time namespace %q", got)
	}
	table = t.TempDir()
	symlink(t, initTimes, mkdir(t, table, "self/ns"), "time")
	if got := (Host{table}).Place().Times; got != "" {
		t.Errorf("the first time namespace is %q, want none", got)
	}
}

// A process without an environment is within an exec, or has none for good: read
// again, the latter is recognized by what else there is.
func TestAProcessWithoutAnEnvironment(t *testing.T) {
	const nonce = "0123456789abcdef0123456789abcdef"
	byNonce, byDir := lock.Traces{Nonce: nonce, From: 250}, lock.Traces{Dir: "/p/0123456789abcdef", From: 250}
	byLimit := lock.Traces{Nonce: nonce, Limit: true, From: 250}
	for name, c := range map[string]struct {
		traces  lock.Traces
		arrange func(table string)
		lives   bool
		unread  bool
	}{
		"ending": {byNonce, func(table string) {
			os.Remove(filepath.Join(table, "7/exe"))
		}, false, false},
		"for good, by the variable":  {byNonce, func(string) {}, false, true}, // it may be the command of "env -i"
		"for good, by the limit":     {byLimit, func(string) {}, false, false},
		"for good, by the directory": {byDir, func(string) {}, false, false},
		"for good, in the directory": {byDir, func(table string) {
			symlink(t, "/p/0123456789abcdef/x", table, "7/cwd")
		}, true, false},
		"for a moment": {byNonce, func(table string) {
			soon(func() { write(t, table, "7/environ", HoldVariable+"=x,"+nonce+"\x00") })
		}, true, false},
		"for a moment, by a directory": {byDir, func(table string) {
			soon(func() { write(t, table, "7/environ", "A=/p/0123456789abcdef/tmp\x00") })
		}, true, false},
		"another limit": {byLimit, func(table string) {
			write(t, table, "7/limits", limits("unlimited"))
		}, false, false},
		"the limit": {byLimit, func(table string) {
			write(t, table, "7/limits", limits(fmt.Sprint(limitOf(nonce))))
		}, true, false},
		"limits that cannot be read": {byLimit, func(table string) { write(t, table, "7/limits", "") }, false, true},
		"limits refused, older": {lock.Traces{Nonce: nonce, Limit: true, From: 251}, func(table string) {
			write(t, table, "7/limits", "")
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			table := fixtureProc(t, "make") // its process 7 started at 250
			write(t, table, "self/mountinfo", "")
			write(t, table, "7/environ", "")
			write(t, table, "7/limits", limits("unlimited"))
			symlink(t, "/usr/bin/make", table, "7/exe")
			if name != "for good, in the directory" {
				symlink(t, "/", table, "7/cwd")
			}
			c.arrange(table)
			if found := (Host{table}).Find(c.traces); found.Lives != c.lives || (found.Unread != "") != c.unread {
				t.Errorf("%+v; want it to live %v, unread %v", found, c.lives, c.unread)
			}
		})
	}
}

// soon does something while a process is read again.
func soon(act func()) { time.AfterFunc(execPause, act) }

func limits(realtime string) string {
	return "Limit                     Soft Limit           Hard Limit           Units     \n" +
		"Max realtime priority     0                    0                    \n" +
		"Max realtime timeout      " + realtime + "            unlimited            us        \n"
}

// A waiter that is not root cannot read what root has started since. Only in the
// control group of the holder that may be the holder's.
func TestAProcessThatCannotBeReadCountsInTheHoldersGroupOnly(t *testing.T) {
	const group = "cgroup:[1] /system.slice/gitea-act-runner-host.service"
	for name, c := range map[string]struct {
		cgroup, namespace, holders string
		from                       uint64
		complete                   bool
	}{
		"another service": {"0::/system.slice/cron.service\n", "cgroup:[1]", group, 250, true},
		"a name that begins alike": {
			"0::/system.slice/gitea-act-runner-host.service2\n",
			"cgroup:[1]", group, 250, true,
		},
		"the same": {
			"0::/system.slice/gitea-act-runner-host.service\n",
			"cgroup:[1]", group, 250, false,
		},
		"below": {
			"0::/system.slice/gitea-act-runner-host.service/x\n",
			"cgroup:[1]", group, 250, false,
		},
		"the same, old controllers": {
			"4:memory:/x\n1:name=systemd:/system.slice/gitea-act-runner-host.service\n0::/\n",
			"cgroup:[1]", group, 250, false,
		},
		"another, old controllers": {
			"4:memory:/x\n1:name=systemd:/system.slice/cron.service\n",
			"cgroup:[1]", group, 250, true,
		},
		"not to be read":                {"", "cgroup:[1]", group, 250, false},
		"another namespace":             {"0::/system.slice/cron.service\n", "cgroup:[2]", group, 250, false},
		"the holder's is not known":     {"0::/system.slice/cron.service\n", "cgroup:[1]", "", 250, false},
		"the holder's is the root":      {"0::/system.slice/cron.service\n", "cgroup:[1]", "cgroup:[1] /", 250, false},
		"started before the holder did": {"0::/system.slice/gitea-act-runner-host.service\n", "cgroup:[1]", group, 251, true},
	} {
		t.Run(name, func(t *testing.T) {
			table := fixtureProc(t, "make")
			write(t, table, "self/mountinfo", "")
			symlink(t, c.namespace, table, "self/ns/cgroup")
			refuse(t, table, "7")
			if c.cgroup != "" {
				write(t, table, "7/cgroup", c.cgroup)
			}
			for _, traces := range []lock.Traces{{Nonce: "nonce"}, {Dir: "/job"}} {
				traces.From, traces.Cgroup = c.from, c.holders
				if found := (Host{Proc: table}).Find(traces); found.Lives || (found.Unread == "") != c.complete {
					t.Errorf("%+v: %+v, complete %v", traces, found, c.complete)
				}
			}
		})
	}
}

// refuse makes a process of a table one that cannot be read; root could read
// whatever has no permissions.
func refuse(t *testing.T, table, pid string) {
	t.Helper()
	mkdir(t, table, pid, "environ")
	write(t, table, pid+"/cwd", "")
}

// Runners of two users in one service: the recorded one was killed, systemd has
// started another in the same control group, and this user may not read it. What
// is proof that a process there is not the job's, and what is not. The job's
// first step started at 200.
func TestWhoBelongsToTheRunnerThatCameAfter(t *testing.T) {
	type process struct {
		pid, parent, session int
		start                int
		argv0                string
		refused              bool
	}
	const runner = "/usr/local/bin/act_runner"
	manager, daemon := process{1, 0, 1, 1, "/sbin/init", false}, process{50, 1, 50, 300, runner, true}
	for name, c := range map[string]struct {
		table []process
		proof bool
	}{
		"the runner that systemd started": {[]process{manager, daemon}, true},
		"by another name": {
			[]process{manager, {50, 1, 50, 300, "/opt/gitea-runner-3.1.0-linux-amd64", true}},
			true,
		},
		"by a manager of its user": {
			[]process{manager, {9, 1, 9, 20, "/lib/systemd/systemd", false}, {50, 9, 50, 300, runner, true}},
			true,
		},
		"GitHub's listener": {
			[]process{manager, {50, 1, 50, 300, "/r/bin/Runner.Listener", true}},
			true,
		},
		"what it has started": {
			[]process{manager, daemon, {51, 50, 51, 310, "sh", true}, {52, 51, 51, 320, "cc", true}},
			true,
		},
		"what it has started, a session of its own": {[]process{manager, daemon, {51, 50, 51, 310, "sh", true}}, true},
		"what the job has left behind":              {[]process{manager, daemon, {40, 1, 40, 250, "sh", true}}, false},
		"what that has started since": {
			[]process{manager, daemon, {40, 1, 40, 250, "sh", false}, {60, 40, 40, 400, "cc", true}},
			false,
		},
		"an orphan of either": {[]process{manager, daemon, {60, 1, 60, 400, "sh", true}}, false},
		"a runner that the job started": {
			[]process{manager, {40, 1, 40, 250, "sh", false}, {50, 40, 50, 300, runner, true}},
			false,
		},
		"a runner in the session of another": {[]process{manager, {50, 1, 40, 300, runner, true}}, false},
		"the runner of before": {
			[]process{manager, {50, 1, 50, 100, runner, false}, {60, 50, 60, 300, "sh", true}},
			false,
		},
		"a name that only begins like a runner's": {
			[]process{manager, {50, 1, 50, 300, "/usr/bin/act_runner_exporter", true}},
			false,
		},
		"what started before the job": {[]process{manager, {40, 1, 40, 150, "sh", true}}, true},
	} {
		table := t.TempDir()
		write(t, table, "self/mountinfo", "")
		for _, p := range c.table {
			pid := strconv.Itoa(p.pid)
			write(t, table, pid+"/stat", fmt.Sprintf("%d (x) S %d %d %d%s %d 0 0",
				p.pid, p.parent, p.session, p.session, strings.Repeat(" 0", 15), p.start))
			write(t, table, pid+"/cmdline", p.argv0+"\x00daemon\x00")
			if p.refused {
				refuse(t, table, pid)
				continue
			}
			write(t, table, pid+"/environ", "A=b\x00")
			symlink(t, "/", table, pid, "cwd")
		}
		found := Host{table}.Find(lock.Traces{Dir: "/p/0123456789abcdef", From: 200})
		if found.Lives || (found.Unread == "") != c.proof {
			t.Errorf("%s: %+v, want proof %v", name, found, c.proof)
		}
		who := strings.Contains(found.Unread, fmt.Sprint(" of user ", os.Getuid()))
		if !c.proof && (!who || !strings.Contains(found.Unread, "could not be read")) {
			t.Errorf("%s: %q does not name who could read it", name, found.Unread)
		}
	}
}

func TestWhoWorksInAJobDirectoryIsFound(t *testing.T) {
	job := filepath.Join(t.TempDir(), "0123456789abcdef")
	if err := os.MkdirAll(filepath.Join(job, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	host := Host{Proc: "/proc"}
	start := func(dir string, env ...string) (pid int, stop func()) {
		cmd := exec.Command("sleep", "60")
		cmd.Dir, cmd.Env = dir, env
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd.Process.Pid, func() { cmd.Process.Kill(); cmd.Wait() }
	}
	find := func() int { return host.Find(lock.Traces{Dir: job}).PID }

	elsewhere, stop := start("/", "A="+job+"x", "B="+job)
	if pid := find(); pid != 0 {
		t.Errorf("found %d (%d only has a similar name)", pid, elsewhere)
	}
	stop()
	byVariable, stop := start("/", "RUNNER_TEMP="+job+"/tmp")
	if pid := find(); pid != byVariable {
		t.Errorf("by its environment: found %d, want %d", pid, byVariable)
	}
	stop()
	byDirectory, stop := start(filepath.Join(job, "tmp"))
	defer stop()
	if pid := find(); pid != byDirectory {
		t.Errorf("by its working directory: found %d, want %d", pid, byDirectory)
	}
	if gone, err := host.Gone(job); gone || err != nil {
		t.Errorf("the directory is there: gone %v, %v", gone, err)
	}
	if err := os.RemoveAll(job); err != nil {
		t.Fatal(err)
	}
	if gone, err := host.Gone(job); !gone || err != nil {
		t.Errorf("the directory is not there: gone %v, %v", gone, err)
	}
	if pid := find(); pid != byDirectory {
		t.Errorf("in a directory that was removed: found %d, want %d", pid, byDirectory)
	}
}

func TestOnlyWhatIsMissingUnderItsParentIsGone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		filepath.Join(dir, "missing/job"), filepath.Join(file, "job"),
		"/proc/" + strconv.Itoa(os.Getpid()) + "/nothing/x",
	} {
		if gone, err := (Host{Proc: "/proc"}).Gone(path); gone || err == nil {
			t.Errorf("%s: gone %v, %v; want an error", path, gone, err)
		}
	}
}
