package filestore

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hostguard/lock"
)

// Every user of a host may write in the directory and, until somebody else has made
// it, be its owner. What follows is what such a user does.

// nobody is a user who is not the one that runs the test.
const nobody = 65534

// exchange exchanges two names until stop is closed, and counts how often.
func exchange(t *testing.T, a, b string) (exchanges *atomic.Int64) {
	exchanges = new(atomic.Int64)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) == nil {
				exchanges.Add(1)
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	return exchanges
}

// enough is how many exchanges a race is driven for, and never longer than patience.
const (
	enough   = 10_000
	patience = 20 * time.Second
)

func during(t *testing.T, exchanges *atomic.Int64, attacked func()) {
	t.Helper()
	for end := time.Now().Add(patience); exchanges.Load() < enough; {
		if time.Now().After(end) {
			t.Logf("%d exchanges only", exchanges.Load())
			return
		}
		attacked()
	}
}

// A root that follows such a link makes a file that all may write where the link leads.
func TestALinkInThePlaceOfTheDirectoryLeadsNowhere(t *testing.T) {
	for name, target := range map[string]string{"away": "../%s/victim", "beside": "victim"} {
		t.Run(name, func(t *testing.T) {
			parent := filepath.Dir(open(t).dir)
			victim, link := filepath.Join(parent, "victim"), filepath.Join(parent, "link")
			if strings.Contains(target, "%") {
				target = fmt.Sprintf(target, filepath.Base(parent))
			}
			if err := errors.Join(os.Mkdir(victim, 0o755), os.Symlink(target, link)); err != nil {
				t.Fatal(err)
			}
			if s, err := Open(link); err == nil || !strings.Contains(err.Error(), "not a directory") {
				t.Errorf("Open of a link = %v, %v", s, err)
			}
			dir := filepath.Join(parent, "locks")
			during(t, exchange(t, dir, link), func() {
				if s, err := Open(dir); err == nil {
					_, _ = s.Create(t.Context(), "build", nil)
					_, _ = s.List(t.Context(), "")
					s.root.Close()
				}
			})
			if files, err := os.ReadDir(victim); err != nil || len(files) > 0 {
				t.Errorf("in the directory that the link leads to: %v, %v", files, err)
			}
		})
	}
}

// An entry that is a regular file at one look and a pipe at the next.
func TestAPipeInThePlaceOfAnEntryIsNotWaitedFor(t *testing.T) {
	s := open(t)
	if _, err := s.Create(t.Context(), "build", nil); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(s.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	exchanges := exchange(t, pipe, filepath.Join(s.dir, "build"+suffix))
	go func() {
		defer close(ended)
		during(t, exchanges, func() {
			if entries, err := s.List(t.Context(), "build"); err != nil || len(entries) != 1 {
				t.Errorf("List = %v, %v", entries, err)
			}
		})
	}()
	select {
	case <-ended:
	case <-time.After(2 * patience):
		f, _ := os.OpenFile(pipe, os.O_RDWR, 0) // who waits goes on
		defer f.Close()
		t.Fatal("a look waits for the pipe")
	}
}

// The guard and a file that is not linked yet have names that others may take away and
// give to another file of the same file system, where fs.protected_hardlinks is 0.
func TestNoFileOfAnotherNameGetsAnotherMode(t *testing.T) {
	s := open(t)
	secret := filepath.Join(filepath.Dir(s.dir), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	var links atomic.Int64
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			files, _ := filepath.Glob(filepath.Join(s.dir, "*"))
			for _, file := range append(files, filepath.Join(s.dir, guardName)) {
				_ = os.Remove(file)
				if os.Link(secret, file) == nil {
					links.Add(1)
				}
				_ = os.Remove(file)
			}
		}
	}()
	during(t, &links, func() {
		if id, err := s.Create(t.Context(), "build", nil); err == nil {
			_ = s.Remove(t.Context(), id)
		}
	})
	close(stop)
	<-done
	if info, err := os.Stat(secret); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret: %v, %v", info.Mode(), err)
	}
}

