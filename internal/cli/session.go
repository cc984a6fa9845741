package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// World is everything that a command sees of its process.
type World struct {
	Program string   // the name the program was called by
	Args    []string // without the program's name
	Environ []string
	Getenv  func(string) string
	Version string
	Commit  string // 40 hex digits, with "-dirty" for changed files; "" outside git

	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// Signals delivers the signals that ask hostguard to stop. After the first
	// one a command gives back what it has acquired; DefaultSignals then makes
	// the next one end the process at once.
	Signals        <-chan os.Signal
	DefaultSignals func()
}

// Command is a command of hostguard. Its name is one word, or that of a group and a second
// word.
type Command struct {
	Name    string
	Summary string // its line in the help of hostguard
	// Help is what "hostguard help" prints about the command: what it does, what it
	// waits for, its exit statuses and a real example. The line "{inputs}" is
	// replaced by the table of inputs. If Help does not begin with the usage, the
	// usage is generated from the table too.
	Help string
	Step bool // the action's step input may name it
	Hook bool // it also runs if the program is called by this name
	// Wraps means that the command runs another command, which follows its inputs
	// and owns stdout and the signals.
	Wraps bool
	// Argument are words of which one must follow the inputs.
	Argument []string
	// New returns the action for one run of the command.
	New func() Action
}

// Action is one run of a command.
type Action interface {
	// Inputs returns the command's table of inputs, which stores values in the action.
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
	Wrapped  []string  // the wrapped command and its arguments
	Argument string    // one of the command's words
	Commands []Command // all commands
	given    []given   // set by Read, in the order of their names
	inputs   []Input   // of the command, set by Read
}

// given is the value of an input and its source.
type given struct{ name, value, from string }

// NewSession returns a session in a world, for a run of one of the commands.
func NewSession(w World, commands []Command) *Session {
	return &Session{World: w, Console: newConsole(w.Stdout, w.Stderr, w.Getenv), Commands: commands}
}

// Modes: what a step does after a refusal or a failure of its own.
const (
	WarnOnly = "warn-only" // warns and continues
	HardFail = "hard-fail" // reports it and fails
)

// Soften applies a mode to the error of a step. Under warn-only, refusals and failures
// become warnings; wrong use and interruptions never do.
func (s *Session) Soften(ctx context.Context, mode string, err error) error {
	status := StatusOf(err)
	if mode != WarnOnly || ctx.Err() != nil || status != StatusRefused && status != StatusFailed {
		return err
	}
	s.Warning("%s: %s (mode is %s: continuing)", s.Name, OneLine(err), WarnOnly)
	return nil
}

// CheckInterrupted returns the interruption of ctx if it made a command fail, else err.
func CheckInterrupted(ctx context.Context, err error) error {
	if i, ok := errors.AsType[*Interrupted](context.Cause(ctx)); ok && StatusOf(err) == StatusFailed {
		return i
	}
	return err
}

// RepeatWindow is the time within which several signals count as one: systemd signals
// every process of a job, and a parent such as lock/main.js forwards its signal too.
const RepeatWindow = time.Second

// CancelOnSignal calls cancel with the first signal as cause, and makes a later one end
// the process. When stop returns, cancel has been called for any signal received so far.
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
		case <-time.After(RepeatWindow):
			s.DefaultSignals()
		case <-done:
		}
	}()
	return func() { close(done); <-ended }
}
