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

// Pathless is an error without the path that its text repeats.
func Pathless(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

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

// Error is an error that knows the exit status it ends in.
type Error struct {
	Status int
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// WithStatus gives an error the exit status it ends in.
func WithStatus(status int, err error) error { return &Error{status, err} }

// Usagef returns an error of wrong use.
func Usagef(format string, args ...any) error {
	return &Error{StatusUsage, fmt.Errorf(format, args...)}
}

// Refusedf returns a refusal.
func Refusedf(format string, args ...any) error {
	return &Error{StatusRefused, fmt.Errorf(format, args...)}
}

// StatusOf is the exit status of a command that returned err. An error without
// a status of its own means that hostguard could not do its work.
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

// Interrupted is the cause of a context that a signal ended.
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

// OneLine is the text of an error, which may be several joined.
func OneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// ErrSaid stands for an error that the command has already printed.
var ErrSaid = errors.New("already said")