func TestAGuardThatIsNoFileIsRefused(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o666) },
		"link":      func(path string) error { return os.Symlink("../secret", path) },
		"directory": func(path string) error { return os.Mkdir(path, 0o777) },
	} {
		s := open(t)
		path := filepath.Join(s.dir, guardName)
		if err := errors.Join(os.Remove(path), plant(path)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(s.dir); err == nil || !strings.Contains(err.Error(), "guard") {
			t.Errorf("%s: Open = %v", name, err)
		}
		if _, err := s.Create(t.Context(), "build", nil); err == nil {
			t.Errorf("%s: Create had no guard", name)
		}
	}
}

// flood makes n files of another user in a directory.
func flood(t *testing.T, dir, prefix string, n int, size int64) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes files of another user: run it as root")
	}
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("%s%05d%s", prefix, i, suffix))
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(size), f.Chown(nobody, nobody), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFloodCostsNobodyTheLock(t *testing.T) {
	s := open(t)
	flood(t, s.dir, "build-", 20_000, 1<<20)
	reported := map[uint32]int{}
	s.OnFlooded = func(uid uint32, files int) { reported[uid] = files }
	begin := time.Now()
	id, err := s.Create(t.Context(), "build", map[string]string{"x": "y"})
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := s.Create(t.Context(), "build-z", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		entries, err := s.List(t.Context(), "build")
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, e := range entries {
			if e.ID == id && e.Labels["x"] == "y" || e.ID == ticket {
				found++
			}
		}
		if found != 2 || len(entries) > maxFiles+2 {
			t.Errorf("%d entries, %d of the two that count", len(entries), found)
		}
	}
	other, err := Open(s.dir) // by another process, which made none
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := other.List(t.Context(), "build"); err != nil || entries[0].ID != id {
		t.Errorf("List = %v, %v", entries[:1], err)
	}
	for _, id := range []string{id, ticket} {
		if err := s.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	// 0.2 s on an idle machine; all of it was read before, 20 GB at each look.
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("it took %s", took)
	}
	if len(reported) != 1 || reported[nobody] < maxFiles {
		t.Errorf("reported: %v", reported)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.List(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("List without time = %v", err)
	}
	if err := other.Remove(t.Context(), strings.Repeat("0", 64)); err == nil || errors.Is(err, lock.ErrNotFound) {
		t.Errorf("Remove = %v: the entry may be one of those that were not read", err)
	}
}

// A writer that did not see a reader among the files of a flood would hold beside it.
func TestAFloodHidesNobodyInAPlaceOfALock(t *testing.T) {
	s := open(t)
	const prefix = "hg-0123456789abcdef-"
	made := map[string]bool{}
	for _, name := range lock.PlaceNames(prefix)[lock.MaxSlots:] { // those of readers
		id, err := s.Create(t.Context(), name, map[string]string{"x": "y"})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(s.dir, name+suffix), nobody, nobody); err != nil { // of the user who floods
			t.Fatal(err)
		}
		made[id] = true
	}
	flood(t, s.dir, prefix+"r-x", 4*maxFiles, 10)
	other, err := Open(s.dir) // by another process, which made none
	if err != nil {
		t.Fatal(err)
	}
	entries, err := other.List(t.Context(), "build", prefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Labels["x"] == "y" {
			delete(made, e.ID)
		}
	}
	if len(made) > 0 {
		t.Errorf("%d of %d readers are not among %d entries", len(made), lock.MaxReaders, len(entries))
	}
}

// Files of any name fill the directory: whose they are is reported too.
func TestAFloodOfOtherFilesIsReported(t *testing.T) {
	s := open(t)
	flood(t, s.dir, "else-", maxNames+1, 0)
	var reported []uint32
	s.OnFlooded = func(uid uint32, _ int) { reported = append(reported, uid) }
	id, err := s.Create(t.Context(), "build", nil)
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := s.List(t.Context(), "build"); err != nil || len(entries) != 1 || entries[0].ID != id {
		t.Errorf("List = %v, %v", entries, err)
	}
	if len(reported) != 1 || reported[0] != nobody {
		t.Errorf("reported: %v", reported)
	}
}

