package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/safefile"
)

const helpCheckFence = `usage: hostguard check-fence -file PATH [-fence N]

Refuses to go on under a lock that was lost: each holder of a lock in gitea or swarm
has a higher number than those before, acquire-lock's output fence. PATH has the
highest that was seen, as one decimal line. An older one is refused; a newer one is
written there; the same may come again. Under with-lock the number is known.

What is to be protected has to keep PATH: the directory that is deployed to, or a
file that is committed with each change, so that a push of an older one fails.

{inputs}

exit status: 0 go on, 1 a later holder was here before, 2 wrong use, such as no
number, 3 PATH cannot be read or written.

example: hostguard check-fence -fence "$FENCE" -file deploy/.fence
`

// fenceVariable has, in the environment of with-lock's command, the fence of its lock.
const fenceVariable = "HOSTGUARD_FENCE"

// fenced returns an environment with the fence of a lock. Without one it leaves that of a
// with-lock above, whose lock is held all the same.
func fenced(environ []string, fence string) []string {
	if fence == "" {
		return environ
	}
	return append(slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		return strings.HasPrefix(v, fenceVariable+"=")
	}), fenceVariable+"="+fence)
}

// checkFence is one run of check-fence.
type checkFence struct {
	fence uint64
	file  string
}

func (c *checkFence) Inputs() []cli.Input {
	return []cli.Input{
		{Name: "fence", Kind: cli.Value("N", func(s string) (err error) {
			c.fence, err = parseFence(s)
			return err
		}), Text: "the number of the lock that is held"},
		{Name: "file", Kind: cli.Text(&c.file, nil), FlagOnly: true, Arg: "PATH",
			Text: "where the highest number is kept"},
	}
}

var errFence = errors.New("must be a whole number above 0, as in the output fence of acquire-lock")

func parseFence(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, errFence
	}
	return n, nil
}

func (c *checkFence) Run(ctx context.Context, s *cli.Session) error {
	switch {
	case c.file == "":
		return cli.Usagef("-file must name the file that has the highest number, such as deploy/.fence")
	case c.fence == 0:
		return cli.Usagef("-fence must be the number of the lock; locks of docker and file have none: use " +
			"lock-backend gitea or swarm, and give the output fence of its step")
	}
	dir, err := os.OpenRoot(filepath.Dir(c.file))
	if err != nil {
		return fmt.Errorf("check fence %d: open the directory of %.200q: %w", c.fence, c.file, err)
	}
	defer dir.Close()
	// Of two at once the older one must not be written last.
	lock, err := dir.Open(".")
	if err != nil {
		return fmt.Errorf("check fence %d: open the directory of %.200q: %w", c.fence, c.file, err)
	}
	defer lock.Close()
	if err := lockSoon(ctx, lock); err != nil {
		return fmt.Errorf("check fence %d: lock the directory of %.200q: %w", c.fence, c.file, err)
	}
	highest, attributes, err := readFence(dir, filepath.Base(c.file))
	switch {
	case err != nil:
		return fmt.Errorf("check fence %d: read %.200q: %w", c.fence, c.file, err)
	case c.fence < highest:
		return cli.Refusedf("fence %d is older than %d in %.200q: a later holder of the lock was here, so this one "+
			"has lost it; run the job again", c.fence, highest, c.file)
	case c.fence == highest:
		s.Print("fence %d is the one in %.200q", c.fence, c.file)
		return nil
	}
	data := append(strconv.AppendUint(nil, c.fence, 10), '\n')
	if err := safefile.Replace(dir, filepath.Base(c.file), data, attributes, nil); err != nil {
		return fmt.Errorf("check fence %d: write %.200q: %w", c.fence, c.file, err)
	}
	s.Print("fence %d is written to %.200q, over %d", c.fence, c.file, highest)
	return nil
}

// lockTime bounds the wait for another check-fence: whoever may read a directory can lock it.
const lockTime = 10 * time.Second

// lockSoon locks a file that nobody locks for longer than a check takes.
func lockSoon(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another process has locked it: %w", context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// readFence returns the number in a file, 0 if there is none, and the attributes that the
// file is to have.
func readFence(dir *os.Root, name string) (highest uint64, a safefile.Attributes, err error) {
	info, err := dir.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, safefile.Attributes{Mode: 0o644, UID: -1, GID: -1}, nil
	}
	if err != nil {
		return 0, a, err
	}
	const most = 32
	data, err := safefile.ReadIn(dir, name, most)
	if err != nil {
		return 0, a, err
	}
	highest, err = parseFence(strings.TrimSuffix(string(data), "\n"))
	return highest, safefile.AttributesOf(info), err
}
