package proc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// standIn makes this test binary a process that waits for the end of its input.
const standIn = "HOSTGUARD_TEST_STAND_IN"

func TestMain(m *testing.M) {
	if what := os.Getenv(standIn); what != "" {
		beHostile(what)
		return
	}
	os.Exit(m.Run())
}

// startStandIn runs a process that calls itself argv0 and works in dir.
func startStandIn(t *testing.T, argv0, dir string) (pid int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: []string{argv0}, Dir: dir, Env: append(os.Environ(), standIn+"=1")}
	if _, err := cmd.StdinPipe(); err != nil { // so that it waits
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

func realDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFilesOpenInThisProcessAreFound(t *testing.T) {
	dir := realDir(t)
	id := func(name string, keep bool) (dev, ino uint64) {
		t.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if keep {
			t.Cleanup(func() { f.Close() })
		} else {
			f.Close()
		}
		stat := info.Sys().(*syscall.Stat_t)
		return uint64(stat.Dev), stat.Ino
	}
	openDev, openIno := id("open.page", true)
	closedDev, closedIno := id("closed.page", false)
	otherDev, otherIno := id("open.other", true)
	open, err := Host{"/proc"}.OpenFilesNamed(func(base string) bool { return strings.HasSuffix(base, ".page") })
	if err != nil {
		t.Fatal(err)
	}
	if !open.Has(openDev, openIno) {
		t.Error("an open file is missing")
	}
	if open.Has(closedDev, closedIno) || open.Has(otherDev, otherIno) {
		t.Error("a closed file, or one of another name, is among the open ones")
	}
}

func TestAProcessThatHidesItsFilesIsReported(t *testing.T) {
	fixture := t.TempDir()
	fd := mkdir(t, fixture, "7/fd")
	open, err := Host{fixture}.OpenFilesNamed(func(string) bool { return true })
	if err != nil || !open.Complete {
		t.Errorf("all can be read: %+v, %v", open, err)
	}
	// A descriptor that is no link fails as a refused one does.
	write(t, fd, "3", "")
	open, err = Host{fixture}.OpenFilesNamed(func(string) bool { return true })
	if err != nil || open.Complete {
		t.Errorf("one cannot be read: %+v, %v", open, err)
	}
	if _, err := (Host{filepath.Join(fixture, "missing")}).OpenFilesNamed(func(string) bool { return true }); err == nil {
		t.Error("no process table is no error")
	}
}

func TestLiveWorkersOfThisRunnerAreFound(t *testing.T) {
	root := realDir(t)
	before := time.Now()
	first := startStandIn(t, root+"/bin/Runner.Worker", root)
	second := startStandIn(t, root+"/bin.2.331.0/Runner.Worker", root)
	startStandIn(t, root+"/bin/Runner.Listener", root)
	startStandIn(t, root+"/other/bin/Runner.Worker", root)
	startStandIn(t, root+"-2/bin/Runner.Worker", root)
	workers := Host{"/proc"}.GitHubWorkers(root)
	slices.Sort(workers.PIDs)
	want := []int{first, second}
	slices.Sort(want)
	if !slices.Equal(workers.PIDs, want) || workers.Unseen != "" {
		t.Errorf("workers: %+v, want %v", workers, want)
	}
	// The kernel's clock ticks and the boot time round down, never up.
	if workers.Oldest.After(time.Now()) || workers.Oldest.Before(before.Add(-2*time.Second)) {
		t.Errorf("the oldest started %v, it was started after %v", workers.Oldest, before)
	}
}

// fixtureProc is a process table of an initial pid namespace with one process.
func fixtureProc(t *testing.T, argv0 string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "stat", "cpu 1 2\nbtime 1700000000\nprocesses 9\n")
	write(t, dir, "1/cmdline", "/sbin/init\x00")
	symlink(t, "pid:[4026531836]", dir, "self/ns/pid")
	write(t, dir, "7/cmdline", argv0+"\x00spawnclient\x00")
	write(t, dir, "7/stat", "7 (odd) name) S 1 "+strings.Repeat("0 ", 17)+"250 0 0\n")
	return dir
}

func TestTheStartOfAWorkerIsReadFromTheKernelsClocks(t *testing.T) {
	workers := Host{fixtureProc(t, "/r/bin/Runner.Worker")}.GitHubWorkers("/r")
	want := time.Unix(1700000002, 500_000_000)
	if !slices.Equal(workers.PIDs, []int{7}) || !workers.Oldest.Equal(want) || workers.Unseen != "" {
		t.Errorf("workers: %+v, want one since %v", workers, want)
	}
}

func TestTheOldestWorkerCounts(t *testing.T) {
	table := fixtureProc(t, "/r/bin/Runner.Worker")
	for pid, ticks := range map[string]string{"5": "300", "6": "100", "8": "200"} {
		write(t, table, pid+"/cmdline", "/r/bin/Runner.Worker\x00")
		write(t, table, pid+"/stat", pid+" (x) S 1 "+strings.Repeat("0 ", 17)+ticks+" 0 0\n")
	}
	workers := Host{table}.GitHubWorkers("/r")
	if want := time.Unix(1700000001, 0); len(workers.PIDs) != 4 || !workers.Oldest.Equal(want) {
		t.Errorf("workers: %+v, want the oldest since %v", workers, want)
	}
}

