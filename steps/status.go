package steps

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit statuses. They are API: workflows and scripts test for them.
const (
	StatusOK      = 0 // done, or warned under warn-only
	StatusRefused = 1 // lock not free in time, pressure did not end: not this change's fault
	StatusUsage   = 2 // unknown step, bad duration, unknown flag
	StatusFailed  = 3 // hostguard could not do its work: no Docker, no permission

	// with-lock leaves 0 to 123 to its command and speaks as timeout(1) does.
	StatusLockNotGot = 124 // the lock was not got in time
	StatusCannotLock = 125 // hostguard could not do its work
	StatusCannotRun  = 126 // the command was found but could not be started
	StatusNotFound   = 127 // there is no such command

	StatusInterrupted = 130 // SIGINT, or the job was taken away while it waited
	StatusTerminated  = 143 // SIGTERM or SIGHUP
)

// statusError is an error that knows the exit status it ends in.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &statusError{StatusUsage, fmt.Errorf(format, args...)}
}

func refusedf(format string, args ...any) error {
	return &statusError{StatusRefused, fmt.Errorf(format, args...)}
}

// statusOf is the exit status of a command that returned err. An error without
// a status of its own means that hostguard could not do its work.
func statusOf(err error) int {
	if err == nil {
		return StatusOK
	}
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.status
	}
	if i, ok := errors.AsType[*interrupted](err); ok {
		return i.status()
	}
	return StatusFailed
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal os.Signal }

func (e *interrupted) Error() string { return "interrupted by " + signalName(e.signal) }

func signalName(s os.Signal) string {
	if sig, ok := s.(syscall.Signal); ok {
		return unix.SignalName(sig)
	}
	return s.String()
}

func (e *interrupted) status() int {
	if e.signal == syscall.SIGINT {
		return StatusInterrupted
	}
	return StatusTerminated
}
