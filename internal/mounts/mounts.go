// Package mounts finds the file systems that a process of some user serves (FUSE), by the
// kernel's table and without a look into them: whoever serves one need never answer, and
// a process that waits for that cannot be killed.
//
// Not guaranteed: that none is mounted after the table was read.
package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Nobody is the user of a file system that names none.
const Nobody = 65534

// Table is what is mounted for one process: the users of FUSE's file systems by mount point.
type Table struct {
	users   map[string]int
	devices map[string]bool // of such file systems, as major:minor
}

// Read reads the table of a process from its directory in proc. File systems that root
// serves are not in it: they are trusted as root is.
func Read(process string) (Table, error) {
	data, err := os.ReadFile(filepath.Join(process, "mountinfo"))
	if err != nil {
		return Table{}, err
	}
	t := Table{map[string]int{}, map[string]bool{}}
	for line := range strings.Lines(string(data)) {
		before, after, _ := strings.Cut(line, " - ")
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
			t.users[unescape(place[4])] = uid
			t.devices[place[2]] = true
		}
	}
	return t, nil
}

// User returns the user who serves what is mounted at a path without links.
func (t Table) User(path string) (uid int, mounted bool) {
	uid, mounted = t.users[path]
	return uid, mounted
}

// Serves reports whether a user serves the file system with this device.
func (t Table) Serves(major, minor uint32) bool {
	return t.devices[fmt.Sprintf("%d:%d", major, minor)]
}

// Between returns a mount point below the directory top that is on the way to path, at it or
// below it; "" for none. Both are without links.
func (t Table) Between(top, path string) string {
	for point := range t.users {
		if point != top && within(top, point) && (within(point, path) || within(path, point)) {
			return point
		}
	}
	return ""
}

// within reports whether a path is a directory's or below it.
func within(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// Check returns an error for a path of this process on whose way a file system of a user's
// is mounted.
func Check(path string) error {
	_, err := Resolve("/proc/self", path)
	return err
}

// Resolve follows the links of a path of a process, given its directory in proc, and returns
// where it leads below that process's root. Its error is ErrServed where a file system of a
// user's is mounted on the way. Of a path that does not exist it returns what it is.
func Resolve(process, path string) (string, error) {
	t, err := Read(process)
	if err != nil {
		return "", err
	}
	root, at, links := filepath.Join(process, "root"), "/", 0
	for rest := strings.Split(path, "/"); len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		if uid, mounted := t.users[next]; mounted {
			return "", fmt.Errorf("%.200q: %w (user %d's)", next, ErrServed, uid)
		}
		target, err := os.Readlink(root + next)
		if err != nil { // it is no link, or there is nothing
			at = next
			continue
		}
		if links++; links > 40 {
			return "", &fs.PathError{Op: "follow", Path: next, Err: syscall.ELOOP}
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}

// ErrServed is why a path is not looked at.
var ErrServed = errors.New("a file system that a user's process serves is mounted there, and may never answer")

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
