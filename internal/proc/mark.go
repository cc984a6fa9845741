package proc

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"hostguard/lock"
)

// The marks of with-lock's command, beside the variable: "env -i" takes that
// away, and a program that renames itself writes over it.
//
// A socket, which every process of the command inherits open. The kernel answers
// at once whether anybody has it, also a process that no look through the table
// meets because it has ended by then and its child was not there yet. A program
// can close what it did not open (Python's subprocess does for its children).
//
// A resource limit, which every process inherits, which sudo keeps, and which
// all users may read. Its value is the mark: a bound of 70,000 years and more on
// the time that a process of real-time priority runs without a pause.

const (
	// socketFD is where the socket is open from on: scripts use small numbers, and bash takes
	// free ones from 63 down. For one from 64 on the kernel makes a larger table, and waits for
	// all processors (synchronize_rcu) because this process has threads: 5 to 10 ms.
	socketFD = 56
	// limitFloor is the least value that is a mark, in microseconds.
	limitFloor = 1 << 61
)

func socketAddress(nonce string) *unix.SockaddrUnix {
	return &unix.SockaddrUnix{Name: "@hostguard-hold-" + nonce}
}

func limitOf(nonce string) uint64 {
	n, _ := strconv.ParseUint(nonce[:15], 16, 64)
	return limitFloor | n
}

// Mark marks this process and all that it starts from now on as under the lock
// of the holder's nonce, and records how. The limit of a with-lock above stays,
// for it marks these processes as well.
func (h Host) Mark(holder *lock.Claim) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket to mark the command: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, socketAddress(holder.Nonce)); err != nil {
		return fmt.Errorf("bind the socket that marks the command: %w", err)
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD, socketFD) // open also after exec
	if errors.Is(err, unix.EINVAL) {                            // beyond the limit of open files
		_, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD, socketFD/5)
	}
	if err != nil {
		return fmt.Errorf("keep the socket that marks the command: %w", err)
	}
	if holder.Net, err = os.Readlink(filepath.Join(h.Proc, "self/ns/net")); err != nil {
		return fmt.Errorf("mark the command: %w", err)
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_RTTIME, &limit) == nil && limit.Cur == math.MaxUint64 {
		limit.Cur = limitOf(holder.Nonce)
		holder.Limit = unix.Setrlimit(unix.RLIMIT_RTTIME, &limit) == nil
	}
	return nil
}

// hasSocket reports whether some process has the socket of a nonce open.
func (h Host) hasSocket(nonce, namespace string) (has bool, unread string) {
	own, err := os.Readlink(filepath.Join(h.Proc, "self/ns/net"))
	if err != nil || own != namespace {
		return false, "the socket that marks its command is in another network namespace"
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, "the socket that marks its command could not be looked up: " + err.Error()
	}
	defer unix.Close(fd)
	switch err := unix.Connect(fd, socketAddress(nonce)); err {
	case nil:
		return true, ""
	case unix.ECONNREFUSED: // nobody has that name
		return false, ""
	default:
		return false, "the socket that marks its command could not be looked up: " + err.Error()
	}
}

// hasLimit reports whether a process has the limit of a nonce. Every user may read
// it, also of a process whose first thread has ended.
func (h Host) hasLimit(pid int, nonce string) (has bool, err error) {
	limits, err := readSome(filepath.Join(h.Proc, strconv.Itoa(pid), "limits"), limitsSize)
	if err != nil {
		return false, err
	}
	_, line, found := bytes.Cut(limits, []byte("\nMax realtime timeout "))
	fields := bytes.Fields(line)
	if !found || len(fields) == 0 {
		return false, fmt.Errorf("read the limits of process %d: no realtime timeout", pid)
	}
	return string(fields[0]) == strconv.FormatUint(limitOf(nonce), 10), nil
}

const limitsSize = 64 << 10
