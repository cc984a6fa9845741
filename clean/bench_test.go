package clean

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestCleanAgainstRm prints how long cleaning takes beside rm -rf of an equal
// tree. It is a measurement for "make bench", not a check: it runs when
// HOSTGUARD_BENCH_FILES says how many files to remove, in TMPDIR.
func TestCleanAgainstRm(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("HOSTGUARD_BENCH_FILES"))
	if n == 0 {
		t.Skip("set HOSTGUARD_BENCH_FILES=100000 to measure")
	}
	pages := func(root string) string { return filepath.Join(root, "_diag", "pages") }
	worktrees := func(root string) string { return filepath.Join(root, ".claude", "worktrees") }
	fmt.Printf("%d files\trm -rf: %8s %8s\tclean: %8s %8s\tratio: %5s %5s\n", n, "time", "cpu", "time", "cpu", "time", "cpu")
	for _, tree := range []struct {
		name  string
		in    func(root string) string
		plant func(t *testing.T, dir string, n int)
		clean func(t *testing.T, root string)
	}{
		{"pages", pages, plantPages, cleanPages},
		{"worktrees", worktrees, plantWorktrees, cleanWorktrees},
	} {
		var wall, cpu [2]time.Duration // the best of three: the rest is what else the machine did
		for range 3 {
			for i := range wall {
				root := t.TempDir()
				write(t, root, "run.sh")
				tree.plant(t, tree.in(root), n)
				took, busy := measured(func() {
					if i == 1 {
						tree.clean(t, root)
					} else if err := exec.Command("rm", "-rf", tree.in(root)).Run(); err != nil {
						t.Fatal(err)
					}
				})
				if wall[i] == 0 || took < wall[i] {
					wall[i] = took
				}
				if cpu[i] == 0 || busy < cpu[i] {
					cpu[i] = busy
				}
			}
		}
		fmt.Printf("%-12s\t        %6dms %6dms\t       %6dms %6dms\t       %5.2f %5.2f\n", tree.name,
			wall[0].Milliseconds(), cpu[0].Milliseconds(), wall[1].Milliseconds(), cpu[1].Milliseconds(),
			wall[1].Seconds()/wall[0].Seconds(), cpu[1].Seconds()/cpu[0].Seconds())
	}
}

// measured runs f and tells its time, and how long this process and its
// children computed, which other work on the machine disturbs less.
func measured(f func()) (wall, cpu time.Duration) {
	computed := func() (sum time.Duration) {
		for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
			var usage syscall.Rusage
			if err := syscall.Getrusage(who, &usage); err == nil {
				sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
			}
		}
		return sum
	}
	start, before := time.Now(), computed()
	f()
	return time.Since(start), computed() - before
}

func plantPages(t *testing.T, dir string, n int) {
	mkdir(t, dir)
	for i := range n {
		write(t, dir, page(i+1))
	}
}

func cleanPages(t *testing.T, root string) {
	plan := planOne(t, root, everythingMayGo())
	defer plan.Close()
	if _, err := plan.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// plantWorktrees makes ten checkouts of directories of a hundred files.
func plantWorktrees(t *testing.T, dir string, n int) {
	for i := range n {
		path := filepath.Join(dir, fmt.Sprint(i%10), fmt.Sprint(i/1000))
		if i%1000 < 10 {
			mkdir(t, path)
		}
		if err := os.WriteFile(filepath.Join(path, fmt.Sprint(i)), []byte("left"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func cleanWorktrees(t *testing.T, root string) {
	workspace, err := OpenWorkspace(root, "")
	if err != nil {
		t.Fatal(err)
	}
	defer workspace.Close()
	tree, err := workspace.PlanTree(t.Context(), ".claude/worktrees", nobodyWorksThere)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if _, err := tree.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func nobodyWorksThere(string) ([]int, error) { return nil, nil }
