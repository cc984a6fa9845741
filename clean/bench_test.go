package clean

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	fmt.Printf("%d files\t%10s %10s %8s\n", n, "rm -rf", "clean", "ratio")
	for _, tree := range []struct {
		name  string
		in    func(root string) string
		plant func(t *testing.T, dir string, n int)
		clean func(t *testing.T, root string)
	}{
		{"pages", pages, plantPages, cleanPages},
		{"worktrees", worktrees, plantWorktrees, cleanWorktrees},
	} {
		var best [2]time.Duration // the rest is what else the machine did
		for range 3 {
			for i := range best {
				root := t.TempDir()
				write(t, root, "run.sh")
				tree.plant(t, tree.in(root), n)
				start := time.Now()
				if i == 0 {
					if err := exec.Command("rm", "-rf", tree.in(root)).Run(); err != nil {
						t.Fatal(err)
					}
				} else {
					tree.clean(t, root)
				}
				if took := time.Since(start); best[i] == 0 || took < best[i] {
					best[i] = took
				}
			}
		}
		fmt.Printf("%-10s\t%10s %10s %8.2f\n", tree.name, best[0].Round(time.Millisecond),
			best[1].Round(time.Millisecond), best[1].Seconds()/best[0].Seconds())
	}
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