func TestLongLabelsTakeNoMemory(t *testing.T) {
	s := open(t)
	write := func(i int, labels map[string]string) {
		r := record{hex.EncodeToString(fmt.Appendf(nil, "%032d", i)), fmt.Sprintf("build-%d", i), time.Now(), labels}
		data, _ := json.Marshal(r)
		if err := os.WriteFile(filepath.Join(s.dir, r.Name+suffix), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	many := map[string]string{}
	for i := range 2 * maxLabels {
		many[fmt.Sprint(i)] = ""
	}
	write(0, map[string]string{"less": strings.Repeat("x", maxSize-200)})
	for i := range 64 {
		write(100+i, many)
		sparse := filepath.Join(s.dir, fmt.Sprintf("build-%d%s", 200+i, suffix)) // /run/lock may be small
		if err := errors.Join(os.WriteFile(sparse, nil, 0o600), os.Truncate(sparse, 4<<20)); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	entries, err := s.List(t.Context(), "build-")
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	labels := 0
	for _, e := range entries {
		for _, value := range e.Labels {
			labels += len(value)
		}
	}
	if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; allocated > 100 || labels > maxBytes {
		t.Errorf("one look took %d MB, its labels have %d bytes", allocated, labels)
	}
	if _, err := s.Create(t.Context(), "build", map[string]string{"x": strings.Repeat("x", maxSize)}); !errors.Is(err,
		lock.ErrRefused) {
		t.Errorf("Create of what nobody would read = %v", err)
	}
}

// An ID goes into outputs, records and commands.
func TestAnEntryWithAnOddIDIsUnreadable(t *testing.T) {
	for _, id := range []string{
		"", "x", "_GitHubActionsFileCommandDelimeter_", strings.Repeat("A", 64), strings.Repeat("0", 63),
		"::stop-commands::x",
	} {
		s := open(t)
		data, _ := json.Marshal(record{id, "build", time.Now(), map[string]string{"a": "b"}})
		if err := os.WriteFile(filepath.Join(s.dir, "build"+suffix), data, 0o644); err != nil {
			t.Fatal(err)
		}
		entries, err := s.List(t.Context(), "build")
		if err != nil || len(entries) != 1 || !strings.HasPrefix(entries[0].ID, "unreadable-") ||
			entries[0].Labels != nil {
			t.Errorf("ID %q: %v, %v", id, entries, err)
		}
	}
}

// Whoever uses up the names of a file system keeps nobody from giving back a lock, and
// is named.
func TestWithoutInodesALockIsGivenBackAndTheUserIsNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a small file system: run it as root")
	}
	dir, err := os.MkdirTemp("/run/lock", "hostguard-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "nr_inodes=1500"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	s, err := Open(filepath.Join(dir, "locks"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.root.Close()
	id, err := s.Create(t.Context(), "build", nil)
	if err != nil {
		t.Fatal(err)
	}
	flood(t, s.dir, "else-", 1200, 0)
	for i := 0; !errors.Is(err, syscall.ENOSPC); i++ {
		err = os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600)
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	_, err = s.Create(t.Context(), "other", nil)
	if err == nil || errors.Is(err, lock.ErrRefused) ||
		!strings.Contains(err.Error(), "no space left on device; user 65534 has 1200 files there") {
		t.Errorf("Create = %v", err)
	}
	if err := s.Remove(t.Context(), id); err != nil {
		t.Errorf("Remove = %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "0")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), "other", nil); err != nil {
		t.Errorf("with two that are free again: %v", err)
	}
}

func TestNothingButTheDirectoryAndTheGuardIsForAllToWrite(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	s := open(t)
	if _, err := s.Create(t.Context(), "build", nil); err != nil {
		t.Fatal(err)
	}
	modes := map[string]fs.FileMode{".": 0o777, guardName: 0o666, "build" + suffix: 0o644}
	for name, want := range modes {
		if info, err := os.Stat(filepath.Join(s.dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}
