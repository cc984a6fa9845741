package proc

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"hostguard/internal/mounts"
)

// seen is what the kernel itself knows of a file.
type seen struct {
	id           fileID
	links        uint32
	major, minor uint32
}

// see returns what a link of /proc, such as cwd, leads to. It does not ask whoever serves
// that file system, and who might never answer.
func see(path string) (s seen, err error) {
	var x unix.Statx_t
	const flags = unix.AT_STATX_DONT_SYNC | unix.AT_NO_AUTOMOUNT
	err = unix.Statx(unix.AT_FDCWD, path, flags, unix.STATX_BASIC_STATS, &x)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // Linux before 4.11, Docker before 18.04
		var old unix.Stat_t
		if err = unix.Stat(path, &old); err == nil {
			x.Ino, x.Nlink = old.Ino, uint32(old.Nlink)
			x.Dev_major, x.Dev_minor = unix.Major(old.Dev), unix.Minor(old.Dev)
		}
	}
	if err != nil {
		return s, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	id := fileID{unix.Mkdev(x.Dev_major, x.Dev_minor), x.Ino}
	return seen{id, x.Nlink, x.Dev_major, x.Dev_minor}, nil
}

// served reports whether a process, by its directory in proc, has a file on a file system
// that a user serves, or that is not known.
func served(process string, file seen) bool {
	table, err := mounts.Read(process)
	return err != nil || table.Serves(file.major, file.minor)
}
