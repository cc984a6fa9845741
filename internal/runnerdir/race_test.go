package runnerdir

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const stranger = 54321 // a user whom no host has

// A user exchanges the parent of his new directory for a link to one of root's, again and
// again: root made directories there, and gave them away.
func TestADirectoryIsMadeOnlyWhereItsUserMay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes other users")
	}
	base, err := os.MkdirTemp("/var/tmp", "race")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	home, roots := filepath.Join(base, "home"), filepath.Join(base, "roots")
	parent, link := filepath.Join(home, "parent"), filepath.Join(home, "link")
	for _, err := range []error{
		os.Chmod(base, 0o755), os.MkdirAll(parent, 0o755), os.Mkdir(roots, 0o700), os.Symlink(roots, link),
		os.Chown(home, stranger, stranger), os.Chown(parent, stranger, stranger),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const exchanges = 10_000
	done := make(chan error)
	go func() {
		defer close(done)
		for range exchanges {
			if err := unix.Renameat2(unix.AT_FDCWD, parent, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
				done <- err
				return
			}
		}
	}()
	var files Files
	made := 0
	for running := true; running; {
		select {
		case err := <-done:
			if running = false; err != nil {
				t.Error(err)
			}
		default:
		}
		dir := filepath.Join(parent, "new")
		is, err := files.Make(t.Context(), stranger, dir, []byte("runner: {}\n"))
		if err == nil {
			made++
			_ = files.Remove(t.Context(), stranger, dir, is)
		}
	}
	entries, err := os.ReadDir(roots)
	info, statErr := os.Stat(roots)
	if err != nil || statErr != nil || len(entries) > 0 || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("%v, %v, %v", entries, info.Mode(), err)
	}
	t.Logf("%d exchanges, %d directories made", exchanges, made)
}
