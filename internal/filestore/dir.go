package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// openDir opens the lock directory and makes it if there is none. Every user may make
// it, and put a link in its place at any moment. So it is opened once, from its
// parent's open directory, and all that follows is done in what was opened.
func openDir(dir string) (*os.Root, error) {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return nil, fmt.Errorf("open lock directory %q: %w", dir, reason(err))
	}
	defer parent.Close()
	name := filepath.Base(dir)
	err = parent.Mkdir(name, 0o777)
	made := err == nil
	if !made && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make lock directory %q: %w; make it once as root, mode 0777", dir, reason(err))
	}
	seen, err := parent.Lstat(name)
	if err != nil || !seen.IsDir() {
		return nil, fmt.Errorf("open lock directory %q: not a directory; remove what is there", dir)
	}
	root, err := parent.OpenRoot(name) // follows a link, but not out of the parent
	if err != nil {
		return nil, fmt.Errorf("open lock directory %q: %w", dir, reason(err))
	}
	if err := prepare(root, dir, seen, made); err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

// prepare checks that an open directory is the one that was seen and a place for
// locks, and gives one that this process made its mode.
func prepare(root *os.Root, dir string, seen fs.FileInfo, made bool) error {
	d, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("open lock directory %q: %w", dir, reason(err))
	}
	defer d.Close()
	opened, err := d.Stat()
	if err == nil && !os.SameFile(seen, opened) {
		err = errors.New("it was replaced while it was opened")
	}
	if err == nil {
		err = checkPlace(dir, int(d.Fd()))
	}
	if err == nil && made && ownerOf(opened) == uint32(os.Geteuid()) {
		err = d.Chmod(0o777) // whatever the umask
	}
	if err != nil {
		return fmt.Errorf("open lock directory %q: %w", dir, reason(err))
	}
	guard, err := openGuard(root)
	if err != nil {
		advice := ""
		if errors.Is(err, fs.ErrPermission) {
			advice = "; the mode of the directory must be 0777"
		}
		return fmt.Errorf("open lock directory %q: open its guard: %w%s", dir, reason(err), advice)
	}
	return guard.Close()
}

func ownerOf(info fs.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }

// Kinds of file system whose locks or links other hosts or layers see otherwise
// or not at all (statfs(2)).
var refused = map[int64]string{
	0x6969: "NFS", 0xff534d42: "CIFS", 0xfe534d42: "SMB2", 0x517b: "SMB", 0x01021997: "9p",
	0x65735546: "FUSE", 0x794c7630: "overlay", 0x5346414f: "AFS", 0x00c36400: "Ceph", 0x47504653: "GPFS",
}

// checkPlace refuses directories that not every job sees. They are misconfigured, not
// hostile, so that the path serves for one of the reasons.
func checkPlace(dir string, fd int) error {
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return err
	}
	for _, tmp := range []string{"/tmp", "/var/tmp", "/dev/shm"} {
		if parent == tmp || strings.HasPrefix(parent, tmp+"/") {
			return fmt.Errorf("it is below %s, of which each service may have its own; use %s", tmp, DefaultDir)
		}
	}
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(fd, &st); err != nil {
		return err
	}
	if kind, bad := refused[int64(uint32(st.Type))]; bad {
		return fmt.Errorf("it is on a file system of type %s, where not every job sees the same locks; use a local one",
			kind)
	}
	return nil
}

// openGuard opens before it creates: with fs.protected_regular O_CREAT fails on
// another user's file in a sticky directory. Only what it has made gets another mode.
func openGuard(root *os.Root) (*os.File, error) {
	const flags = os.O_RDWR | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := root.OpenFile(guardName, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = root.OpenFile(guardName, flags|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			err = f.Chmod(0o666) // whatever the umask
		} else if errors.Is(err, fs.ErrExist) { // another process has just made it
			f, err = root.OpenFile(guardName, flags, 0)
		}
	}
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%q is not a regular file; remove it", guardName)
	}
	return f, nil
}
