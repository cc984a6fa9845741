package runnerdir

import (
	"errors"
	"os"

	"hostguard/internal/safefile"
)

// register creates the registration file of a runner in the directory that was made for
// it, which must not have one. Only the user may access it.
func register(q newDir) (none, error) {
	return none{}, inDir(q.Dir, func(parent *os.Root, name string) error {
		root, err := parent.OpenRoot(name)
		if err != nil {
			return pathless(err)
		}
		defer root.Close()
		if info, err := root.Stat("."); err != nil || identityOf(info) != q.Is {
			return errors.Join(err, errors.New("another directory has replaced the one that was made"))
		}
		return pathless(safefile.Create(root, ".runner", q.Registration,
			safefile.Attributes{Mode: 0o600, UID: os.Geteuid(), GID: os.Getegid()}))
	})
}
