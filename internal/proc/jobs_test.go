package proc

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newJob makes a job's directory in parent.
func newJob(t *testing.T, parent string) (name string) {
	t.Helper()
	name = fmt.Sprintf("%016x", rand.Uint64())
	for _, folder := range []string{"act", "hostexecutor", "tmp"} {
		mkdir(t, parent, name, folder)
	}
	return name
}

// use is who has to do with a job's directory, which must be seen.
func use(t *testing.T, parent, name string) JobUse {
	t.Helper()
	u, err := Host{"/proc"}.LookForJobs(parent, []string{name}).Use(name, time.Now())
	if err != nil {
		t.Fatalf("run as root: %v", err)
	}
	return u
}

// startOther runs a stand-in that waits, after change has its say.
func startOther(t *testing.T, change func(*exec.Cmd)) int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: []string{"stand-in"}, Dir: "/", Env: []string{standIn + "=nothing"}}
	change(cmd)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

func TestAJobDirectoryIsUsedByWhateverHasToDoWithIt(t *testing.T) {
	parent := realDir(t)
	for how, change := range map[string]func(dir string, cmd *exec.Cmd){
		"works in it": func(dir string, cmd *exec.Cmd) { cmd.Dir = dir + "/hostexecutor" },
		"has it in its environment": func(dir string, cmd *exec.Cmd) {
			cmd.Env = append(cmd.Env, "RUNNER_TEMP="+dir+"/tmp")
		},
		"has it or a file of it open": func(dir string, cmd *exec.Cmd) {
			f, err := os.Create(dir + "/tmp/open")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			cmd.ExtraFiles = []*os.File{f}
		},
		"runs a program of it": func(dir string, cmd *exec.Cmd) {
			if out, err := exec.Command("cp", cmd.Path, dir+"/tmp/program").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			cmd.Path = dir + "/tmp/program"
		},
	} {
		t.Run(how, func(t *testing.T) {
			name := newJob(t, parent)
			if u := use(t, parent, name); u.PID != 0 {
				t.Errorf("nobody uses it yet, got %+v", u)
			}
			pid := startOther(t, func(cmd *exec.Cmd) { change(filepath.Join(parent, name), cmd) })
			if u := use(t, parent, name); u.How != how || u.PID != pid && u.PID != os.Getpid() {
				t.Errorf("use %+v, want %q by %d", u, how, pid)
			}
		})
	}
}

// Bound to another path, of the same file system, it shows its inner name only.
func TestAJobDirectoryMountedElsewhereIsUsed(t *testing.T) {
	parent := realDir(t)
	name := newJob(t, parent)
	elsewhere := realDir(t)
	if err := syscall.Mount(filepath.Join(parent, name, "hostexecutor"), elsewhere, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal("mount as root: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(elsewhere, syscall.MNT_DETACH) })
	if u := use(t, parent, name); u.How != hasMounted {
		t.Errorf("use %+v", u)
	}
}

func TestASocketInAJobDirectoryIsAUse(t *testing.T) {
	parent := realDir(t)
	name := newJob(t, parent)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Join(parent, name, "tmp/s")}); err != nil {
		t.Fatal(err)
	}
	if u := use(t, parent, name); !strings.Contains(u.How, "socket") {
		t.Errorf("use %+v", u)
	}
}

func TestAnotherDirectoryOfTheSameNameIsNoUse(t *testing.T) {
	parent, other := realDir(t), realDir(t)
	name := newJob(t, parent)
	mkdir(t, other, name, "tmp")
	startOther(t, func(cmd *exec.Cmd) {
		cmd.Dir = filepath.Join(other, name)
		cmd.Env = append(cmd.Env, "A=/no/such/"+name, "RUNNER_TEMP="+other+"/"+name+"/tmp", "CLONE=/x/"+name+name)
	})
	if u := use(t, parent, name); u.PID != 0 {
		t.Errorf("use %+v", u)
	}
}

// By another path to the same directory it is one.
func TestAJobDirectoryByAnotherPathIsUsed(t *testing.T) {
	parent := realDir(t)
	name := newJob(t, parent)
	link := filepath.Join(realDir(t), "link")
	symlink(t, parent, link)
	pid := startOther(t, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "LD_PATH=/lib:"+link+"/"+name+"/tmp") })
	if u := use(t, parent, name); u.PID != pid {
		t.Errorf("use %+v, want %d", u, pid)
	}
}

