package install

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A user exchanges the directory to install in for others, root's own among them, as fast as
// he can: it is refused at every moment, since what is above is his.
func TestRootInstallsNothingWhereOthersExchange(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes other users")
	}
	base, err := os.MkdirTemp("/var/tmp", "exchange")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	home := filepath.Join(base, "home")
	prefix, roots, link := filepath.Join(home, "prefix"), filepath.Join(home, "roots"), filepath.Join(home, "link")
	victim := filepath.Join(base, "victim")
	if err := errors.Join(os.Chmod(base, 0o755), os.Mkdir(home, 0o755), os.Mkdir(prefix, 0o755), os.Mkdir(roots, 0o755),
		os.Mkdir(victim, 0o755), os.Symlink(victim, link), os.Chown(home, 54321, 54321),
		os.Chown(prefix, 54321, 54321), os.Lchown(link, 54321, 54321)); err != nil {
		t.Fatal(err)
	}
	var exchanges atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			other := []string{roots, link}[i%2]
			if unix.Renameat2(unix.AT_FDCWD, prefix, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE) == nil {
				exchanges.Add(1)
			}
		}
	}()
	for end := time.Now().Add(10 * time.Second); exchanges.Load() < 10_000 && time.Now().Before(end); {
		plan, err := Plan([]File{{Path: filepath.Join(prefix, "bin/hostguard"), Data: []byte(Marker), Mode: 0o755}})
		if err == nil {
			t.Errorf("it would %v", plan)
			break
		}
	}
	close(stop)
	<-done
	if left, err := os.ReadDir(victim); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

func TestTheModesOfWhatIsInstalledAreNotTheUmasks(t *testing.T) {
	for _, umask := range []int{0, 0o777} {
		dir := filepath.Join(t.TempDir(), "a/b")
		program := File{Path: filepath.Join(dir, "hostguard"), Data: []byte(Marker), Mode: 0o755}
		if err := os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755); err != nil {
			t.Fatal(err)
		}
		before := syscall.Umask(umask)
		err := Change{program, Create}.Apply()
		syscall.Umask(before)
		if err != nil {
			t.Errorf("umask %o: %v", umask, err)
		}
		for path, want := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o755, program.Path: 0o755} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("umask %o: %q: %v, %v", umask, path, info, err)
			}
		}
	}
}