func TestAWorkerKnownByItsExecutableAlone(t *testing.T) {
	table := fixtureProc(t, "dotnet")
	symlink(t, "/r/bin.2.1.0/Runner.Worker (deleted)", table, "7/exe")
	if workers := (Host{table}).GitHubWorkers("/r"); !slices.Equal(workers.PIDs, []int{7}) {
		t.Errorf("workers: %+v", workers)
	}
}

func TestWorkersOutOfSightAreNotTakenForNone(t *testing.T) {
	none := Host{fixtureProc(t, "sh")}.GitHubWorkers("/r")
	if none.Unseen != "" || len(none.PIDs) != 0 {
		t.Errorf("on a plain host: %+v", none)
	}

	container := fixtureProc(t, "sh")
	os.Remove(filepath.Join(container, "self/ns/pid"))
	symlink(t, "pid:[4026532000]", container, "self/ns/pid")
	if got := (Host{container}).GitHubWorkers("/r"); !strings.Contains(got.Unseen, "container") {
		t.Errorf("in a container: %+v", got)
	}

	hidden := fixtureProc(t, "sh")
	os.RemoveAll(filepath.Join(hidden, "1"))
	if got := (Host{hidden}).GitHubWorkers("/r"); !strings.Contains(got.Unseen, "hidepid") {
		t.Errorf("with hidepid: %+v", got)
	}
	write(t, hidden, "7/cmdline", "/r/bin/Runner.Listener\x00")
	if got := (Host{hidden}).GitHubWorkers("/r"); got.Unseen != "" {
		t.Errorf("with hidepid, as the runner's own user: %+v", got)
	}

	unclear := fixtureProc(t, "/r/bin/Runner.Worker")
	write(t, unclear, "7/stat", "7 (x) S 1\n")
	if got := (Host{unclear}).GitHubWorkers("/r"); got.Unseen == "" {
		t.Errorf("without a start time: %+v", got)
	}

	if got := (Host{"/no-such-proc"}).GitHubWorkers("/r"); got.Unseen == "" {
		t.Errorf("without a process table: %+v", got)
	}
}

func TestWhoWorksBelowADirectory(t *testing.T) {
	dir := realDir(t)
	inside := mkdir(t, dir, "a/b")
	mkdir(t, dir, "a-2")
	in := startStandIn(t, "in", inside)
	top := startStandIn(t, "top", filepath.Join(dir, "a"))
	beside := startStandIn(t, "beside", filepath.Join(dir, "a-2"))
	got, err := Host{"/proc"}.WorkingBelow(filepath.Join(dir, "a"), os.Getpid())
	slices.Sort(got)
	want := []int{in, top}
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("WorkingBelow() = %v, %v; want %v without %d", got, err, want, beside)
	}
	// For the process itself and what it descends from, nobody else is there.
	if got, _ := (Host{"/proc"}).WorkingBelow(filepath.Join(dir, "a"), in); !slices.Equal(got, []int{top}) {
		t.Errorf("for the process inside: %v, want %d", got, top)
	}
	t.Chdir(inside)
	if got, _ := (Host{"/proc"}).WorkingBelow(filepath.Join(dir, "a"), in); slices.Contains(got, os.Getpid()) {
		t.Errorf("the parent of the asking process is among %v", got)
	}
}

func TestADirectoryThatIsGoneIsNotBelowAnotherOfItsName(t *testing.T) {
	dir := realDir(t)
	gone := mkdir(t, dir, "a/b")
	pid := startStandIn(t, "in", gone)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	got, err := (Host{"/proc"}).WorkingBelow(filepath.Join(dir, "a"), os.Getpid())
	if err != nil || slices.Contains(got, pid) {
		t.Errorf("WorkingBelow() = %v, %v", got, err)
	}
}

func TestAnotherMountNamespaceIsComparedByTheDirectoryItself(t *testing.T) {
	dir := realDir(t)
	inside := mkdir(t, dir, "a/b")
	table := t.TempDir()
	symlink(t, "mnt:[1]", table, "self/ns/mnt")
	for pid, cwd := range map[int]string{7: inside, 8: dir} {
		symlink(t, "mnt:[2]", table, fmt.Sprint(pid), "ns/mnt")
		symlink(t, cwd, table, fmt.Sprint(pid), "cwd")
		write(t, table, fmt.Sprint(pid, "/mountinfo"), "")
	}
	// Reached by a name that a comparison of paths would not know.
	other := filepath.Join(t.TempDir(), "other-name")
	symlink(t, filepath.Join(dir, "a"), other)
	if got, err := (Host{table}).WorkingBelow(other, os.Getpid()); err != nil || !slices.Equal(got, []int{7}) {
		t.Errorf("WorkingBelow() = %v, %v", got, err)
	}
}

func mkdir(t *testing.T, path ...string) string {
	t.Helper()
	dir := filepath.Join(path...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, name)
	mkdir(t, filepath.Dir(file))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target string, path ...string) {
	t.Helper()
	link := filepath.Join(path...)
	mkdir(t, filepath.Dir(link))
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
}
