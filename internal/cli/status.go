package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pathless returns err without the path that its text would repeat.
func Pathless(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// Exit statuses. They are part of the API: workflows and scripts test them.
const (
	StatusOK      = 0 // done, or warned under warn-only
	StatusRefused = 1 // lock not free in time, pressure did not end: not this change's fault
	StatusUsage   = 2 // unknown step, bad duration, unknown flag
	StatusFailed  = 3 // hostguard could not do its work: no Docker, no permission

	// with-lock leaves 0 to 123 to its command and uses the statuses of timeout(1).
	StatusLockTimeout = 124 // the lock was not acquired in time
	StatusCannotLock  = 125 // hostguard could not do its work
	StatusCannotRun   = 126 // the command exists but could not be started
	StatusNotFound    = 127 // there is no such command

	StatusInterrupted = 130 // SIGINT, or the job's directory was removed while the command waited
	StatusTerminated  = 143 // SIGTERM or SIGHUP
)

// Error is an error with an exit status.
type Error struct {
	Status int
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// WithStatus returns err with an exit status.
func WithStatus(status int, err error) error { return &Error{status, err} }

// Usagef returns an error of wrong use.
func Usagef(format string, args ...any) error {
	return &Error{StatusUsage, fmt.Errorf(format, args...)}
}

// Refusedf returns a refusal.
func Refusedf(format string, args ...any) error {
	return &Error{StatusRefused, fmt.Errorf(format, args...)}
}

// StatusOf returns the exit status of a command that returned err. An error without
// a status means that hostguard could not do its work.
func StatusOf(err error) int {
	if err == nil {
		return StatusOK
	}
	if s, ok := errors.AsType[*Error](err); ok {
		return s.Status
	}
	if i, ok := errors.AsType[*Interrupted](err); ok {
		return i.status()
	}
	return StatusFailed
}

// Interrupted is the cause of a context that a signal cancelled.
type Interrupted struct{ Signal os.Signal }

func (e *Interrupted) Error() string { return "interrupted by " + signalName(e.Signal) }

func signalName(s os.Signal) string {
	if sig, ok := s.(syscall.Signal); ok {
		return unix.SignalName(sig)
	}
	return s.String()
}

func (e *Interrupted) status() int {
	if e.Signal == syscall.SIGINT {
		return StatusInterrupted
	}
	return StatusTerminated
}

// OneLine returns the text of an error, which may be several joined ones, as one line.
func OneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// ErrReported replaces an error that the command has already reported.
var ErrReported = errors.New("already reported")
