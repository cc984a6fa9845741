// Package filestore keeps lock entries as files of one directory, for hosts
// without Docker.
//
// One file is one entry, written aside and linked into place, so that a reader
// sees it whole or not at all and a release works on a full disk. Changes are
// made under a guard file that is never renamed or removed; between them nobody
// holds it, for nobody stays alive between the steps of a job.
//
// Guaranteed: Create refuses a second entry of a name, and Remove takes away
// the entry with that ID or none. Where the directory is removed or replaced
// while processes use it, they continue in the one that is now at its path, and
// restore the entries that they have just seen or made. Not guaranteed: entries
// that no running process knows of; anything between processes that do not see
// the same directory, hence containers, network file systems and /tmp
// (a service may have a private one, and cleaners delete it) are refused. Docker
// locks and file locks do not see each other.
package filestore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"hostguard/lock"
)

var _ lock.Engine = (*Store)(nil)

// DefaultDir is where the locks of a host are, for every user of it.
const DefaultDir = "/run/lock/hostguard"

// Store is a directory of entries.
type Store struct {
	// OnReplaced is called when the directory has been removed or replaced while
	// this process used it. It may be called by any goroutine.
	OnReplaced func()

	dir string

	mu    sync.Mutex
	root  *os.Root         // the directory, as long as it is that at the path
	known map[string]entry // by name
}

// entry is an entry's file as it was last seen.
type entry struct {
	id   string
	data []byte
	at   time.Time
	own  bool // made by this process
}

const (
	guardName   = "guard"
	suffix      = ".lock" // of an entry's file
	asideSuffix = ".new"  // of one that is not linked yet
	asideLife   = time.Minute
	maxSize     = 1 << 20          // of an entry's file
	knownFor    = 10 * time.Second // an entry of others that was seen may still be there
	guardPoll   = 2 * time.Millisecond
)

// Open makes the directory if necessary. Anyone who has an account on the host may
// add and remove locks, as anyone in the docker group may with Docker.
func Open(dir string) (*Store, error) {
	root, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	return &Store{dir: dir, root: root, known: map[string]entry{}}, nil
}

func openDir(dir string) (*os.Root, error) {
	if err := os.Mkdir(dir, 0o777); err == nil {
		err = os.Chmod(dir, 0o777) // whatever the umask
		if err != nil {
			return nil, fmt.Errorf("open lock directory %q: %w", dir, err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make lock directory %q: %w; make it once as root, mode 0777", dir, reason(err))
	}
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return nil, fmt.Errorf("open lock directory %q: not a directory; remove what is there", dir)
	}
	if err := checkPlace(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open lock directory %q: %w", dir, reason(err))
	}
	guard, err := openGuard(root)
	if err != nil {
		return nil, fmt.Errorf("open lock directory %q: %w; its mode must be 0777", dir, reason(err))
	}
	return root, guard.Close()
}

// current returns the directory that is at the path now.
func (s *Store) current() (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isCurrent(s.root) {
		return s.root, nil
	}
	root, err := openDir(s.dir)
	if err != nil {
		return nil, err
	}
	s.root = root // the old one may be in use; it is closed with its last user
	if s.OnReplaced != nil {
		s.OnReplaced()
	}
	for name, e := range s.known {
		if e.own || time.Since(e.at) < knownFor {
			s.restore(root, name, e)
		}
	}
	return root, nil
}

func (s *Store) isCurrent(root *os.Root) bool {
	mine, err := root.Stat(".")
	there, errThere := os.Lstat(s.dir)
	return err == nil && errThere == nil && os.SameFile(mine, there)
}

// restore links an entry into a new directory, unless there is one of that name.
// If it fails the entry is lost, as after the removal of its file.
func (s *Store) restore(root *os.Root, name string, e entry) {
	aside := rand.Text() + asideSuffix
	defer root.Remove(aside)
	if root.WriteFile(aside, e.data, 0o644) == nil && root.Chmod(aside, 0o644) == nil {
		_ = root.Link(aside, name+suffix) // atomic, so that no guard is needed
	}
}

// learn remembers the entries seen whose name begins with prefix.
func (s *Store) learn(prefix string, seen map[string]entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, e := range s.known {
		now, there := seen[name]
		if there && now.id == e.id {
			now.own = e.own
			seen[name] = now
		}
		if strings.HasPrefix(name, prefix) {
			delete(s.known, name)
		}
	}
	maps.Copy(s.known, seen)
}

func (s *Store) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.known, func(_ string, e entry) bool { return e.id == id })
}

