// Package clean finds what dead jobs left behind on a host and removes it: the
// diagnostics of GitHub's runner that make "Set up job" fail with "already
// exists", directories inside the workspace, and the private directories of jobs
// whose Gitea runner was killed. A plan lists what may be removed; only a plan's
// Remove deletes.
//
// Guaranteed:
//   - Nothing outside the runner root's _diag/pages and _diag/blocks, the named
//     paths inside the workspace, the workspace's .git/worktrees and directories
//     that have the form of a job's is removed.
//     Every step down is taken from the parent's open directory and never
//     through a symbolic link, so a link planted before or during the work does
//     not lead elsewhere.
//   - In _diag only regular files with one name of the runner's own shape are
//     removed, which no process is known to have open, last written before the
//     moment the caller names. Each is checked again right before its removal;
//     what has changed since the plan stays.
//   - The runner's _work, _temp and _runner_file_commands are not read.
//
// Not guaranteed: that nobody replaces a file between the last look and the
// removal (there is no system call that compares and removes; an empty
// directory put there would go too), or that a file is not open in a process
// that the caller could not see. What is mounted inside a named path is refused when
// the plan sees it; what appears there later keeps its content, and a part of the
// path may be gone by then. Removing a git
// worktree loses what is not committed in it; its branch stays.
package clean

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Done is the result of a removal; after an error, what had been removed by then.
type Done struct {
	Files   int   // removed; directories do not count
	Bytes   int64 // their sizes; a file with another name frees nothing
	Changed int   // no longer what the plan saw, and kept
}

func (d *Done) Add(other Done) {
	d.Files += other.Files
	d.Bytes += other.Bytes
	d.Changed += other.Changed
}

// identity recognizes the file that a plan has seen.
type identity struct {
	ino   uint64
	mtime int64
	mode  fs.FileMode
}

func identityOf(info fs.FileInfo) identity {
	return identity{ino: stat(info).Ino, mtime: info.ModTime().UnixNano(), mode: info.Mode()}
}

func stat(info fs.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }

func device(info fs.FileInfo) uint64 { return uint64(stat(info).Dev) }

func links(info fs.FileInfo) uint64 { return uint64(stat(info).Nlink) }

// Refused is the error for a directory that a plan does not enter, for a reason
// that a person has to look at.
type Refused struct{ Path, Why string }

func (e *Refused) Error() string { return fmt.Sprintf("refuse %q: %s", e.Path, e.Why) }

// openDir opens a directory below an open one. os.Root alone would follow a
// link that stays below it.
func openDir(parent *os.Root, name string) (*os.Root, error) {
	seen, err := parent.Lstat(name)
	if err != nil {
		return nil, located(parent, err)
	}
	if !seen.IsDir() {
		return nil, &Refused{below(parent, name), "it is " + kind(seen.Mode()) + ", not a directory"}
	}
	dir, err := parent.OpenRoot(name)
	if err != nil {
		return nil, located(parent, err)
	}
	if err := checkSame(dir, seen); err != nil {
		return nil, err
	}
	return dir, nil
}

// checkSame closes dir and fails unless it is the directory seen before the
// open.
func checkSame(dir *os.Root, seen fs.FileInfo) error {
	opened, err := dir.Stat(".")
	if err == nil && !os.SameFile(seen, opened) {
		err = &Refused{dir.Name(), "it was replaced while it was opened"}
	}
	if err != nil {
		dir.Close()
	}
	return err
}

// located returns err with its path completed by that of dir.
func located(dir *os.Root, err error) error {
	if path, ok := err.(*fs.PathError); ok && !filepath.IsAbs(path.Path) {
		return &fs.PathError{Op: path.Op, Path: below(dir, path.Path), Err: path.Err}
	}
	return err
}

// quoted returns an error of package os with its path quoted: a job chose that name.
func quoted(err error) error {
	if path, ok := err.(*fs.PathError); ok {
		return fmt.Errorf("%s %q: %w", path.Op, path.Path, path.Err)
	}
	return err
}

func below(parent *os.Root, name string) string { return filepath.Join(parent.Name(), name) }

func kind(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "a regular file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	default:
		return "a device"
	}
}

// BlindAge is how old a left-over must be where it cannot be seen whether it is
// still used.
const BlindAge = 10 * time.Minute

// Evidence is what the caller knows about files that may still be in use.
type Evidence struct {
	// Before is the moment from which on a file may belong to a live worker.
	Before time.Time
	// OthersBefore is the same for files of other users, which may be open in
	// processes that could not be looked at.
	OthersBefore time.Time
	// Open reports whether some process has the file open.
	Open func(dev, ino uint64) bool
}
