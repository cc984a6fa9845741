// Package steps holds hostguard's commands, one file each: their flags, their
// wiring and what they print. The algorithms are in lock, pressure and clean;
// the outside world comes in through World and the adapters in internal.
package steps

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// command is one word that hostguard answers to.
type command struct {
	name string
	step bool // may be asked for by the action's step input
	hook bool // answers as a program of this name too
	help string
	run  func(ctx context.Context, s *session) error
}

// session is one run of one command.
type session struct {
	World
	*console
	name string
	in   *inputs
}

func commands() []command {
	return []command{
		{name: "clean-diag", step: true, help: helpCleanDiag, run: cleanDiag},
		{name: "wait-pressure", step: true, help: helpWaitPressure, run: waitPressure},
		{name: "acquire-lock", step: true, help: helpAcquireLock, run: acquireLock},
		{name: "release-lock", step: true, help: helpReleaseLock, run: releaseLock},
		{name: "with-lock", help: helpWithLock, run: withLock},
		{name: "break-lock", help: helpBreakLock, run: breakLock},
		{name: "status", help: helpStatus, run: hostStatus},
		{name: "doctor", help: helpDoctor, run: doctor},
		{name: "runner audit", help: helpRunnerAudit, run: runnerAudit},
		{name: "runner labels", help: helpRunnerLabels, run: runnerLabels},
		{name: "runner readiness", help: helpRunnerReadiness, run: runnerReadiness},
		{name: "runner drain", help: helpRunnerDrain, run: runnerDrain},
		{name: "runner resume", help: helpRunnerResume, run: runnerResume},
		{name: "runner service", help: helpRunnerService, run: runnerService},
		{name: "runner split", help: helpRunnerSplit, run: runnerSplit},
		{name: "runner cleanup-timer", help: helpRunnerCleanupTimer, run: runnerCleanupTimer},
		{name: "install", help: helpInstall, run: installFiles},
		{name: "version", help: helpVersion, run: version},
		{name: jobCompletedName, hook: true, help: helpHooks, run: jobCompleted},
		{name: "hostguard-post-task", hook: true, help: helpHooks, run: postTask},
		{name: "hostguard-health", hook: true, help: helpHooks, run: health},
	}
}

// Main runs the command that the arguments name, or the program's own name if it
// is that of a hook, or with no arguments the step that the action's step input
// names (HOSTGUARD_STEP). It returns the exit status.
func Main(w World) int {
	if w.Getenv(secretsOnStdin) != "" {
		w.Getenv = withSecrets(w.Stdin, w.Getenv)
	}
	c := newConsole(w)
	args := w.Args
	all := commands()
	program := filepath.Base(w.Program)
	if slices.ContainsFunc(all, func(cmd command) bool { return cmd.hook && cmd.name == program }) {
		args = append([]string{program}, args...)
	}
	if len(args) == 0 {
		step := w.Getenv("HOSTGUARD_STEP")
		if step == "" && w.Getenv(actionVariable) == "" {
			c.help(helpMain)
			return StatusUsage
		}
		all = slices.DeleteFunc(all, func(cmd command) bool { return !cmd.step })
		args = []string{step}
		if !slices.ContainsFunc(all, func(cmd command) bool { return cmd.name == step }) {
			c.Error("unknown step %q; set step to one of %s", step, names(all))
			return StatusUsage
		}
	}
	name, rest := nameOf(args)
	if name == "help" || name == "-h" || name == "-help" || name == "--help" {
		return help(c, all, rest)
	}
	i := slices.IndexFunc(all, func(cmd command) bool { return cmd.name == name })
	if i < 0 {
		c.Error("unknown command %q; one of %s, or see \"hostguard help\"", name, names(like(all, name)))
		return StatusUsage
	}
	if slices.ContainsFunc(rest, isHelpFlag(name)) {
		c.help(all[i].help)
		return StatusOK
	}

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s := &session{World: w, console: c, name: name, in: newInputs(name, rest, w.Getenv)}
	if name != "with-lock" { // with-lock passes signals on to its command
		stop := s.cancelOnSignal(cancel)
		defer stop()
	}
	err := all[i].run(ctx, s)
	if err == nil {
		return StatusOK
	}
	err = cutShort(ctx, err)
	if e, ok := errors.AsType[*statusError](err); !ok || e.err != errSaid {
		c.Error("%s: %s", name, oneLine(err))
	}
	return statusOf(err)
}

// nameOf is the command that the arguments name, one word or "runner" and one
// more, and the arguments after it.
func nameOf(args []string) (name string, rest []string) {
	if args[0] == "runner" && len(args) > 1 && !strings.HasPrefix(args[1], "-") {
		return strings.Join(args[:2], " "), args[2:]
	}
	return args[0], args[1:]
}

// oneLine is the text of an error, which may be several joined.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// cutShort is the interruption, where that is why a command failed.
func cutShort(ctx context.Context, err error) error {
	if i, ok := errors.AsType[*interrupted](context.Cause(ctx)); ok && statusOf(err) == StatusFailed {
		return i
	}
	return err
}

// errSaid stands for an error that the command has already told.
var errSaid = errors.New("already said")

// twice is how long one request to stop may come again: a service manager
// signals every process of a job, and a parent such as lock/main.js passes it on
// as well.
const twice = time.Second

// cancelOnSignal cancels with the first signal as cause, and lets one that comes
// later end the process. The returned function ends the watch: what it has caught
// by then has cancelled.
func (s *session) cancelOnSignal(cancel context.CancelCauseFunc) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case sig := <-s.Signals:
			cancel(&interrupted{sig})
		case <-done:
			return
		}
		select {
		case <-time.After(twice):
			s.DefaultSignals()
		case <-done:
		}
	}()
	return func() { close(done); <-ended }
}

// like are the commands of runner for one of runner, else all.
func like(all []command, name string) []command {
	if first, _, _ := strings.Cut(name, " "); first == "runner" {
		return slices.DeleteFunc(all, func(cmd command) bool { return !strings.HasPrefix(cmd.name, "runner ") })
	}
	return all
}

func names(all []command) string {
	list := make([]string, 0, len(all))
	for _, cmd := range all {
		if !cmd.hook {
			list = append(list, cmd.name)
		}
	}
	return strings.Join(list, ", ")
}
