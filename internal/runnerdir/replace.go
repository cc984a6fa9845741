package runnerdir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"hostguard/runner/yamltree"
)

// Kept is the name under which Replace keeps the previous file beside the new one.
func Kept(path string) string {
	return fmt.Sprintf("%s.%s.previous", filepath.Base(path), time.Now().UTC().Format("20060102T150405"))
}

// Replace puts a new text in the place of a file that a person wrote, with its
// owner and mode, and keeps the previous one beside it under the name kept. The
// file is replaced as a whole or not at all; one that is no longer as it was read
// is left alone, and so is a link. ACLs are not taken over.
func Replace(path, kept string, was, is []byte) error {
	return inDir(path, func(dir *os.Root, name string) error {
		info, err := same(dir, name, was)
		if err != nil {
			return err
		}
		if err := create(dir, kept, was, info); err != nil {
			return fmt.Errorf("keep it as %q: %w", kept, err)
		}
		temp := "." + name + ".new"
		_ = dir.Remove(temp) // one that was killed leaves it
		err = create(dir, temp, is, info)
		if err == nil {
			_, err = same(dir, name, was)
		}
		if err == nil {
			err = dir.Rename(temp, name)
		}
		if err != nil {
			return errors.Join(err, gone(dir.Remove(temp)), gone(dir.Remove(kept)))
		}
		return sync(dir)
	})
}

// Restore makes the kept file the file again, if that is still as Replace has
// left it. It is no error when Replace did not get that far.
func Restore(path, kept string, was, is []byte) error {
	return inDir(path, func(dir *os.Root, name string) error {
		if _, err := same(dir, name, was); err == nil {
			return gone(dir.Remove(kept))
		}
		if _, err := same(dir, name, is); err != nil {
			return fmt.Errorf("%w; as it was before it is %q", err, kept)
		}
		if err := dir.Rename(kept, name); err != nil {
			return err
		}
		return sync(dir)
	})
}

func inDir(path string, do func(dir *os.Root, name string) error) error {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err == nil {
		defer dir.Close()
		err = do(dir, filepath.Base(path))
	}
	if err != nil {
		return fmt.Errorf("change %q: %w", path, err)
	}
	return nil
}

var errChanged = errors.New("somebody has changed it meanwhile; run it again")

// same tells whether a file has a text.
func same(dir *os.Root, name string, text []byte) (fs.FileInfo, error) {
	info, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no plain file; give -runner-dir the directory that has it")
	}
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, yamltree.MaxFile+1))
	if err == nil && !bytes.Equal(data, text) {
		err = errChanged
	}
	return info, err
}

// create makes a new file like another; on failure there is none.
func create(dir *os.Root, name string, data []byte, like fs.FileInfo) error {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	owner := like.Sys().(*syscall.Stat_t)
	if mine, statErr := f.Stat(); statErr != nil || mine.Sys().(*syscall.Stat_t).Uid != owner.Uid || mine.Sys().(*syscall.Stat_t).Gid != owner.Gid {
		err = f.Chown(int(owner.Uid), int(owner.Gid))
	}
	if err == nil {
		err = f.Chmod(like.Mode().Perm())
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, gone(dir.Remove(name)))
	}
	return nil
}

// sync makes a rename outlast a power cut.
func sync(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// gone is the error of a removal, of which nothing being there is none.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
