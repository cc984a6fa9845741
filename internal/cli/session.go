package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// World is all that a command sees of the process it runs in.
type World struct {
	Program string   // the name it was called by
	Args    []string // without the program's name
	Environ []string
	Getenv  func(string) string
	Version string
	Commit  string // 40 hex digits, with "-dirty" for changed files; "" outside git

	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// Signals delivers the signals that ask hostguard to stop. After the
	// first one a command gives back what it took; DefaultSignals then lets
	// the next one end the process at once.
	Signals        <-chan os.Signal
	DefaultSignals func()
}

// Command is one word that hostguard answers to, or two of which the first is
// "runner".
type Command struct {
	Name    string
	Summary string // one line of the help of hostguard
	// Help is what "hostguard help" prints about the command: what it does, what it
	// waits for, its exit statuses and a real example. A line "{inputs}" stands for
	// the table of its inputs. Where it does not begin with the usage, that is made
	// of the table as well.
	Help string
	Step bool // may be asked for by the action's step input
	Hook bool // answers as a program of this name too
	// Wraps means that it runs the command that follows its inputs, to which belong
	// stdout and the signals.
	Wraps bool
	// New makes what one run of the command needs.
	New func() Action
}

// Action is one run of a command.
type Action interface {
	// Inputs is the command's table of inputs, whose values go into the action.
	Inputs() []Input
	Run(ctx context.Context, s *Session) error
}

// Func is the action of a command without inputs.
type Func func(ctx context.Context, s *Session) error

// Inputs returns an empty table.
func (Func) Inputs() []Input { return nil }

// Run calls the function.
func (f Func) Run(ctx context.Context, s *Session) error { return f(ctx, s) }

// Session is one run of one command.
type Session struct {
	World
	*Console
	Name     string    // of the command
	Wrapped  []string  // the command and arguments that one which Wraps has to run
	Commands []Command // all that there are
	given    []given   // by Read, in the order of their names
}

// given is the value that an input has got, and from where.
type given struct{ name, value, from string }

// NewSession returns a run of one of the commands in a world.
func NewSession(w World, commands []Command) *Session {
	return &Session{World: w, Console: newConsole(w.Stdout, w.Stderr, w.Getenv), Commands: commands}
}

// Modes: what a step does with a refusal or a failure of its own.
const (
	WarnOnly = "warn-only" // prints it and goes on
	HardFail = "hard-fail" // prints it and fails
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

// CutShort returns the interruption, where that is why a command failed.
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
