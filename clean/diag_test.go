package clean

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func names(plan *Diag) (list []string) {
	for _, file := range plan.Files {
		list = append(list, file.Name)
	}
	slices.Sort(list)
	return list
}

func oddNames(plan *Diag) (list []string) {
	for _, odd := range plan.Odd {
		list = append(list, odd.Name)
	}
	slices.Sort(list)
	return list
}

func remove(t *testing.T, plan *Diag) Done {
	t.Helper()
	done, err := plan.Remove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestLeftOverPagesAndBlocksGoAndTheirDirectoriesStay(t *testing.T) {
	root, pages := newRunner(t)
	write(t, pages, page(1))
	write(t, pages, page(12))
	left := write(t, root, "_diag/blocks", block(3))
	runnerLog := write(t, root, "_diag/Runner_20260301-000000-utc.log")
	temp := write(t, root, "_work/_temp/_runner_file_commands/set_output_1")

	plans, problems := openRunner(t, root).PlanDiag(t.Context(), everythingMayGo())
	if problems != nil || len(plans) != 2 {
		t.Fatalf("PlanDiag() = %d plans, %v", len(plans), problems)
	}
	var done Done
	for _, plan := range plans {
		done.Add(remove(t, plan))
		plan.Close()
	}
	if done != (Done{Files: 3, Bytes: 12}) {
		t.Errorf("done: %+v", done)
	}
	for _, gone := range []string{filepath.Join(pages, page(1)), filepath.Join(pages, page(12)), left} {
		if exists(gone) {
			t.Errorf("%s is still there", gone)
		}
	}
	for _, kept := range []string{pages, filepath.Dir(left), runnerLog, temp} {
		if !exists(kept) {
			t.Errorf("%s was removed", kept)
		}
	}
}

func TestAPlanAloneRemovesNothing(t *testing.T) {
	root, pages := newRunner(t)
	write(t, pages, page(1))
	plan := planOne(t, root, everythingMayGo())
	if len(plan.Files) != 1 || plan.Bytes != 4 || !exists(pages, page(1)) {
		t.Errorf("plan: %+v", plan)
	}
}

func TestARunnerWithoutDiagHasNothingToClean(t *testing.T) {
	root := t.TempDir()
	write(t, root, "run.sh")
	if plans, problems := openRunner(t, root).PlanDiag(t.Context(), everythingMayGo()); plans != nil || problems != nil {
		t.Errorf("PlanDiag() = %v, %v", plans, problems)
	}
}

func TestOnlyNamesOfTheRunnersShapeGo(t *testing.T) {
	root, pages := newRunner(t)
	good := page(1)
	odd := []string{
		strings.ToUpper(good[:4]) + "A" + good[5:],
		strings.Replace(good, "abcdef", "ABCDEF", 1),
		strings.Replace(good, "_1.log", "_0.log", 1),
		strings.Replace(good, "_1.log", "_01.log", 1),
		strings.Replace(good, "_1.log", "_.log", 1),
		strings.Replace(good, "_1.log", "_-1.log", 1),
		strings.Replace(good, "_1.log", "_99999999999.log", 1),
		block(1), // a block among the pages
		strings.Replace(good, ".log", ".block", 1),
		strings.Replace(good, "_1.log", "_.1.log", 1),
		strings.Replace(good, ".log", "\n.log", 1),
		strings.Replace(good, "_1.log", "_1\n::set-env name=X::y.log", 1),
		strings.Replace(good, "-", "_", 1),
		strings.Replace(good, "0", "g", 1),
		good + ".log", good + "~", " " + good, "x.log", ".keep",
	}
	write(t, pages, good)
	for _, name := range odd {
		write(t, pages, name)
	}
	plan := planOne(t, root, everythingMayGo())
	slices.Sort(odd)
	if got := oddNames(plan); !slices.Equal(got, odd) {
		t.Errorf("odd names:\n got %q\nwant %q", got, odd)
	}
	if done := remove(t, plan); done.Files != 1 || exists(pages, good) {
		t.Errorf("done: %+v", done)
	}
	for _, name := range odd {
		if !exists(pages, name) {
			t.Errorf("%q was removed", name)
		}
	}
}

func TestOnlyRegularFilesWithOneNameGo(t *testing.T) {
	root, pages := newRunner(t)
	outside := write(t, t.TempDir(), "outside")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Symlink(outside, filepath.Join(pages, page(1))))
	check(os.Link(outside, filepath.Join(pages, page(2))))
	check(syscall.Mkfifo(filepath.Join(pages, page(3)), 0o644))
	write(t, mkdir(t, pages, page(4)), page(1))
	mkdir(t, pages, page(5))
	check(os.Symlink("missing", filepath.Join(pages, page(6))))

	plan := planOne(t, root, everythingMayGo())
	if len(plan.Files) != 0 || plan.Skipped() != 6 {
		t.Errorf("may go: %q, odd: %q", names(plan), plan.Odd)
	}
	remove(t, plan)
	for n := range 6 {
		if !exists(pages, page(n+1)) {
			t.Errorf("page %d was removed", n+1)
		}
	}
	if !exists(outside) {
		t.Error("the file outside was removed")
	}
}

