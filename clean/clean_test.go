package clean

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// page is the n-th name of a page that the runner could have given.
func page(n int) string {
	const guid = "01234567-89ab-cdef-0123-456789abcdef"
	return fmt.Sprintf("%s_%s_%d.log", guid, guid, n)
}

func block(n int) string {
	return strings.Replace(page(n), fmt.Sprintf("_%d.log", n), fmt.Sprintf(".%d", n), 1)
}

func mkdir(t testing.TB, path ...string) string {
	t.Helper()
	dir := filepath.Join(path...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// write makes a file of four bytes, and the directories above it.
func write(t testing.TB, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	mkdir(t, filepath.Dir(file))
	if err := os.WriteFile(file, []byte("left"), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func exists(path ...string) bool {
	_, err := os.Lstat(filepath.Join(path...))
	return err == nil
}

func nothingIsOpen(_, _ uint64) bool { return false }

// everythingMayGo is the evidence of a host on which nothing lives.
func everythingMayGo() Evidence {
	later := time.Now().Add(time.Hour)
	return Evidence{Before: later, OthersBefore: later, Open: nothingIsOpen}
}

func openRunner(t testing.TB, path string) *Runner {
	t.Helper()
	r, err := OpenRunner(path, "/no-home")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// newRunner is a runner's root with an empty _diag/pages.
func newRunner(t *testing.T) (root, pages string) {
	root = t.TempDir()
	write(t, root, "run.sh")
	return root, mkdir(t, root, "_diag/pages")
}

// planOne is the plan of a root that has one folder in _diag.
func planOne(t testing.TB, root string, evidence Evidence) *Diag {
	t.Helper()
	plans, problems := openRunner(t, root).PlanDiag(t.Context(), evidence)
	if problems != nil || len(plans) != 1 {
		t.Fatalf("PlanDiag() = %d plans, %v; want one", len(plans), problems)
	}
	t.Cleanup(func() { plans[0].Close() })
	return plans[0]
}
