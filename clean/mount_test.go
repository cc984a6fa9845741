package clean

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// bound is a directory of a tree onto which another one of the same file system is bound.
func bound(t *testing.T, on string) (shared string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts: run it as root")
	}
	shared = t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(shared, on, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(on, syscall.MNT_DETACH) })
	return shared
}

func nobodyWorks(string) ([]int, error) { return nil, nil }

// A bind mount has the device of the tree around it.
func TestWhatIsBoundIntoATreeStays(t *testing.T) {
	for name, early := range map[string]bool{"before the plan": true, "after the plan": false} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			on := filepath.Join(path, "tree", "a", "b")
			if err := os.MkdirAll(on, 0o755); err != nil {
				t.Fatal(err)
			}
			var shared string
			if early {
				shared = bound(t, on)
			}
			w, err := OpenWorkspace(path, "")
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			tree, err := w.PlanTree(t.Context(), "tree", nobodyWorks)
			if !early {
				if err != nil {
					t.Fatal(err)
				}
				defer tree.Close()
				shared = bound(t, on)
				_, err = tree.Remove(t.Context())
			}
			if refused, ok := errors.AsType[*Refused](err); !ok || !strings.Contains(refused.Why, "mounted") {
				t.Errorf("the error: %v", err)
			}
			if _, err := os.Stat(filepath.Join(shared, "file")); err != nil {
				t.Errorf("what was bound: %v", err)
			}
		})
	}
}

func TestRemoveAllRemovesAll(t *testing.T) {
	parent := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(parent, "x", "a", "b"), 0o755),
		os.WriteFile(filepath.Join(parent, "x", "a", "file"), nil, 0o400),
		os.WriteFile(filepath.Join(parent, "other"), nil, 0o400),
		os.Symlink("../other", filepath.Join(parent, "x", "link"))); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for range 2 { // nothing to do is no error
		if err := removeAll(root, "x"); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(parent); len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left: %v", left)
	}
}
