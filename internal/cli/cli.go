// Package cli is what every command of hostguard has in common: the world it runs
// in, its inputs, its console, its exit status and its help. It knows no command
// but version.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// Command is one word that hostguard answers to.
type Command struct {
	Name string
	Step bool // may be asked for by the action's step input
	Hook bool // answers as a program of this name too
	Help string
	Run  func(ctx context.Context, s *Session) error
}

// Main runs the one of all commands that the arguments name, or the program's own name if it
// is that of a hook, or with no arguments the step that the action's step input
// names (HOSTGUARD_STEP). It returns the exit status.
func Main(w World, all []Command) int {
	if w.Getenv(secretsOnStdin) != "" {
		w.Getenv = withSecrets(w.Stdin, w.Getenv)
	}
	c := NewConsole(w)
	args := w.Args
	all = append(slices.Clone(all), Command{Name: "version", Help: helpVersion, Run: printVersion})
	program := filepath.Base(w.Program)
	if slices.ContainsFunc(all, func(cmd Command) bool { return cmd.Hook && cmd.Name == program }) {
		args = append([]string{program}, args...)
	}
	if len(args) == 0 {
		step := w.Getenv("HOSTGUARD_STEP")
		if step == "" && w.Getenv(actionVariable) == "" {
			c.help(helpMain)
			return StatusUsage
		}
		all = slices.DeleteFunc(all, func(cmd Command) bool { return !cmd.Step })
		args = []string{step}
		if !slices.ContainsFunc(all, func(cmd Command) bool { return cmd.Name == step }) {
			c.Error("unknown step %q; set step to one of %s", step, names(all))
			return StatusUsage
		}
	}
	name, rest := nameOf(args)
	if name == "help" || name == "-h" || name == "-help" || name == "--help" {
		return help(c, all, rest)
	}
	i := slices.IndexFunc(all, func(cmd Command) bool { return cmd.Name == name })
	if i < 0 {
		c.Error("unknown command %q; one of %s, or see \"hostguard help\"", name, names(like(all, name)))
		return StatusUsage
	}
	if slices.ContainsFunc(rest, isHelpFlag(name)) {
		c.help(all[i].Help)
		return StatusOK
	}

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s := &Session{World: w, Console: c, Name: name, Commands: all, In: NewInputs(name, rest, w.Getenv)}
	if name != "with-lock" { // with-lock passes signals on to its command
		stop := s.CancelOnSignal(cancel)
		defer stop()
	}
	err := all[i].Run(ctx, s)
	if err == nil {
		return StatusOK
	}
	err = CutShort(ctx, err)
	if e, ok := errors.AsType[*Error](err); !ok || e.Err != ErrSaid {
		c.Error("%s: %s", name, OneLine(err))
	}
	return StatusOf(err)
}

// nameOf is the command that the arguments name, one word or "runner" and one
// more, and the arguments after it.
func nameOf(args []string) (name string, rest []string) {
	if args[0] == "runner" && len(args) > 1 && !strings.HasPrefix(args[1], "-") {
		return strings.Join(args[:2], " "), args[2:]
	}
	return args[0], args[1:]
}

// like are the commands of runner for one of runner, else all.
func like(all []Command, name string) []Command {
	if first, _, _ := strings.Cut(name, " "); first == "runner" {
		return slices.DeleteFunc(all, func(cmd Command) bool { return !strings.HasPrefix(cmd.Name, "runner ") })
	}
	return all
}

func names(all []Command) string {
	list := make([]string, 0, len(all))
	for _, cmd := range all {
		if !cmd.Hook {
			list = append(list, cmd.Name)
		}
	}
	return strings.Join(list, ", ")
}
