package privsep

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Nobody decides over paths through a directory that all users can change.
const Nobody = 65534

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
	mounts, err := userMounts()
	if err != nil {
		return 0, err
	}
	at, links := "/", 0
	var here fs.FileInfo
	for rest := strings.Split(path, "/"); len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		if uid, mounted := mounts[next]; mounted {
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

// userMounts returns the mount points of file systems that a user's process serves.
func userMounts() (map[string]int, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	mounts := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for lines.Scan() {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if len(place) < 5 || len(kind) < 3 || !strings.HasPrefix(kind[0], "fuse") {
			continue
		}
		uid := Nobody
		for option := range strings.SplitSeq(kind[2], ",") {
			if id, found := strings.CutPrefix(option, "user_id="); found {
				if n, err := strconv.Atoi(id); err == nil {
					uid = n
				}
			}
		}
		if uid != 0 {
			mounts[unescape(place[4])] = uid
		}
	}
	return mounts, nil
}

// unescape returns a mount point as it is: the table writes some characters in octal.
func unescape(path string) string {
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+3 < len(path) {
			if n, err := strconv.ParseUint(path[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(path[i])
	}
	return out.String()
}
