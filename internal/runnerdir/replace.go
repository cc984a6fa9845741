package runnerdir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hostguard/internal/safefile"
	"hostguard/runner/yamltree"
)

// Kept returns the name under which Replace keeps the previous file beside the new one.
func Kept(path string) string {
	return fmt.Sprintf("%s.%s.previous", filepath.Base(path), time.Now().UTC().Format("20060102T150405"))
}

// Replace puts a new text in the place of a file that a person wrote, with its
// owner and mode, and keeps the previous one beside it under the name kept. The
// file is replaced as a whole or not at all; one that has changed since it was read
// is left alone, and so is a link. ACLs are not copied.
func Replace(path, kept string, was, is []byte) error {
	return inDir(path, func(dir *os.Root, name string) error {
		info, err := same(dir, name, was)
		if err != nil {
			return err
		}
		like := safefile.AttributesOf(info)
		if err := safefile.Create(dir, kept, was, like); err != nil {
			return fmt.Errorf("keep it as %q: %w", kept, err)
		}
		err = safefile.Replace(dir, name, is, like, func() error {
			_, err := same(dir, name, was)
			return err
		})
		if err != nil {
			return errors.Join(err, safefile.Remove(dir, kept))
		}
		return safefile.Sync(dir)
	})
}

// Restore puts the kept file back, if the file is still as Replace has left it. It is
// not an error when Replace did not get that far.
func Restore(path, kept string, was, is []byte) error {
	return inDir(path, func(dir *os.Root, name string) error {
		if _, err := same(dir, name, was); err == nil {
			return safefile.Remove(dir, kept)
		}
		if _, err := same(dir, name, is); err != nil {
			return fmt.Errorf("%w; as it was before it is %q", err, kept)
		}
		if err := dir.Rename(kept, name); err != nil {
			return err
		}
		return safefile.Sync(dir)
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

var errChanged = errors.New("it has been changed since it was read; run this again")

// same fails unless a file has that text.
func same(dir *os.Root, name string, text []byte) (fs.FileInfo, error) {
	info, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file; give -runner-dir the directory that has it")
	}
	data, err := safefile.ReadEntry(dir, name, yamltree.MaxFile+1)
	if err == nil && !bytes.Equal(data, text) {
		err = errChanged
	}
	return info, err
}
