package cli

import (
	"context"
	"errors"
	"time"
)

// Session is one run of one command.
type Session struct {
	World
	*Console
	Name     string    // of the command
	Wrapped  []string  // the command and arguments that one which Wraps has to run
	Commands []Command // all that there are
	given    []given   // by Read, in the order of their names
}

// NewSession returns a run of one of the commands in a world.
func NewSession(w World, commands []Command) *Session {
	return &Session{World: w, Console: newConsole(w), Commands: commands}
}

// Modes: what a step does with a refusal or a failure of its own.
const (
	WarnOnly = "warn-only" // says it and goes on
	HardFail = "hard-fail" // says it and fails
)

// Soften applies a mode to what a step ended in. Under warn-only a refusal and
// a failure become a warning; wrong use and an interruption never do.
func (s *Session) Soften(ctx context.Context, mode string, err error) error {
	status := StatusOf(err)
	if mode != WarnOnly || ctx.Err() != nil || status != StatusRefused && status != StatusFailed {
		return err
	}
	s.Warning("%s: %s (mode is %s: going on)", s.Name, OneLine(err), WarnOnly)
	return nil
}

// CutShort is the interruption, where that is why a command failed.
func CutShort(ctx context.Context, err error) error {
	if i, ok := errors.AsType[*Interrupted](context.Cause(ctx)); ok && StatusOf(err) == StatusFailed {
		return i
	}
	return err
}

// Twice is how long one request to stop may come again: a service manager
// signals every process of a job, and a parent such as lock/main.js passes it on
// as well.
const Twice = time.Second

// CancelOnSignal cancels with the first signal as cause, and lets one that comes
// later end the process. The returned function ends the watch: what it has caught
// by then has cancelled.
func (s *Session) CancelOnSignal(cancel context.CancelCauseFunc) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case sig := <-s.Signals:
			cancel(&Interrupted{sig})
		case <-done:
			return
		}
		select {
		case <-time.After(Twice):
			s.DefaultSignals()
		case <-done:
		}
	}()
	return func() { close(done); <-ended }
}
