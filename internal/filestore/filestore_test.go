package filestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hostguard/lock"
)

// open opens a store of its own, in the one place that every host has for it.
func open(t *testing.T) *Store {
	t.Helper()
	parent, err := os.MkdirTemp("/run/lock", "hostguard-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	s, err := Open(filepath.Join(parent, "locks"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOneOfManyCreates(t *testing.T) {
	dir := open(t).dir
	var won atomic.Int32
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			s, err := Open(dir) // as another process would
			if err != nil {
				t.Error(err)
				return
			}
			switch _, err := s.Create(t.Context(), "build", nil); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, lock.ErrConflict):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 16 creators won, want 1", won.Load())
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 2 {
		t.Errorf("%d files, want the guard and the entry", len(files))
	}
}

func TestAnEntryIsReadAsItWasWritten(t *testing.T) {
	s := open(t)
	labels := map[string]string{"a": "::set-env name=x::y\r\n\x1b", "b": ""}
	id, err := s.Create(t.Context(), "build", labels)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), "build-2", nil); err != nil {
		t.Fatal(err)
	}
	entries, err := s.List(t.Context(), "build")
	if err != nil || len(entries) != 2 {
		t.Fatalf("List = %v, %v", entries, err)
	}
	for _, e := range entries {
		right := e.ID == id && fmt.Sprint(e.Labels) == fmt.Sprint(labels) && time.Since(e.Created) <= time.Minute
		if e.Name == "build" && !right {
			t.Errorf("read %+v", e)
		}
	}
}

func TestEveryoneMayReadAnEntryWhateverTheUmask(t *testing.T) {
	s := open(t)
	defer syscall.Umask(syscall.Umask(0o077))
	if _, err := s.Create(t.Context(), "build", nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(s.dir, "build"+suffix))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the entry: %v, %v; another user would not see whose it is", info, err)
	}
}

func TestRemoveTakesTheEntryWithThatIDOnly(t *testing.T) {
	s := open(t)
	first, err := s.Create(t.Context(), "build", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	second, err := s.Create(t.Context(), "build", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{first, "build", "", "../build"} {
		if err := s.Remove(t.Context(), id); !errors.Is(err, lock.ErrNotFound) {
			t.Errorf("Remove(%q) = %v, want ErrNotFound", id, err)
		}
	}
	if entries, _ := s.List(t.Context(), "build"); len(entries) != 1 || entries[0].ID != second {
		t.Errorf("left: %v", entries)
	}
}

func TestWhatCannotBeReadIsHeldByUnknown(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"garbage":   func(path string) error { return os.WriteFile(path, []byte("not a lock"), 0o600) },
		"empty":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"another":   func(path string) error { return os.WriteFile(path, []byte(`{"id":"x","name":"other"}`), 0o600) },
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"link":      func(path string) error { return os.Symlink("/etc/passwd", path) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"huge": func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 1<<30)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			if err := plant(filepath.Join(s.dir, "build"+suffix)); err != nil {
				t.Fatal(err)
			}
			entries, err := s.List(t.Context(), "build")
			if err != nil || len(entries) != 1 || entries[0].Labels != nil {
				t.Fatalf("List = %v, %v", entries, err)
			}
			if _, err := s.Create(t.Context(), "build", nil); !errors.Is(err, lock.ErrConflict) {
				t.Errorf("Create = %v, want ErrConflict", err)
			}
			if err := s.Remove(t.Context(), entries[0].ID); err != nil {
				t.Errorf("by its ID it can be removed once it is stale: %v", err)
			}
		})
	}
}

