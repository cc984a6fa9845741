package clean

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Runner is the open root directory of a GitHub runner, proven to be one.
type Runner struct{ root *os.Root }

// NotRunner is the error for a path that is not a runner's root.
type NotRunner struct{ Path, Why string }

func (e *NotRunner) Error() string { return fmt.Sprintf("%q %s", e.Path, e.Why) }

// proofs are files of which a runner's root has at least one.
var proofs = []string{".runner", "bin/Runner.Listener", "run.sh"}

// OpenRunner opens a runner's root. It returns *NotRunner for a path that cannot be
// one: empty, missing, a link, the file system's root, the home directory, or a
// directory in which nothing is a runner's. Other errors mean that the path could
// not be inspected.
func OpenRunner(path, home string) (*Runner, error) {
	root, err := openProper(path, home)
	if err != nil {
		return nil, err
	}
	for _, proof := range proofs {
		if info, err := root.Stat(proof); err == nil && info.Mode().IsRegular() {
			return &Runner{root}, nil
		}
	}
	root.Close()
	return nil, &NotRunner{path, "holds neither .runner nor bin/Runner.Listener nor run.sh"}
}

// openProper opens a directory that may be a runner's, whatever is in it.
func openProper(path, home string) (*os.Root, error) {
	if path == "" {
		return nil, &NotRunner{path, "is empty"}
	}
	path = filepath.Clean(path)
	seen, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &NotRunner{path, "does not exist"}
	case err != nil:
		return nil, quoted(err)
	case !seen.IsDir():
		return nil, &NotRunner{path, "is " + kind(seen.Mode()) + ", not a directory"}
	case isSame(seen, "/"):
		return nil, &NotRunner{path, "is the root of the file system"}
	case home != "" && isSame(seen, home):
		return nil, &NotRunner{path, "is the home directory"}
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, quoted(err)
	}
	if err := checkSame(root, seen); err != nil {
		return nil, quoted(err)
	}
	return root, nil
}

func (r *Runner) Path() string { return r.root.Name() }
func (r *Runner) Close() error { return r.root.Close() }

func isSame(info fs.FileInfo, path string) bool {
	other, err := os.Stat(path)
	return err == nil && os.SameFile(info, other)
}
