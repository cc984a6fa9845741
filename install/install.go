// Package install puts a program's files in place below a prefix, and removes them
// again. It plans first; only Change.Apply writes.
//
// Guaranteed: a file is replaced as a whole or not at all; a file that no install has
// put there is neither replaced nor removed; a second install changes nothing. Under
// root nothing is put where another user could change it afterwards.
//
// Not guaranteed: that all files of a plan change at once. The next install finishes
// one that was interrupted, and removes what it has left.
package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hostguard/internal/safefile"
)

// File is what should be at a path: the program, a text, or a link.
type File struct {
	Path string
	Data []byte
	Mode fs.FileMode
	Link string // instead of Data: a symbolic link to this
}

// Marker is in every text that is installed, and in the program, which writes them:
// a file that contains it is hostguard's.
const Marker = "Written by hostguard"

// Action is what has to be done about a file.
type Action string

const (
	Keep    Action = "keep"
	Create  Action = "create"
	Replace Action = "replace"
	Remove  Action = "remove"
)

// Change is one file of a plan.
type Change struct {
	File
	Do Action
}

// Plan returns the changes that an install of the files makes.
func Plan(files []File) ([]Change, error) {
	if err := checkRoots(files); err != nil {
		return nil, fmt.Errorf("install in %w, and so what root runs from there; "+
			"make it root's and not writable by others, or choose another -prefix", err)
	}
	var changes []Change
	for _, f := range files {
		do := Replace
		switch is, err := f.present(); {
		case errors.Is(err, fs.ErrNotExist):
			do = Create
		case err != nil:
			return nil, fmt.Errorf("install %q: %w", f.Path, err)
		case is:
			do = Keep
		}
		changes = append(changes, Change{f, do})
	}
	return changes, nil
}

// PlanRemoval returns the changes that remove the files, the last one first: the
// links are removed before the program that they name.
func PlanRemoval(files []File) ([]Change, error) {
	if err := checkRoots(files); err != nil {
		return nil, fmt.Errorf("remove from %w, and so where root removes files; run it as that user", err)
	}
	var changes []Change
	for i := len(files) - 1; i >= 0; i-- {
		f, do := files[i], Remove
		if _, err := f.present(); errors.Is(err, fs.ErrNotExist) {
			do = Keep
		} else if err != nil {
			return nil, fmt.Errorf("remove %q: %w", f.Path, err)
		}
		changes = append(changes, Change{f, do})
	}
	return changes, nil
}

// checkRoots refuses, for root, files in directories that others can change: they decide
// which files those are.
func checkRoots(files []File) error {
	checked := map[string]bool{}
	for _, f := range files {
		if dir := filepath.Dir(f.Path); os.Geteuid() == 0 && !checked[dir] {
			checked[dir] = true
			if err := CheckOwners(dir, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// errForeign is what present returns for a file that no install has put there.
var errForeign = errors.New("something else has this name; move it away first")

// maxSize bounds what is read; no installed file comes near it.
const maxSize = 100 << 20

// present reports whether the file is in place as it should be. A file in its place
// that is not hostguard's is an error.
func (f File) present() (bool, error) {
	info, err := os.Lstat(f.Path)
	if err != nil {
		return false, err
	}
	if f.Link != "" {
		target, err := os.Readlink(f.Path)
		if err != nil || target != f.Link {
			return false, errForeign
		}
		return true, nil
	}
	if !info.Mode().IsRegular() || info.Size() > maxSize {
		return false, errForeign
	}
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return false, err
	}
	if !bytes.Contains(data, []byte(Marker)) {
		return false, errForeign
	}
	return bytes.Equal(data, f.Data) && info.Mode().Perm() == f.Mode && owner(info) == os.Geteuid(), nil
}

// CheckOwners refuses a path at which somebody other than root and the user could
// replace what is, or will be, there: jobs run as other users. It follows the
// path as the kernel does, for whoever may change a link on the way decides where
// it leads. Its error begins with the part of the path that they could change.
func CheckOwners(path string, user int) error {
	at, links := "/", 0
	var here fs.FileInfo // at
	refuse := func(path string, info fs.FileInfo) error {
		who := "root"
		if user != 0 {
			who = fmt.Sprintf("root and user %d", user)
		}
		return fmt.Errorf("%q: others than %s may change it (owner %d, mode %v)", path, who, owner(info), info.Mode())
	}
	for rest := strings.Split(path, "/"); len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) { // it will be made, if nobody else can do so first
			break
		}
		if err != nil {
			return err
		}
		link := info.Mode()&fs.ModeSymlink != 0
		// In a sticky directory only its owner can replace an entry of root's.
		if owner(info) != 0 && owner(info) != user || !link && open(info) && info.Mode()&fs.ModeSticky == 0 {
			return refuse(next, info)
		}
		if !link {
			at, here = next, info
			continue
		}
		target, err := os.Readlink(next)
		if links++; err == nil && links > 40 {
			err = syscall.ELOOP
		}
		if err != nil {
			return &fs.PathError{Op: "follow", Path: next, Err: err}
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	if open(here) {
		return refuse(at, here)
	}
	return nil
}

func open(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// Apply makes the change. It checks again first: another install may have been
// faster, or another file may have appeared. Directories that it makes are open to
// all readers, whatever the umask: the runner's user has to find the program.
func (c Change) Apply() error {
	if c.Do == Keep {
		return nil
	}
	dir := filepath.Dir(c.Path)
	if c.Do != Remove {
		if err := makeDir(dir); err != nil {
			return err
		}
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	is, err := c.present()
	gone := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !gone:
		return err
	case c.Do == Remove && gone, c.Do != Remove && is:
		return nil
	case c.Do == Remove:
		return os.Remove(c.Path)
	case c.Link != "":
		return os.Symlink(c.Link, c.Path) // one that differs is not ours
	}
	root, err := os.OpenRoot(dir)
	if err == nil {
		defer root.Close()
		err = safefile.Replace(root, filepath.Base(c.Path), c.Data, safefile.Attributes{Mode: c.Mode, UID: -1, GID: -1}, nil)
	}
	if err != nil {
		return fmt.Errorf("replace %q: %w", c.Path, err)
	}
	return nil
}

// lockTime is how long another install may take with a directory.
const lockTime = 10 * time.Second

// lock keeps other installs out of a directory, until they or this process ends.
// Whoever can read the directory can lock it, so the wait has a limit. NFS has no
// locks for directories; there two installs must not run at once.
func lock(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(lockTime)
	for syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == syscall.EWOULDBLOCK {
		if time.Now().After(end) {
			f.Close()
			return nil, fmt.Errorf("another install is running in %q, or something else holds its lock (flock)", dir)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return f.Close, nil
}

func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	switch err := os.Mkdir(dir, 0o755); {
	case errors.Is(err, fs.ErrExist): // another install was faster
		return nil
	case err != nil:
		return err
	}
	return os.Chmod(dir, 0o755)
}

// SearchedByServices reports whether systemd's services look for programs in dir
// unless their unit sets another path (systemd.exec(5), Environment).
func SearchedByServices(dir string) bool {
	return strings.Contains(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:", ":"+dir+":")
}