// changeError translates the error of a change for the lock. A full disk, one that is
// read-only for a moment, a lack of descriptors or a directory that was just replaced
// is waited out, like a daemon that restarts; all other errors are refusals.
func changeError(err error) error {
	for _, passing := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO,
		syscall.ENOLCK, syscall.ESTALE, syscall.ENOENT,
	} {
		if errors.Is(err, passing) {
			return reason(err)
		}
	}
	return fmt.Errorf("%w: %w", lock.ErrRefused, reason(err))
}

// reason returns an error without the path that it repeats.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// Kinds of file system whose locks or links other hosts or layers see otherwise
// or not at all (statfs(2)).
var refused = map[int64]string{
	0x6969: "NFS", 0xff534d42: "CIFS", 0xfe534d42: "SMB2", 0x517b: "SMB", 0x01021997: "9p",
	0x65735546: "FUSE", 0x794c7630: "overlay", 0x5346414f: "AFS", 0x00c36400: "Ceph", 0x47504653: "GPFS",
}

func checkPlace(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("open lock directory %q: %w", dir, reason(err))
	}
	for _, tmp := range []string{"/tmp", "/var/tmp", "/dev/shm"} {
		if real == tmp || strings.HasPrefix(real, tmp+"/") {
			return fmt.Errorf("lock directory %q is below %s, of which each service may have its own; use %s",
				dir, tmp, DefaultDir)
		}
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(real, &st); err != nil {
		return fmt.Errorf("open lock directory %q: %w", dir, err)
	}
	if kind, bad := refused[int64(uint32(st.Type))]; bad {
		return fmt.Errorf("lock directory %q is on a file system of type %s, where not every job sees the same locks; "+
			"use a local one", dir, kind)
	}
	return nil
}

// Dir returns the directory of the entries.
func (s *Store) Dir() string { return s.dir }

// openGuard opens before it creates: with fs.protected_regular O_CREAT fails on
// another user's file in a sticky directory.
func openGuard(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(guardName, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = root.OpenFile(guardName, os.O_RDWR|os.O_CREATE, 0o666)
		if err == nil {
			_ = f.Chmod(0o666) // whatever the umask; fails where another made it
		}
	}
	return f, err
}

// guarded runs change while this process alone may change the directory. It polls
// for the lock: a blocking flock cannot be cancelled.
func (s *Store) guarded(ctx context.Context, root *os.Root, change func() error) error {
	guard, err := openGuard(root)
	if err != nil {
		return fmt.Errorf("open the guard of %q: %w", s.dir, changeError(err))
	}
	defer guard.Close() // gives the flock back; Go opens close-on-exec
	for {
		err := syscall.Flock(int(guard.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return change()
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("flock the guard of %q: %w", s.dir, changeError(err))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: wait for the guard of %q: %w", lock.ErrConflict, s.dir, ctx.Err())
		case <-time.After(guardPoll):
		}
	}
}

// record is an entry's file.
type record struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Created time.Time         `json:"created"`
	Labels  map[string]string `json:"labels"`
}

