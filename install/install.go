// Package install puts a program's files in place below a prefix, and takes them
// away again. It plans first; only Change.Apply writes.
//
// Guaranteed: a file is replaced as a whole or not at all; what is there and was
// not put there by an install is neither replaced nor removed; a second install
// changes nothing. Under root nothing is put where another user could change it
// afterwards.
//
// Not guaranteed: that all files of a plan change at once. An install that was
// cut short is finished by the next one.
package install

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// File is what should be at a path: the program, a text, or a link.
type File struct {
	Path string
	Data []byte
	Mode fs.FileMode
	Link string // instead of Data: a symbolic link to this
}

// Marker stands in every text that is installed: what has it is ours.
const Marker = "Written by hostguard install."

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

// Plan tells what an install of the files would do.
func Plan(files []File) ([]Change, error) {
	var changes []Change
	checked := map[string]bool{}
	for _, f := range files {
		if dir := filepath.Dir(f.Path); !checked[dir] {
			checked[dir] = true
			if err := checkDir(dir, os.Geteuid()); err != nil {
				return nil, err
			}
		}
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

// PlanRemoval tells what taking the files away again would do, the last one
// first: the links go before the program that they name.
func PlanRemoval(files []File) ([]Change, error) {
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

// errForeign is what present returns of a file that no install has put there.
var errForeign = errors.New("something else has this name; move it away first")

// present tells whether the file is there as it should be. A file that is there
// and not ours is an error.
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
	if !info.Mode().IsRegular() {
		return false, errForeign
	}
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return false, err
	}
	if build, err := buildinfo.Read(bytes.NewReader(data)); (err != nil || build.Main.Path != "hostguard") && !bytes.Contains(data, []byte(Marker)) {
		return false, errForeign
	}
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	return bytes.Equal(data, f.Data) && info.Mode().Perm() == f.Mode && owner == os.Geteuid(), nil
}

// checkDir refuses a directory in which, under root, another user could replace
// what is put there: jobs run as other users.
func checkDir(dir string, uid int) error {
	if uid != 0 {
		return nil
	}
	for last := true; ; last = false {
		real, err := filepath.EvalSymlinks(dir)
		if errors.Is(err, fs.ErrNotExist) { // it will be made
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return err
		}
		info, err := os.Stat(real)
		if err != nil {
			return err
		}
		// In a sticky directory only its owner can replace an entry of root's.
		open := info.Mode().Perm()&0o022 != 0 && (last || info.Mode()&fs.ModeSticky == 0)
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 || open {
			return fmt.Errorf("install in %q: others than root may change it (owner %d, mode %v), and so what root runs from there; make it root's and not writable by others, or choose another -prefix", real, owner, info.Mode())
		}
		if real == "/" {
			return nil
		}
		dir = filepath.Dir(real)
	}
}

// Apply makes the change. Directories that it makes are open to all readers,
// whatever the umask: the runner's user has to find the program.
func (c Change) Apply() error {
	switch c.Do {
	case Keep:
		return nil
	case Remove:
		return os.Remove(c.Path)
	}
	if err := makeDir(filepath.Dir(c.Path)); err != nil {
		return err
	}
	if c.Link != "" {
		return os.Symlink(c.Link, c.Path) // one that differs is not ours
	}
	f, err := os.CreateTemp(filepath.Dir(c.Path), "."+filepath.Base(c.Path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename
	_, err = f.Write(c.Data)
	err = errors.Join(err, f.Chmod(c.Mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), c.Path)
}

func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// SearchedByServices tells whether systemd's services look for programs in dir
// unless their unit says otherwise (systemd.exec(5), Environment).
func SearchedByServices(dir string) bool {
	return strings.Contains(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:", ":"+dir+":")
}
