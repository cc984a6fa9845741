package proc

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hostguard/lock"
)

// Ended calls ended once when a process ends, unless stop is called before. No thread waits
// for it. It fails if the process has ended already, and before Linux 5.10.
func (h Host) Ended(p lock.Process, ended func()) (stop func(), err error) {
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", p.PID, err)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	start, err := h.Start(p.PID) // after the open: the pid may be another's by now
	if err == nil && start != p.Start {
		err = os.ErrProcessDone
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("watch process %d: %w", p.PID, err)
	}
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("watch process %d: %w", p.PID, err)
	}
	go func() {
		defer file.Close()
		gone := false
		// It is readable once the process has ended, and has nothing to read.
		err := conn.Read(func(fd uintptr) (done bool) {
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(poll, 0)
			gone = n > 0
			return gone || err != nil && err != unix.EINTR
		})
		if err == nil && gone {
			ended()
		}
	}()
	return func() { file.Close() }, nil
}