func TestFilesOpenSomewhereStay(t *testing.T) {
	root, pages := newRunner(t)
	open, err := os.Open(write(t, pages, page(1)))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	write(t, pages, page(2))
	info, err := open.Stat()
	if err != nil {
		t.Fatal(err)
	}
	evidence := everythingMayGo()
	evidence.Open = func(dev, ino uint64) bool { return dev == device(info) && ino == stat(info).Ino }
	plan := planOne(t, root, evidence)
	if got := names(plan); !slices.Equal(got, []string{page(2)}) || plan.Open != 1 {
		t.Errorf("may go: %q, open: %d", got, plan.Open)
	}
}

func TestFilesFromTheTimeOfALiveWorkerStay(t *testing.T) {
	root, pages := newRunner(t)
	start := time.Now().Add(-time.Hour)
	for n, written := range []time.Time{start.Add(-time.Nanosecond), start, start.Add(time.Minute)} {
		if err := os.Chtimes(write(t, pages, page(n+1)), written, written); err != nil {
			t.Fatal(err)
		}
	}
	evidence := everythingMayGo()
	evidence.Before = start
	plan := planOne(t, root, evidence)
	if got := names(plan); !slices.Equal(got, []string{page(1)}) || plan.Newer != 2 {
		t.Errorf("may go: %q, newer: %d", got, plan.Newer)
	}
}

func TestFilesOfOtherUsersHaveALimitOfTheirOwn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("run as root: only root can make a file of another user")
	}
	root, pages := newRunner(t)
	write(t, pages, page(1))
	if err := os.Chown(write(t, pages, page(2)), 4711, 4711); err != nil {
		t.Fatal(err)
	}
	evidence := everythingMayGo()
	evidence.OthersBefore = time.Now().Add(-time.Hour)
	plan := planOne(t, root, evidence)
	if got := names(plan); !slices.Equal(got, []string{page(1)}) || plan.Newer != 1 {
		t.Errorf("may go: %q, newer: %d", got, plan.Newer)
	}
}

func TestLinksInPlaceOfDirectoriesAreRefused(t *testing.T) {
	for _, linked := range []string{"_diag", "_diag/pages", "_diag/blocks"} {
		for _, kind := range []string{"outside", "inside"} { // os.Root alone stops only the first
			t.Run(linked+" to a directory "+kind, func(t *testing.T) {
				root := t.TempDir()
				write(t, root, "run.sh")
				target := t.TempDir()
				if kind == "inside" {
					target = mkdir(t, root, "_diag-old")
				}
				page1 := write(t, target, page(1))
				inner := write(t, target, "pages", page(1))
				mkdir(t, root, filepath.Dir(linked))
				relative, err := filepath.Rel(filepath.Dir(filepath.Join(root, linked)), target)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(relative, filepath.Join(root, linked)); err != nil {
					t.Fatal(err)
				}
				plans, problems := openRunner(t, root).PlanDiag(t.Context(), everythingMayGo())
				for _, plan := range plans {
					remove(t, plan)
					plan.Close()
				}
				if len(problems) != 1 || !strings.Contains(problems[0].Error(), "symbolic link") {
					t.Errorf("problems: %v", problems)
				}
				if !exists(page1) || !exists(inner) {
					t.Error("a file behind the link was removed")
				}
			})
		}
	}
}