func TestWhatCannotBeSeenLeavesAJobDirectoryUnknown(t *testing.T) {
	parent := realDir(t)
	name := newJob(t, parent)
	hidden := t.TempDir()
	symlink(t, initPIDs, hidden, "self/ns/pid")
	if why := (Host{hidden}).OutOfSight(); !strings.Contains(why, "hidepid") {
		t.Errorf("with hidden processes: %q", why)
	}
	container := fixtureProc(t, "sh")
	os.Remove(filepath.Join(container, "self/ns/pid"))
	symlink(t, "pid:[4026532000]", container, "self/ns/pid")
	if why := (Host{container}).OutOfSight(); !strings.Contains(why, "container") {
		t.Errorf("in a container: %q", why)
	}

	// A process whose task folder is a file fails as a refused one does.
	table := fixtureProc(t, "sh")
	os.RemoveAll(filepath.Join(table, "7/task"))
	write(t, table, "7/task", "")
	look := Host{table}.LookForJobs(parent, []string{name})
	started := time.Unix(1700000002, 500_000_000) // as fixtureProc has it
	for _, test := range []struct {
		made    time.Time
		unknown bool
	}{
		{started.Add(-time.Hour), true}, {started, true}, {started.Add(999 * time.Millisecond), true},
		{started.Add(1001 * time.Millisecond), false}, {started.Add(time.Hour), false},
	} {
		_, err := look.Use(name, test.made)
		if (err != nil) != test.unknown || err != nil && !strings.Contains(err.Error(), "process 7 cannot be looked into") {
			t.Errorf("made %v: %v, want unknown %v", test.made.Sub(started), err, test.unknown)
		}
	}
}

func TestAnotherUsersProcessesLeaveAJobDirectoryUnknown(t *testing.T) {
	if os.Geteuid() == 0 {
		parent := realDir(t)
		name := newJob(t, parent)
		for dir := parent; dir != os.TempDir(); dir = filepath.Dir(dir) {
			os.Chmod(dir, 0o755)
		}
		startOther(t, func(cmd *exec.Cmd) { cmd.Dir = filepath.Join(parent, name) })
		self, err := os.Open("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		defer self.Close()
		cmd := exec.Command("/proc/self/fd/3", "-test.v", "-test.run", "^"+t.Name()+"$")
		cmd.ExtraFiles, cmd.Dir = []*os.File{self}, "/"
		cmd.Env = append(os.Environ(), "PARENT="+parent, "NAME="+name)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("as another user: %v: %s", err, out)
		}
		return
	}
	parent, name := os.Getenv("PARENT"), os.Getenv("NAME")
	if u, err := (Host{"/proc"}).LookForJobs(parent, []string{name}).Use(name, time.Now().Add(-time.Minute)); err == nil {
		t.Errorf("root works in it, and that is seen as %+v", u)
	}
}

func TestRunnersOfAUserAreFound(t *testing.T) {
	dir := realDir(t)
	registered := realDir(t)
	write(t, registered, ".runner", "{}")
	uid := uint32(os.Geteuid())
	before := Host{"/proc"}.JobRunners(uid).PIDs
	var want []int
	for _, argv0 := range []string{"/opt/act_runner", "gitea-runner-3.1.0-linux-amd64", "forgejo-runner", "act"} {
		want = append(want, startStandIn(t, argv0, dir))
	}
	want = append(want, startStandIn(t, "of-any-name", registered))
	startStandIn(t, "actor", dir)
	runners := Host{"/proc"}.JobRunners(uid)
	got := slices.DeleteFunc(runners.PIDs, func(pid int) bool { return slices.Contains(before, pid) })
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || runners.Unseen != "" || runners.Oldest.After(time.Now()) {
		t.Errorf("runners %+v, want %v", runners, want)
	}
	if others := (Host{"/proc"}).JobRunners(4711); len(others.PIDs) != 0 {
		t.Errorf("runners of another user: %+v", others)
	}
}
