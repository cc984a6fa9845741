package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hostguard/lock"
)

func TestWhichContainerThisIs(t *testing.T) {
	own, other := strings.Repeat("0a", 32), strings.Repeat("1b", 32)
	mounts := "136 46 0:38 / / rw,relatime master:4 - overlay overlay rw,lowerdir=/d/l/A:/d/l/B,upperdir=/d/x/diff,workdir=/d/x/work\n" +
		"155 136 254:0 /var/lib/docker/containers/" + other + "/hostname /etc/hostname rw - ext4 /dev/vda rw\n"
	for name, c := range map[string]struct {
		cgroup, mounts       string
		group, network, root string
	}{
		"the host":                       {"0::/user.slice\n", "1 1 254:0 / / rw - ext4 /dev/vda rw\n", "", "", ""},
		"group's name hidden":            {"0::/\n", mounts, "", other, "/d/x/diff"},
		"group's name told":              {"4:cpu:/docker/" + own + "\n0::/docker/" + own + "\n", mounts, own, other, "/d/x/diff"},
		"by systemd":                     {"0::/system.slice/docker-" + own + ".scope\n", mounts, own, other, "/d/x/diff"},
		"a container's files seen whole": {"0::/\n", "1 1 254:0 /var/lib/docker/containers/" + own + " /c rw - ext4 /dev/vda rw\n", "", "", ""},
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

func TestWhoIsWithinAnExecMayCarryTheNonce(t *testing.T) {
	table := fixtureProc(t, "make") // its process 7 started at 250
	write(t, table, "self/mountinfo", "")
	write(t, table, "7/environ", "")
	host, traces := Host{Proc: table}, lock.Traces{Nonce: "nonce", From: 250}
	if pid, complete := host.Find(traces); pid != 0 || !complete {
		t.Errorf("a process that is ending: found %v, complete %v", pid, complete)
	}
	symlink(t, "/usr/bin/make", table, "7/exe")
	if pid, complete := host.Find(traces); pid != 0 || complete {
		t.Errorf("a program without environment: found %v, complete %v; want unknown", pid, complete)
	}
	write(t, table, "7/environ", "A=b\x00"+HoldVariable+"=x,nonce\x00")
	if pid, _ := host.Find(traces); pid != 7 {
		t.Error("the one that carries it is not found")
	}
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
		"another service":               {"0::/system.slice/cron.service\n", "cgroup:[1]", group, 250, true},
		"a name that begins alike":      {"0::/system.slice/gitea-act-runner-host.service2\n", "cgroup:[1]", group, 250, true},
		"the same":                      {"0::/system.slice/gitea-act-runner-host.service\n", "cgroup:[1]", group, 250, false},
		"below":                         {"0::/system.slice/gitea-act-runner-host.service/x\n", "cgroup:[1]", group, 250, false},
		"the same, old controllers":     {"4:memory:/x\n1:name=systemd:/system.slice/gitea-act-runner-host.service\n0::/\n", "cgroup:[1]", group, 250, false},
		"another, old controllers":      {"4:memory:/x\n1:name=systemd:/system.slice/cron.service\n", "cgroup:[1]", group, 250, true},
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
			write(t, table, "7/environ", "")
			symlink(t, "/usr/bin/make", table, "7/exe")
			if c.cgroup != "" {
				write(t, table, "7/cgroup", c.cgroup)
			}
			for _, traces := range []lock.Traces{{Nonce: "nonce"}, {Dir: "/job"}} {
				traces.From, traces.Cgroup = c.from, c.holders
				if pid, complete := (Host{Proc: table}).Find(traces); pid != 0 || complete != c.complete {
					t.Errorf("%+v: found %d, complete %v, want %v", traces, pid, complete, c.complete)
				}
			}
		})
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
	find := func() int { pid, _ := host.Find(lock.Traces{Dir: job}); return pid }

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
	for _, path := range []string{filepath.Join(dir, "missing/job"), filepath.Join(file, "job"), "/proc/" + strconv.Itoa(os.Getpid()) + "/nothing/x"} {
		if gone, err := (Host{Proc: "/proc"}).Gone(path); gone || err == nil {
			t.Errorf("%s: gone %v, %v; want an error", path, gone, err)
		}
	}
}
