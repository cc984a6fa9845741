package runnerdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hostguard/internal/safefile"
)

// CheckPlace refuses a path for the directory of a user's runner that leads
// through a link, or whose parent is not that user's: only the user may decide what
// is made there. A directory that exists has to be the user's.
func CheckPlace(dir string, uid int) error {
	at := "/"
	for part := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		at = filepath.Join(at, part)
		info, err := os.Lstat(at)
		if at == dir && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%q: %w", at, pathless(err))
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			return fmt.Errorf("%q is a link; give the path that it leads to", at)
		case !info.IsDir():
			return fmt.Errorf("%q is not a directory", at)
		case (at == dir || at == filepath.Dir(dir)) && owner(info) != uid:
			return fmt.Errorf("%q is user %d's, not that of the primary runner's user %d", at, owner(info), uid)
		}
	}
	return nil
}

// Made is a directory that Make has made.
type Made struct {
	path string
	info fs.FileInfo
}

// Make makes the directory of a runner, which must not exist, with its config.yaml.
// Only the user may access both. On failure there is none.
func Make(dir string, uid, gid int, config []byte) (made Made, err error) {
	made.path = dir
	err = inDir(dir, func(parent *os.Root, name string) error {
		if err := parent.Mkdir(name, 0o700); err != nil {
			return pathless(err)
		}
		info, err := parent.Lstat(name)
		if err != nil {
			return err
		}
		made.info = info
		return fill(parent, name, uid, gid, config)
	})
	if err != nil && made.info != nil {
		err = errors.Join(err, made.Remove())
	}
	return made, err
}

func fill(parent *os.Root, name string, uid, gid int, config []byte) error {
	root, err := parent.OpenRoot(name)
	if err != nil {
		return err
	}
	defer root.Close()
	err = safefile.Create(root, "config.yaml", config, safefile.Attributes{Mode: 0o600, UID: uid, GID: gid})
	if err == nil {
		err = root.Chown(".", uid, gid) // last: until then nobody else comes in
	}
	return err
}

// Remove removes the directory with all that it contains by now, if it is still the
// one that was made. It is not an error if it does not exist.
func (m Made) Remove() error { return removeMade(m.path, identityOf(m.info)) }

func removeMade(dir string, is Identity) error {
	return inDir(dir, func(parent *os.Root, name string) error {
		info, err := parent.Lstat(name)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if identityOf(info) != is {
			return errors.New("another directory has replaced the one that was made; it is left alone")
		}
		return parent.RemoveAll(name)
	})
}

func pathless(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