// Create writes an entry's file and links it into place.
func (s *Store) Create(ctx context.Context, name string, labels map[string]string) (id string, err error) {
	random := make([]byte, 32)
	rand.Read(random)
	id = hex.EncodeToString(random)
	data, err := json.Marshal(record{id, name, time.Now(), labels})
	if err != nil {
		return "", fmt.Errorf("%w: write down %q: %w", lock.ErrRefused, name, err)
	}
	root, err := s.current()
	if err != nil {
		return "", err
	}
	aside := id + asideSuffix
	defer root.Remove(aside)
	err = root.WriteFile(aside, data, 0o644)
	if err == nil {
		// Whatever the umask: a process that cannot read an entry judges it by its age alone.
		err = root.Chmod(aside, 0o644)
	}
	if err != nil {
		return "", fmt.Errorf("write %q: %w", filepath.Join(s.dir, aside), changeError(err))
	}
	err = s.guarded(ctx, root, func() error {
		sweep(root)
		if err := root.Link(aside, name+suffix); err != nil {
			return err
		}
		if !s.isCurrent(root) {
			_ = root.Remove(name + suffix)
			return fmt.Errorf("the directory has been replaced: %w", syscall.ESTALE)
		}
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrExist):
		return "", lock.ErrConflict
	case err != nil:
		return "", fmt.Errorf("create entry %q in %q: %w", name, s.dir, reason(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[name] = entry{id, data, time.Now(), true}
	return id, nil
}

// sweep removes the files of creators that were killed before the link.
func sweep(root *os.Root) {
	names, _ := names(root)
	for _, name := range names {
		if strings.HasSuffix(name, asideSuffix) {
			if info, err := root.Lstat(name); err == nil && time.Since(info.ModTime()) > asideLife {
				_ = root.Remove(name)
			}
		}
	}
}

func names(root *os.Root) ([]string, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// List returns the entries whose name begins with prefix. A file that cannot be
// read or parsed is an entry without labels, whose holder is unknown.
func (s *Store) List(_ context.Context, prefix string) ([]lock.Entry, error) {
	root, err := s.current()
	if err != nil {
		return nil, err
	}
	entries, err := s.list(root, prefix)
	if err == nil && !s.isCurrent(root) {
		err = syscall.ESTALE // what was removed with the directory is no answer
	}
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", s.dir, reason(err))
	}
	return entries, nil
}

func (s *Store) list(root *os.Root, prefix string) (entries []lock.Entry, err error) {
	names, err := names(root)
	if err != nil {
		return nil, err
	}
	seen := map[string]entry{}
	for _, file := range names {
		name, ours := strings.CutSuffix(file, suffix)
		if !ours || !strings.HasPrefix(name, prefix) {
			continue
		}
		e, data, err := read(root, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since the list
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
		if data != nil {
			seen[name] = entry{e.ID, data, time.Now(), false}
		}
	}
	if s.isCurrent(root) {
		s.learn(prefix, seen)
	}
	return entries, nil
}

// read returns an entry and, if it can be parsed, its file.
func read(root *os.Root, name string) (lock.Entry, []byte, error) {
	info, err := root.Lstat(name + suffix)
	if err != nil {
		return lock.Entry{}, nil, err
	}
	if info.Mode().IsRegular() && info.Size() <= maxSize {
		data, err := root.ReadFile(name + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			return lock.Entry{}, nil, err
		}
		var r record
		decoder := json.NewDecoder(bytes.NewReader(data))
		if err == nil && decoder.Decode(&r) == nil && r.Name == name && r.ID != "" {
			return lock.Entry{ID: r.ID, Name: r.Name, Created: r.Created, Labels: r.Labels}, data, nil
		}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return lock.Entry{}, nil, fmt.Errorf("stat %q: no inode", name)
	}
	return lock.Entry{ID: fmt.Sprintf("unreadable-%d-%d", st.Ino, info.ModTime().UnixNano()), Name: name,
		Created: info.ModTime()}, nil, nil
}

// Remove unlinks the file of the entry with this ID. Nobody can replace it
// between the comparison and the unlink: both are under the guard.
func (s *Store) Remove(ctx context.Context, id string) error {
	root, err := s.current()
	if err != nil {
		return err
	}
	err = s.guarded(ctx, root, func() error {
		entries, err := s.list(root, "")
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.ID == id {
				return root.Remove(e.Name + suffix)
			}
		}
		if !s.isCurrent(root) {
			return syscall.ESTALE
		}
		return lock.ErrNotFound
	})
	if err == nil || errors.Is(err, lock.ErrNotFound) {
		s.forget(id)
		return err
	}
	if errors.Is(err, lock.ErrConflict) { // the guard was not free in time
		return fmt.Errorf("remove entry %.12s from %q: %s", id, s.dir, err)
	}
	return fmt.Errorf("remove entry %.12s from %q: %w", id, s.dir, reason(err))
}

// Watch reports new entries through inotify. When the directory is removed or
// replaced it restores the entries that this process knows of, and ends.
func (s *Store) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	root, err := s.current()
	if err != nil {
		return nil, err
	}
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %q: %w", s.dir, err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	_, err = syscall.InotifyAddWatch(fd, s.dir, syscall.IN_CREATE)
	if err == nil {
		// An open directory does not notice its own removal: its parent does.
		_, err = syscall.InotifyAddWatch(fd, filepath.Dir(s.dir), syscall.IN_DELETE|syscall.IN_MOVED_FROM|syscall.IN_MOVED_TO)
	}
	if err != nil {
		events.Close()
		return nil, fmt.Errorf("watch %q: %w", s.dir, err)
	}
	stop := context.AfterFunc(ctx, func() { events.Close() })
	wakes := make(chan struct{}, 1)
	go func() {
		defer close(wakes)
		defer events.Close()
		defer stop()
		buffer := make([]byte, 64<<10)
		for {
			n, err := events.Read(buffer)
			if err != nil {
				return
			}
			// A name in the buffer is all that is asked for; what else is
			// there (mask, cookie) can only wake too often.
			if bytes.Contains(buffer[:n], []byte(prefix)) {
				select {
				case wakes <- struct{}{}:
				default:
				}
			}
			if bytes.Contains(buffer[:n], []byte(filepath.Base(s.dir))) && !s.isCurrent(root) {
				_, _ = s.current()
				return
			}
		}
	}()
	return wakes, nil
}