// A moment without space, or read-only, is waited out: it is no refusal.
func TestAFullDiskRefusesNothingForGoodAndAllowsARelease(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a small file system: run it as root")
	}
	dir, err := os.MkdirTemp("/run/lock", "hostguard-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, 0)
	s, err := Open(filepath.Join(dir, "locks"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.root.Close()
	id, err := s.Create(t.Context(), "build", map[string]string{"x": "y"})
	if err != nil {
		t.Fatal(err)
	}
	full, _ := os.Create(filepath.Join(dir, "full"))
	for err == nil {
		_, err = full.Write(make([]byte, 1024))
	}
	full.Close()
	_, err = s.Create(t.Context(), "other", map[string]string{"x": strings.Repeat("y", 5000)})
	sorted := errors.Is(err, lock.ErrRefused) || errors.Is(err, lock.ErrConflict)
	if err == nil || sorted || !strings.Contains(err.Error(), "no space") {
		t.Errorf("Create on a full disk = %v", err)
	}
	if err := s.Remove(t.Context(), id); err != nil {
		t.Errorf("Remove on a full disk = %v", err)
	}
	if entries, err := s.List(t.Context(), ""); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if err := os.Remove(full.Name()); err != nil {
		t.Fatal(err)
	}
	if id, err = s.Create(t.Context(), "build", nil); err != nil {
		t.Fatal(err)
	}
	remount := func(flags uintptr) {
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	_, createErr := s.Create(t.Context(), "other", nil)
	for _, err := range []error{createErr, s.Remove(t.Context(), id)} {
		sorted := errors.Is(err, lock.ErrRefused) || errors.Is(err, lock.ErrNotFound)
		if err == nil || sorted || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("a change on a read-only disk = %v", err)
		}
	}
	remount(0)
	if err := s.Remove(t.Context(), id); err != nil {
		t.Errorf("Remove when the disk can be written again = %v", err)
	}
}

// Processes that use the directory while somebody removes or replaces it go on in
// the one that is at its path, and a lock that is held stays held.
func TestADirectoryThatIsReplacedKeepsWhatItsUsersKnow(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, dir string) error{
		"removed": func(_ *testing.T, dir string) error { return os.RemoveAll(dir) },
		"removed and made again": func(_ *testing.T, dir string) error {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			_, err := Open(dir) // by one who knows nothing
			return err
		},
		"moved away": func(_ *testing.T, dir string) error { return os.Rename(dir, dir+"-old") },
		"mounted over": func(t *testing.T, dir string) error {
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=777"); err != nil {
				return err
			}
			t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			holder := open(t)
			id, err := holder.Create(t.Context(), "build", map[string]string{"x": "y"})
			if err != nil {
				t.Fatal(err)
			}
			waiter, err := Open(holder.dir)
			if err != nil {
				t.Fatal(err)
			}
			var replaced atomic.Int32
			waiter.OnReplaced = func() { replaced.Add(1) }
			if _, err := waiter.List(t.Context(), "build"); err != nil {
				t.Fatal(err)
			}
			if err := replace(t, holder.dir); err != nil {
				t.Fatal(err)
			}
			entries, err := waiter.List(t.Context(), "build")
			if err != nil || len(entries) != 1 || entries[0].ID != id || entries[0].Labels["x"] != "y" || replaced.Load() != 1 {
				t.Errorf("List = %v, %v; %d calls of OnReplaced", entries, err, replaced.Load())
			}
			newcomer, err := Open(holder.dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newcomer.Create(t.Context(), "build", nil); !errors.Is(err, lock.ErrConflict) {
				t.Errorf("a second Create = %v, want ErrConflict", err)
			}
			if err := holder.Remove(t.Context(), id); err != nil {
				t.Errorf("the release = %v", err)
			}
			if _, err := newcomer.Create(t.Context(), "build", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatWasRemovedBeforeIsNotBroughtBack(t *testing.T) {
	holder := open(t)
	id, err := holder.Create(t.Context(), "build", nil)
	if err != nil {
		t.Fatal(err)
	}
	waiter, err := Open(holder.dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // with the entry and without
		if _, err := waiter.List(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		_ = holder.Remove(t.Context(), id)
	}
	if err := os.RemoveAll(holder.dir); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{waiter, holder} {
		if entries, err := s.List(t.Context(), ""); err != nil || len(entries) != 0 {
			t.Errorf("List = %v, %v", entries, err)
		}
	}
}

// Nobody has to ask: a watch is enough, such as that of with-lock.
func TestAWatchEndsWithItsDirectoryAndBringsBackTheLock(t *testing.T) {
	holder := open(t)
	id, err := holder.Create(t.Context(), "build", nil)
	if err != nil {
		t.Fatal(err)
	}
	wakes, err := holder.Watch(t.Context(), "build")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(holder.dir); err != nil {
		t.Fatal(err)
	}
	end := time.After(10 * time.Second)
	for open := true; open; {
		select {
		case _, open = <-wakes:
		case <-end:
			t.Fatal("the watch goes on")
		}
	}
	newcomer, err := Open(holder.dir)
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := newcomer.List(t.Context(), ""); err != nil || len(entries) != 1 || entries[0].ID != id {
		t.Errorf("List = %v, %v", entries, err)
	}
}

func TestPlacesThatNotEveryJobSeesAreRefused(t *testing.T) {
	for _, dir := range []string{filepath.Join(t.TempDir(), "locks"), "/dev/shm/hostguard-test-locks"} {
		_, err := Open(dir)
		os.Remove(dir)
		if err == nil || !strings.Contains(err.Error(), "of which each service may have its own") {
			t.Errorf("Open(%q) = %v", dir, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, "/nowhere/locks"} {
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("Open(%q) = %v", dir, err)
		}
	}
}

func TestACancelledWaitForTheGuardCreatesNothing(t *testing.T) {
	s := open(t)
	guard, err := openGuard(s.root)
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close()
	if err := syscall.Flock(int(guard.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Create(ctx, "build", nil); !errors.Is(err, lock.ErrConflict) {
		t.Errorf("Create = %v, want ErrConflict", err)
	}
	if err := s.Remove(ctx, "x"); err == nil || errors.Is(err, lock.ErrNotFound) {
		t.Errorf("Remove = %v: not known, and no answer", err)
	}
	if entries, _ := s.List(t.Context(), ""); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
}

func TestWatchDeliversCreationsOfItsPrefix(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	wakes, err := s.Watch(ctx, "hg-1-w-me-")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hg-1-w-other-1", "hg-1-w-me-1"} {
		if _, err := s.Create(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-wakes:
	case <-time.After(10 * time.Second):
		t.Fatal("no wake")
	}
	cancel()
	for range wakes {
		// until it is closed
	}
}

func TestWhatAKilledCreatorLeftAsideIsSwept(t *testing.T) {
	s := open(t)
	for name, age := range map[string]time.Duration{"old": 2 * asideLife, "young": 0} {
		path := filepath.Join(s.dir, name+asideSuffix)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Create(t.Context(), "build", nil); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(s.dir, "*"+asideSuffix))
	if len(left) != 1 || filepath.Base(left[0]) != "young"+asideSuffix {
		t.Errorf("left aside: %q", left)
	}
}

// Who only looks puts nothing back that somebody has removed.
func TestAReadOnlyStoreRestoresNothing(t *testing.T) {
	holder := open(t)
	if _, err := holder.Create(t.Context(), "build", map[string]string{"x": "y"}); err != nil {
		t.Fatal(err)
	}
	observer, err := Open(holder.dir)
	if err != nil {
		t.Fatal(err)
	}
	observer.ReadOnly = true
	if entries, err := observer.List(t.Context(), ""); err != nil || len(entries) != 1 {
		t.Fatalf("List = %v, %v", entries, err)
	}
	if err := os.RemoveAll(holder.dir); err != nil {
		t.Fatal(err)
	}
	if entries, err := observer.List(t.Context(), ""); err != nil || len(entries) != 0 {
		t.Errorf("List = %v, %v", entries, err)
	}
}
