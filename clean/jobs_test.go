package clean

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"hostguard/internal/actrunner"
)

const (
	leftJob  = "0123456789abcdef"
	otherJob = "fedcba9876543210"
)

// newJobs is a directory of a runner's jobs, with one that a killed one left.
func newJobs(t *testing.T) (parent, job string) {
	t.Helper()
	parent = t.TempDir()
	job = makeJob(t, parent, leftJob)
	write(t, parent, strings.Repeat("0a", 32), "action.yml") // a clone of an action
	mkdir(t, parent, "tool_cache")
	return parent, job
}

func makeJob(t *testing.T, parent, name string) string {
	t.Helper()
	write(t, parent, name, "hostexecutor/src/file")
	mkdir(t, parent, name, "act")
	mkdir(t, parent, name, "tmp")
	return filepath.Join(parent, name)
}

func listJobs(t *testing.T, parent string) (dirs []*JobDir, odd []string) {
	t.Helper()
	jobs, err := OpenJobs(parent, "/no-home")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { jobs.Close() })
	dirs, all, err := jobs.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		odd = append(odd, o.Name+": "+o.Why)
	}
	for _, dir := range dirs {
		dir.Guard(func() (string, error) { return "", nil })
	}
	return dirs, odd
}

func onlyJob(t *testing.T, parent string) *JobDir {
	t.Helper()
	dirs, odd := listJobs(t, parent)
	if len(dirs) != 1 || len(odd) != 0 {
		t.Fatalf("%d job directories, odd: %q", len(dirs), odd)
	}
	if err := dirs[0].Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dirs[0]
}