func TestALinkAmongPagesAndBlocksLeavesTheOtherFolderToBeCleaned(t *testing.T) {
	root, pages := newRunner(t)
	write(t, pages, page(1))
	if err := os.Symlink("pages", filepath.Join(root, "_diag/blocks")); err != nil {
		t.Fatal(err)
	}
	plans, problems := openRunner(t, root).PlanDiag(t.Context(), everythingMayGo())
	if len(problems) != 1 || len(plans) != 1 || len(plans[0].Files) != 1 {
		t.Errorf("plans: %v, problems: %v", plans, problems)
	}
}

// again runs this test once more, as another user.
func again(t *testing.T, uid uint32) {
	self, err := os.Open("/proc/self/exe") // its folder may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.v", "-test.run", "^"+t.Name()+"$")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as user %d: %v: %s", uid, err, out)
	}
}

func TestAnUnreadableFolderIsAProblemThatNamesIt(t *testing.T) {
	if os.Geteuid() == 0 { // who reads everything
		again(t, 65534)
		return
	}
	root, pages := newRunner(t)
	if err := os.Chmod(pages, 0); err != nil {
		t.Fatal(err)
	}
	_, problems := openRunner(t, root).PlanDiag(t.Context(), everythingMayGo())
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "_diag/pages") ||
		!errors.Is(problems[0], os.ErrPermission) {
		t.Errorf("problems: %v", problems)
	}
}

func TestWhatChangedSinceThePlanStays(t *testing.T) {
	root, pages := newRunner(t)
	for n := range 5 {
		write(t, pages, page(n+1))
	}
	plan := planOne(t, root, everythingMayGo())
	file := func(n int) string { return filepath.Join(pages, page(n)) }
	later := time.Now().Add(time.Minute)
	for _, err := range []error{
		os.Chtimes(file(1), later, later),
		os.Link(file(2), file(20)),
		errors.Join(os.Remove(file(3)), os.Mkdir(file(3), 0o755)),
		os.Remove(file(4)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if done := remove(t, plan); done != (Done{Files: 1, Bytes: 4, Changed: 4}) {
		t.Errorf("done: %+v", done)
	}
	for n, want := range map[int]bool{1: true, 2: true, 3: true, 4: false, 5: false} {
		if exists(file(n)) != want {
			t.Errorf("page %d exists: %v, want %v", n, !want, want)
		}
	}
}

func TestAnotherFolderInItsPlaceIsNotTouched(t *testing.T) {
	root, pages := newRunner(t)
	write(t, pages, page(1))
	plan := planOne(t, root, everythingMayGo())
	if err := os.Rename(pages, pages+".away"); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	write(t, outside, page(1))
	if err := os.Symlink(outside, pages); err != nil {
		t.Fatal(err)
	}
	if done := remove(t, plan); done.Files != 1 || !exists(outside, page(1)) {
		t.Errorf("done: %+v, the page behind the link is there: %v", done, exists(outside, page(1)))
	}
}

func TestAnInterruptedRemovalReportsWhatItDid(t *testing.T) {
	root, pages := newRunner(t)
	for n := range 10 {
		write(t, pages, page(n+1))
	}
	plan := planOne(t, root, everythingMayGo())
	cause := errors.New("SIGTERM")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	done, err := plan.Remove(ctx)
	if !errors.Is(err, cause) || done != (Done{}) || !exists(pages, page(1)) {
		t.Errorf("Remove() = %+v, %v", done, err)
	}
}

// diagName checks the same as IsDiagName in another way.
var diagName = regexp.MustCompile(`\A` + guid + `_` + guid + `(_[1-9][0-9]{0,9}\.log|\.[1-9][0-9]{0,9})\z`)

const guid = `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`

func FuzzDiagName(f *testing.F) {
	f.Add(page(1))
	f.Add(page(2147483647))
	f.Add(block(2147483647))
	f.Add(block(0))
	f.Add(page(0))
	f.Add("")
	f.Add(page(1) + "\n")
	f.Add(strings.Repeat("-", 73) + "_1.log")
	f.Fuzz(func(t *testing.T, name string) {
		if got, want := IsDiagName(name), diagName.MatchString(name); got != want {
			t.Errorf("IsDiagName(%q) = %v, want %v", name, got, want)
		}
	})
}
