package steps

import (
	"context"
	"os"
	"syscall"
	"testing"
)

// Another user who may read the directory can lock it for as long as they like.
func TestACheckOfAFenceDoesNotWaitForEver(t *testing.T) {
	dir := t.TempDir()
	open := func() *os.File {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	other, ours := open(), open()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lockSoon(ctx, ours); err == nil {
		t.Error("it was locked twice")
	}
	other.Close()
	if err := lockSoon(t.Context(), ours); err != nil {
		t.Error(err)
	}
}