func TestAJobDirectoryGoesWholeAndWhatJobsShareStays(t *testing.T) {
	parent, job := newJobs(t)
	write(t, job, "extra/of the job")
	outside := write(t, t.TempDir(), "outside")
	for link, target := range map[string]string{
		"tmp/dir": filepath.Dir(outside), "tmp/file": outside, "up": "../tool_cache",
	} {
		if err := os.Symlink(target, filepath.Join(job, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(outside, filepath.Join(job, "tmp/second-name")); err != nil {
		t.Fatal(err)
	}
	dir := onlyJob(t, parent)
	done, err := dir.Remove(t.Context())
	if err != nil || done.Files != 6 || done.Changed != 0 {
		t.Errorf("Remove() = %+v, %v", done, err)
	}
	if exists(job) || !exists(outside) || !exists(parent, "tool_cache") ||
		!exists(parent, strings.Repeat("0a", 32), "action.yml") {
		t.Error("removed too little or too much")
	}
}

func TestOnlyWhatHasTheFormOfAJobDirectoryIsOne(t *testing.T) {
	parent, _ := newJobs(t)
	mkdir(t, parent, "1111111111111111")                 // empty
	write(t, parent, "2222222222222222", "tmp", "f")     // what a removal that was cut short leaves
	write(t, parent, "3333333333333333", "act", "f")     // a part, and something else
	write(t, parent, "3333333333333333", "notes")        //
	write(t, parent, "4444444444444444", "hostexecutor") // a file
	write(t, parent, "5555555555555555")                 // a file itself
	makeJob(t, parent, "66666666666666666")              // 17 digits
	makeJob(t, parent, "777777777777777G")               // no digit
	linked := makeJob(t, t.TempDir(), otherJob)          // somebody's
	for link, target := range map[string]string{"8888888888888888": linked, "9999999999999999": leftJob} {
		if err := os.Symlink(target, filepath.Join(parent, link)); err != nil {
			t.Fatal(err)
		}
	}
	inner := mkdir(t, parent, "aaaaaaaaaaaaaaaa")
	for _, folder := range actrunner.JobFolders {
		if err := os.Symlink(filepath.Join(linked, folder), filepath.Join(inner, folder)); err != nil {
			t.Fatal(err)
		}
	}
	dirs, odd := listJobs(t, parent)
	var names []string
	for _, dir := range dirs {
		names = append(names, dir.Name)
	}
	if want := []string{leftJob, "2222222222222222"}; !slices.Equal(names, want) {
		t.Errorf("job directories %q, want %q", names, want)
	}
	if len(odd) != 7 || !strings.Contains(strings.Join(odd, "\n"), "8888888888888888: it is a symbolic link") {
		t.Errorf("odd: %q", odd)
	}
}

func TestAJobDirectoryOfAnotherUserIsOdd(t *testing.T) {
	parent, job := newJobs(t)
	if err := os.Lchown(job, 4711, 4711); err != nil {
		t.Fatal("run as root: ", err)
	}
	dirs, odd := listJobs(t, parent)
	if len(dirs) != 0 || len(odd) != 1 || !strings.Contains(odd[0], "belongs to another user") {
		t.Errorf("%d job directories, odd: %q", len(dirs), odd)
	}
}

func TestAMountInAJobDirectoryIsRefused(t *testing.T) {
	parent, job := newJobs(t)
	inside := mkdir(t, job, "hostexecutor/mounted")
	if err := syscall.Mount("tmpfs", inside, "tmpfs", 0, ""); err != nil {
		t.Fatal("mount as root: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(inside, syscall.MNT_DETACH) })
	dirs, _ := listJobs(t, parent)
	if err := dirs[0].Measure(t.Context()); err == nil || !strings.Contains(err.Error(), "another file system") {
		t.Errorf("Measure() = %v", err)
	}
}

func TestAJobDirectoryInUseAtTheLastLookStays(t *testing.T) {
	parent, job := newJobs(t)
	dir := onlyJob(t, parent)
	dir.Guard(func() (string, error) { return "works in it", nil })
	if done, err := dir.Remove(t.Context()); err != nil || done != (Done{Changed: 1}) || !exists(job, "tmp") {
		t.Errorf("Remove() = %+v, %v", done, err)
	}
	blind := errors.New("it cannot be seen")
	dir.Guard(func() (string, error) { return "", blind })
	if done, err := dir.Remove(t.Context()); !errors.Is(err, blind) || done != (Done{}) || !exists(job, "tmp") {
		t.Errorf("Remove() = %+v, %v", done, err)
	}
}

// What takes its name after the plan, or at the last look, is another.
func TestAnotherDirectoryUnderTheNameOfAJobsIsNotTouched(t *testing.T) {
	for what, swap := range map[string]func(parent, job string) error{
		"another job's": func(parent, job string) error { return os.Rename(filepath.Join(parent, otherJob), job) },
		"a link":        func(parent, job string) error { return os.Symlink(otherJob, job) },
		"nothing":       func(string, string) error { return nil },
	} {
		t.Run(what, func(t *testing.T) {
			parent, job := newJobs(t)
			dir := onlyJob(t, parent)
			makeJob(t, parent, otherJob)
			dir.Guard(func() (string, error) {
				return "", errors.Join(os.Rename(job, filepath.Join(parent, "away")), swap(parent, job))
			})
			done, err := dir.Remove(t.Context())
			good := err == nil && done == (Done{Changed: 1})
			if what == "a link" {
				good = err != nil && strings.Contains(err.Error(), "symbolic link")
			}
			if !good {
				t.Errorf("Remove() = %+v, %v", done, err)
			}
			if !exists(parent, "away/hostexecutor/src/file") || !exists(parent, otherJob, "tmp") && !exists(job, "tmp") {
				t.Error("something was removed")
			}
		})
	}
}

// The open directory decides, not what has its name by now.
func TestADirectoryRenamedDuringItsRemovalTakesNothingAlong(t *testing.T) {
	parent, job := newJobs(t)
	dir := onlyJob(t, parent)
	opened, err := dir.open()
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if err := os.Rename(job, filepath.Join(parent, "away")); err != nil {
		t.Fatal(err)
	}
	makeJob(t, parent, leftJob)
	if err := errors.Join(empty(opened), dir.drop()); err != nil {
		t.Fatal(err)
	}
	if !exists(job, "hostexecutor/src/file") || exists(parent, "away/tmp") {
		t.Error("the wrong directory was emptied")
	}
}

func TestAJobDirectoryThatChangedSinceThePlanStays(t *testing.T) {
	parent, job := newJobs(t)
	dir := onlyJob(t, parent)
	mkdir(t, job, "new")
	if done, err := dir.Remove(t.Context()); err != nil || done != (Done{Changed: 1}) || !exists(job, "tmp") {
		t.Errorf("Remove() = %+v, %v", done, err)
	}
}

func TestWhatHoldsNoJobDirectoriesIsNotARunners(t *testing.T) {
	parent, _ := newJobs(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(parent, link); err != nil {
		t.Fatal(err)
	}
	for path, why := range map[string]string{
		t.TempDir(): "holds no job directories", link: "is a symbolic link",
		"/": "is the root", parent + "/missing": "does not exist",
	} {
		jobs, err := OpenJobs(path, "/no-home")
		if _, ok := errors.AsType[*NotRunner](err); !ok || !strings.Contains(err.Error(), why) {
			t.Errorf("OpenJobs(%q) = %v, %v; want %q", path, jobs, err, why)
		}
	}
	if _, err := OpenJobs(parent, parent); err == nil || !strings.Contains(err.Error(), "home directory") {
		t.Errorf("OpenJobs(home) = %v", err)
	}
}
