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
//
// Every user of the host may write in the directory, so that all that is in it is
// hostile: a file is opened without following links and without waiting, a few
// kilobytes of it are read, and of each user so many files only. A flood of them
// costs the order of the queue, never the lock: the entry of the name that is asked
// for, those in all places of the lock, and those that this process made, are always read.
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
	"slices"
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
	// OnFlooded is called, once for each user, when a user has more files in the
	// directory than are read. It may be called by any goroutine.
	OnFlooded func(uid uint32, files int)
	// ReadOnly is for a process that only looks: it restores nothing either.
	ReadOnly bool

	dir string

	mu      sync.Mutex
	root    *os.Root         // the directory, as long as it is that at the path
	known   map[string]entry // by name
	flooded map[uint32]bool  // users that were reported
}

// entry is an entry's file as it was last seen.
type entry struct {
	id   string
	data []byte // nil if it cannot be read
	at   time.Time
	own  bool // made by this process
}

const (
	guardName   = "guard"
	suffix      = ".lock" // of an entry's file
	asideSuffix = ".new"  // of one that is not linked yet
	asideLife   = time.Minute
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
	return &Store{dir: dir, root: root, known: map[string]entry{}, flooded: map[uint32]bool{}}, nil
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
		if e.data != nil && !s.ReadOnly && (e.own || time.Since(e.at) < knownFor) {
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
	if write(root, aside, e.data) == nil {
		_ = root.Link(aside, name+suffix) // atomic, so that no guard is needed
	}
}

// learn remembers the entries seen, of all those asked for.
func (s *Store) learn(asked func(name string) bool, seen map[string]entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, e := range s.known {
		now, there := seen[name]
		if there && now.id == e.id {
			now.own = e.own
			seen[name] = now
		}
		if asked(name) {
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

// Dir returns the directory of the entries.
func (s *Store) Dir() string { return s.dir }

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

// Create writes an entry's file and links it into place.
func (s *Store) Create(ctx context.Context, name string, labels map[string]string) (id string, err error) {
	random := make([]byte, 32)
	rand.Read(random)
	id = hex.EncodeToString(random)
	data, err := json.Marshal(record{id, name, time.Now(), labels})
	if err == nil && len(data) > maxSize {
		err = fmt.Errorf("its labels are longer than %d bytes", maxSize)
	}
	if err != nil {
		return "", fmt.Errorf("%w: write down %q: %w", lock.ErrRefused, name, err)
	}
	root, err := s.current()
	if err != nil {
		return "", err
	}
	aside := id + asideSuffix
	defer root.Remove(aside)
	sweep(ctx, root)
	if err := write(root, aside, data); err != nil {
		return "", fmt.Errorf("write %q: %w%s", filepath.Join(s.dir, aside), changeError(err), crowd(ctx, root, err))
	}
	err = s.guarded(ctx, root, func() error {
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

// write makes the file of an entry. Its name is new, and mode and content go through
// the open file: whatever is put in its place is not touched. Whatever the umask,
// others can read it: a process that cannot judges an entry by its age alone.
func write(root *os.Root, name string, data []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(0o644), f.Close())
}

// crowd returns, after a change for which there was no space, a clause about the user
// who has the most files in the directory, if they are many.
func crowd(ctx context.Context, root *os.Root, failed error) string {
	if errors.Is(failed, syscall.ENOSPC) || errors.Is(failed, syscall.EDQUOT) {
		if uid, files := mostFiles(ctx, root); files >= maxFiles {
			return fmt.Sprintf("; user %d has %d files there", uid, files)
		}
	}
	return ""
}

// List returns the entries whose name begins with one of the prefixes. A file that
// cannot be read or parsed is an entry without labels, whose holder is unknown. Of a
// user who has flooded the directory it leaves some out, but never the entry of exactly
// such a name, in a place of a lock whose prefix is asked for, nor one that this process made.
func (s *Store) List(ctx context.Context, prefixes ...string) ([]lock.Entry, error) {
	root, err := s.current()
	if err != nil {
		return nil, err
	}
	look, err := s.list(ctx, root, prefixes...)
	if err == nil && !s.isCurrent(root) {
		err = syscall.ESTALE // what was removed with the directory is no answer
	}
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", s.dir, reason(err))
	}
	return look.entries, nil
}

func (s *Store) list(ctx context.Context, root *os.Root, prefixes ...string) (*look, error) {
	l := &look{root: root, seen: map[string]entry{}, users: map[uint32]*share{}}
	asked := func(name string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	}
	for _, name := range s.first(prefixes, asked) {
		if err := l.take(name, true); err != nil {
			return nil, err
		}
	}
	err := eachName(ctx, root, func(file string) error {
		name, ours := strings.CutSuffix(file, suffix)
		if _, taken := l.seen[name]; !ours || taken || !asked(name) {
			return nil
		}
		return l.take(name, false)
	})
	if errors.Is(err, errTooMany) {
		l.cut, err = true, nil
	}
	if err == nil && l.leftOut() {
		err = l.takePlaces(prefixes)
	}
	if err != nil {
		return nil, err
	}
	if s.isCurrent(root) {
		s.learn(asked, l.seen)
	}
	s.reportFlood(ctx, l)
	return l, nil
}

// first returns the names that are read whatever a user has flooded the directory with:
// those asked for, and of the entries that this process made.
func (s *Store) first(prefixes []string, asked func(name string) bool) []string {
	names := slices.Clone(prefixes)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, e := range s.known {
		if e.own && asked(name) && !slices.Contains(prefixes, name) {
			names = append(names, name)
		}
	}
	return names
}

// reportFlood calls OnFlooded for the users of whom files were left out.
func (s *Store) reportFlood(ctx context.Context, l *look) {
	if !l.leftOut() || s.OnFlooded == nil {
		return
	}
	for uid, files := range l.floods(ctx) {
		s.mu.Lock()
		known := s.flooded[uid]
		s.flooded[uid] = true
		s.mu.Unlock()
		if !known {
			s.OnFlooded(uid, files)
		}
	}
}

// Remove unlinks the file of the entry with this ID. Nobody can replace it
// between the comparison and the unlink: both are under the guard.
func (s *Store) Remove(ctx context.Context, id string) error {
	root, err := s.current()
	if err != nil {
		return err
	}
	name, err := s.nameOf(ctx, root, id)
	if err == nil {
		err = s.guarded(ctx, root, func() error {
			file, err := read(root, name)
			if err == nil && file.entry.ID == id {
				return root.Remove(name + suffix)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if !s.isCurrent(root) {
				return syscall.ESTALE
			}
			return lock.ErrNotFound
		})
	}
	if err == nil || errors.Is(err, lock.ErrNotFound) {
		s.forget(id)
		return err
	}
	if errors.Is(err, lock.ErrConflict) { // the guard was not free in time
		return fmt.Errorf("remove entry %.12s from %q: %s", id, s.dir, err)
	}
	return fmt.Errorf("remove entry %.12s from %q: %w", id, s.dir, reason(err))
}

// nameOf returns the name of the entry with an ID: neither ever changes.
func (s *Store) nameOf(ctx context.Context, root *os.Root, id string) (string, error) {
	s.mu.Lock()
	for name, e := range s.known {
		if e.id == id {
			s.mu.Unlock()
			return name, nil
		}
	}
	s.mu.Unlock()
	l, err := s.list(ctx, root, "")
	if err != nil {
		return "", err
	}
	for _, e := range l.entries {
		if e.ID == id {
			return e.Name, nil
		}
	}
	if l.leftOut() {
		return "", errors.New("it is not among the entries that were read, and others were left out")
	}
	if !s.isCurrent(root) {
		return "", syscall.ESTALE
	}
	return "", lock.ErrNotFound
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
	_, err = syscall.InotifyAddWatch(fd, s.dir, syscall.IN_CREATE|syscall.IN_ONLYDIR|syscall.IN_DONT_FOLLOW)
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
