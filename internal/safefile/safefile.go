// Package safefile reads files that strangers may have put there, and exchanges files
// at once. A read is bounded and never waits: a named pipe, a device or a directory is
// refused, even if it takes the place of a file between the look and the open.
package safefile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// ErrNoFile reports that a path leads to something that is not a regular file.
var ErrNoFile = errors.New("not a regular file")

// Read reads a regular file, or its first most bytes: to notice a longer one, ask for
// one byte more than is wanted.
func Read(path string, most int64) ([]byte, error) {
	return read(path, most, os.Stat, os.OpenFile, 0)
}

// ReadIn reads as Read does, in a directory that links cannot leave.
func ReadIn(dir *os.Root, name string, most int64) ([]byte, error) {
	return read(name, most, dir.Stat, dir.OpenFile, 0)
}

// ReadEntry reads as ReadIn does, an entry of the directory that is the file itself,
// not a link.
func ReadEntry(dir *os.Root, name string, most int64) ([]byte, error) {
	return read(name, most, dir.Lstat, dir.OpenFile, syscall.O_NOFOLLOW)
}

func read(path string, most int64, stat func(string) (fs.FileInfo, error),
	open func(string, int, fs.FileMode) (*os.File, error), flags int) ([]byte, error) {
	info, err := stat(path) // an open may act on a device
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: ErrNoFile}
	}
	f, err := open(path, os.O_RDONLY|syscall.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: path, Err: ErrNoFile}
	}
	if err == nil && ofKernel(f) {
		err = &fs.PathError{Op: "read", Path: path, Err: errKernel}
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, most))
}

var errKernel = errors.New("a file of the kernel's, such as of /proc or /sys")

// kernelTypes are file systems whose files look regular, and whose reading may wait for
// ever or do something (statfs(2)).
var kernelTypes = []int64{
	0x9fa0, 0x62656572, 0x64626720, 0x74726163, // proc, sysfs, debugfs, tracefs
	0x73636673, 0x62656570, 0x27e0eb, 0x63677270, // securityfs, configfs, cgroup, cgroup2
	0xcafe4a11, 0x6165676c, 0xde5e81e4, 0xf97cff8c, // bpf, pstore, efivarfs, selinuxfs
}

// ofKernel reports whether a file is of one of kernelTypes, or that is not known.
func ofKernel(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return true
	}
	kernel := true
	err = raw.Control(func(fd uintptr) {
		var s syscall.Statfs_t
		kernel = syscall.Fstatfs(int(fd), &s) != nil || slices.Contains(kernelTypes, int64(s.Type))
	})
	return kernel || err != nil
}

// Attributes are the mode and the owner of a file to be made.
type Attributes struct {
	Mode     fs.FileMode
	UID, GID int // -1 for those that it gets by itself
}

// AttributesOf returns the attributes of an existing file.
func AttributesOf(info fs.FileInfo) Attributes {
	owner := info.Sys().(*syscall.Stat_t)
	return Attributes{info.Mode().Perm(), int(owner.Uid), int(owner.Gid)}
}

// Create makes a file that must not exist, whatever the umask, and waits until it is
// on the disk. On failure there is none.
func Create(dir *os.Root, name string, data []byte, a Attributes) error {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		has := AttributesOf(info)
		if a.UID >= 0 && a.UID != has.UID || a.GID >= 0 && a.GID != has.GID {
			err = f.Chown(a.UID, a.GID)
		}
	}
	if err == nil {
		err = f.Chmod(a.Mode)
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, Remove(dir, name))
	}
	return nil
}

// Replace puts a file in the place of another, or of none, atomically: a reader finds
// one of them, whole; after Sync also after a power cut. check, which may be nil, is
// called right before that, and its error leaves everything unchanged.
func Replace(dir *os.Root, name string, data []byte, a Attributes, check func() error) error {
	temp := "." + name + ".new"
	err := Remove(dir, temp) // left by a killed process
	if err == nil {
		err = Create(dir, temp, data, a)
	}
	if err == nil && check != nil {
		err = check()
	}
	if err == nil {
		err = dir.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, Remove(dir, temp))
	}
	return nil
}

// Remove removes a file. It is not an error if there is none.
func Remove(dir *os.Root, name string) error {
	if err := dir.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sync waits until the names in a directory are on the disk.
func Sync(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
