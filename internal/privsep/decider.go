package privsep

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hostguard/internal/mounts"
)

// Nobody decides over paths through a directory that all users can change.
const Nobody = mounts.Nobody

// Decider returns the user whose files a path leads to: root if only root can change what
// it leads to, else the first other user who can. It looks at no directory below one of
// another user's, so that nobody but root can lead it anywhere.
//
// The answer is right until somebody changes the path: whoever is not root then only
// leads his own process somewhere else.
func Decider(path string) (int, error) {
	if !filepath.IsAbs(path) {
		return 0, fmt.Errorf("%.200q is not an absolute path", path)
	}
	table, err := mounts.Read("/proc/self")
	if err != nil {
		return 0, err
	}
	at, links := "/", 0
	var here fs.FileInfo
	for rest := strings.Split(path, "/"); len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		if uid, mounted := table.User(next); mounted {
			return uid, nil // and may never answer
		}
		info, err := os.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			return missing(here), nil
		case err != nil:
			return 0, err
		}
		if uid := owner(info); uid != 0 {
			return uid, nil
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at, here = next, info
			if open := info.Mode().Perm()&0o002 != 0; open && info.Mode()&fs.ModeSticky == 0 && info.IsDir() {
				return Nobody, nil
			}
			continue
		}
		target, err := os.Readlink(next)
		if links++; err == nil && links > 40 {
			err = syscall.ELOOP
		}
		if err != nil {
			return 0, &fs.PathError{Op: "follow", Path: next, Err: err}
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return 0, nil
}

// missing returns who decides over an entry that does not exist in a directory of root's.
func missing(dir fs.FileInfo) int {
	if dir != nil && dir.Mode().Perm()&0o002 != 0 {
		return Nobody
	}
	return 0
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
