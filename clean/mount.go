package clean

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hostguard/internal/mounts"
)

// mountOf returns the identity of the mount that an open directory is on. A bind mount
// of the same file system has its device, but is another mount.
func mountOf(dir *os.File) (string, error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", dir.Fd()))
	if err != nil {
		return "", err
	}
	_, id, found := strings.Cut(string(info), "mnt_id:")
	if !found {
		return "", errors.New("/proc does not show what is mounted where")
	}
	id, _, _ = strings.Cut(id, "\n")
	return strings.TrimSpace(id), nil
}

// checkServed refuses an entry of an open directory if a file system that a user's process
// serves is mounted on the way to it, at it or below it: whoever looks into that may wait
// for ever. Another kind of mount is refused where it is seen.
func checkServed(dir *os.Root, path string) error {
	table, err := mounts.Read("/proc/self")
	if err != nil {
		return err
	}
	open, err := dir.Open(".")
	if err != nil {
		return located(dir, err)
	}
	defer open.Close()
	top, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", open.Fd())) // without links
	if err != nil {
		return err
	}
	if point := table.Between(top, filepath.Join(top, path)); point != "" {
		return &Refused{point, mounts.ErrServed.Error()}
	}
	return nil
}

func mountOfRoot(root *os.Root) (string, error) {
	dir, err := root.Open(".")
	if err != nil {
		return "", located(root, err)
	}
	defer dir.Close()
	return mountOf(dir)
}

// removeAll removes an entry of an open directory and all that is below it, on the same
// mount as that directory: os.Root's would empty whatever has been mounted there since
// the plan. It is not an error if there is none.
func removeAll(parent *os.Root, name string) error {
	if err := checkServed(parent, name); err != nil {
		return err
	}
	mount, err := mountOfRoot(parent)
	if err != nil {
		return err
	}
	return removeOn(parent, name, mount)
}

func removeOn(parent *os.Root, name, mount string) error {
	info, err := parent.Lstat(name)
	if err == nil && info.IsDir() {
		err = emptyOn(parent, name, mount)
	}
	if err == nil {
		err = parent.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return located(parent, err)
}

func emptyOn(parent *os.Root, name, mount string) error {
	dir, err := openDir(parent, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	list, err := dir.Open(".")
	if err != nil {
		return located(dir, err)
	}
	here, err := mountOf(list)
	if err == nil && here != mount {
		err = &Refused{dir.Name(), mounted}
	}
	var names []string
	if err == nil {
		names, err = list.Readdirnames(-1)
	}
	list.Close()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := removeOn(dir, name, mount); err != nil {
			return err
		}
	}
	return nil
}
