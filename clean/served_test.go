package clean

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostguard/internal/mounts"
	"hostguard/internal/mounts/hungfs"
)

// within fails if f waits for a file system that never answers.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for the file system")
	}
}

// refusal fails unless an error names the mount point and why.
func refusal(t *testing.T, err error, point string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), point) || !strings.Contains(err.Error(), mounts.ErrServed.Error()) {
		t.Errorf("the error: %v; want one that names %q", err, point)
	}
}

func TestAFolderThatNeverAnswersIsNotWaitedFor(t *testing.T) {
	for _, at := range []string{"_diag", "_diag/pages", "_diag/pages/" + page(1)} {
		for when, early := range map[string]bool{"before the plan": true, "after the plan": false} {
			t.Run(at+" "+when, func(t *testing.T) {
				root, pages := newRunner(t)
				write(t, pages, page(1))
				on := filepath.Join(root, at)
				if early {
					hungfs.Mount(t, on)
				}
				var plans []*Diag
				var problems []error
				within(t, func() { plans, problems = openRunner(t, root).PlanDiag(t.Context(), everythingMayGo()) })
				if early {
					refusal(t, errors.Join(problems...), on)
					return
				}
				defer plans[0].Close()
				hungfs.Mount(t, on)
				var done Done
				var err error
				within(t, func() { done, err = plans[0].Remove(t.Context()) })
				if at == "_diag/pages/"+page(1) {
					refusal(t, err, on)
				} else if done.Files != 1 || err != nil { // what was opened is not below what is mounted above it
					t.Error(done, err)
				}
			})
		}
	}
}

func TestATreeThatNeverAnswersIsNotWaitedFor(t *testing.T) {
	for _, at := range []string{"tree", "tree/a", "tree/a/b", "tree/a/file", "."} {
		for when, early := range map[string]bool{"before the plan": true, "after the plan": false} {
			t.Run(at+" "+when, func(t *testing.T) {
				path := t.TempDir()
				write(t, path, "tree/a/file")
				mkdir(t, path, "tree/a/b")
				mkdir(t, path, "elsewhere")
				on := filepath.Join(path, at)
				if at == "." {
					on = filepath.Join(path, "elsewhere")
				}
				w := openWorkspace(t, path)
				if early {
					hungfs.Mount(t, on)
				}
				var tree *Tree
				var err error
				within(t, func() { tree, err = w.PlanTree(t.Context(), "tree/a", nobodyWorksThere) })
				if err == nil {
					defer tree.Close()
					if !early {
						hungfs.Mount(t, on)
					}
					within(t, func() { _, err = tree.Remove(t.Context()) })
				}
				if at == "." || at == "tree" && !early {
					if err != nil {
						t.Error(err)
					}
					return
				}
				refusal(t, err, on)
			})
		}
	}
}

func TestAJobDirectoryThatNeverAnswersIsNotWaitedFor(t *testing.T) {
	for _, at := range []string{"", "act", "hostexecutor"} {
		parent := t.TempDir()
		for _, folder := range []string{"act", "hostexecutor", "tmp"} {
			mkdir(t, parent, "0123456789abcdef", folder)
			mkdir(t, parent, "fedcba9876543210", folder)
		}
		on := filepath.Join(parent, "0123456789abcdef", at)
		hungfs.Mount(t, on)
		within(t, func() {
			j, err := OpenJobs(parent, "/no-home")
			if err != nil {
				t.Error(err)
				return
			}
			defer j.Close()
			dirs, odd, err := j.List()
			if err != nil || len(dirs) != 1 || dirs[0].Name != "fedcba9876543210" || len(odd) != 1 ||
				odd[0].Why != mounts.ErrServed.Error() {
				t.Errorf("%q: %v, %v, %v", at, dirs, odd, err)
			}
		})
	}
}
