// Package hungfs mounts, for tests, a file system that never answers: whoever looks into it
// waits for ever, and cannot be killed, until the test ends. Who only enters it may do so.
package hungfs

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// Of the protocol (fuse(4), linux/fuse.h).
const (
	opInit   = 26
	opAccess = 34
	inHeader = 40
	major    = 7
	minor    = 31
)

// Mount mounts one of a user at a directory or at a file. All users may look into it, as
// into that of a user on a host with user_allow_other. It skips the test where that cannot
// be done.
func Mount(t *testing.T, at string) {
	t.Helper()
	info, err := os.Stat(at)
	if err != nil {
		t.Fatal(err)
	}
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil || os.Geteuid() != 0 {
		t.Skipf("no file system can be served here: user %d, %v", os.Geteuid(), err)
	}
	mode := syscall.S_IFREG
	if info.IsDir() {
		mode = syscall.S_IFDIR
	}
	fd := int(dev.Fd()) // and so blocking: the server waits in a read
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=65534,group_id=65534,allow_other", fd, mode)
	if err := syscall.Mount("hungfs", at, "fuse", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		dev.Close()
		t.Skipf("no file system can be served here: %v", err)
	}
	ready := make(chan error, 1)
	go serve(fd, ready)
	t.Cleanup(func() {
		// Ends those who wait, and the read.
		if err := syscall.Unmount(at, syscall.MNT_FORCE|syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
		dev.Close()
	})
	select {
	case err := <-ready:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the kernel does not greet the file system")
	}
	if info.IsDir() { // the kernel asks once; a fork of this process could not wait for its answer
		if err := syscall.Access(at, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// serve answers the greeting and whether somebody may enter, and takes all other requests.
func serve(fd int, ready chan<- error) {
	request := make([]byte, 1<<20)
	for {
		n, err := syscall.Read(fd, request)
		if err == syscall.EINTR || err == syscall.EAGAIN || err == syscall.ENOENT {
			continue
		}
		if err != nil {
			return // it is mounted no longer
		}
		if n < inHeader {
			continue
		}
		op := binary.NativeEndian.Uint32(request[4:])
		answer := make([]byte, map[uint32]int{opInit: 16 + 64, opAccess: 16}[op])
		if len(answer) == 0 {
			continue
		}
		binary.NativeEndian.PutUint32(answer, uint32(len(answer)))
		copy(answer[8:16], request[8:16]) // whose answer it is
		if op == opAccess {
			refusal := -int32(syscall.ENOSYS) // and the kernel does not ask again
			binary.NativeEndian.PutUint32(answer[4:], uint32(refusal))
			_, _ = syscall.Write(fd, answer)
			continue
		}
		binary.NativeEndian.PutUint32(answer[16:], major)
		binary.NativeEndian.PutUint32(answer[20:], minor)
		binary.NativeEndian.PutUint32(answer[36:], 4096) // longest write
		_, err = syscall.Write(fd, answer)
		ready <- err
	}
}
