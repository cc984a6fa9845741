package proc

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostguard/internal/mounts"
	"hostguard/internal/mounts/hungfs"
)

// Whoever made an entry names a path, and a link, into a file system that never answers;
// and processes work there, one of them in another mount namespace, and have it open.
func TestWhatNeverAnswersIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	on, link := filepath.Join(dir, "on"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(on, 0o755), os.Symlink("on/x", link)); err != nil {
		t.Fatal(err)
	}
	hungfs.Mount(t, on)
	there, err := os.OpenFile(on, 0x200000, 0) // O_PATH: the kernel asks nobody
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	for _, namespaces := range []uintptr{0, syscall.CLONE_NEWNS} {
		cmd := exec.Command("/bin/sleep", "600")
		cmd.Dir, cmd.SysProcAttr = on, &syscall.SysProcAttr{Unshareflags: namespaces}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	for name, look := range map[string]func(){
		"a path": func() {
			for _, path := range []string{on, on + "/0123456789abcdef", link + "/0123456789abcdef", on + "/../on/x"} {
				if gone, err := Local().Gone(path); gone || !errors.Is(err, mounts.ErrServed) ||
					!strings.Contains(err.Error(), on) {
					t.Errorf("Gone(%q) = %v, %v", path, gone, err)
				}
			}
		},
		"open files": func() {
			if _, err := Local().OpenFilesNamed(func(base string) bool { return base == "on" }); err != nil {
				t.Error(err)
			}
		},
		"working directories": func() {
			pids, err := Local().WorkingBelow(dir, os.Getpid())
			if err != nil || len(pids) != 1 {
				t.Errorf("%v, %v; want the one that this namespace shows", pids, err)
			}
		},
		"runners": func() { Local().JobRunners(uint32(os.Geteuid())) },
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			go func() { defer close(done); look() }()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("it waits for the file system")
			}
		})
	}
}
