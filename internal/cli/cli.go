// Package cli holds what all commands of hostguard share: the world they run in,
// inputs, console, exit statuses and help. The only commands in it are completion and
// version.
package cli

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
)

// Main runs the command that the arguments name and returns its exit status. If the
// program was called by the name of a hook, it runs that hook; without arguments, it
// runs the step that the action's step input names (HOSTGUARD_STEP).
func Main(w World, all []Command) int {
	if w.Getenv(secretsOnStdin) != "" {
		w.Getenv = withSecrets(w.Stdin, w.Getenv)
	}
	s := NewSession(w, All(all))
	all, args := s.Commands, w.Args
	program := filepath.Base(w.Program)
	if slices.ContainsFunc(all, func(cmd Command) bool { return cmd.Hook && cmd.Name == program }) {
		args = append([]string{program}, args...)
	}
	if len(args) == 0 {
		step := w.Getenv("HOSTGUARD_STEP")
		if step == "" && w.Getenv(actionVariable) == "" {
			s.help(helpMain(all))
			return StatusUsage
		}
		all = slices.DeleteFunc(slices.Clone(all), func(cmd Command) bool { return !cmd.Step })
		args = []string{step}
		if !slices.ContainsFunc(all, func(cmd Command) bool { return cmd.Name == step }) {
			s.Error("unknown step %q; set step to one of %s", step, strings.Join(names(all, step), ", "))
			return StatusUsage
		}
	}
	name, rest := nameOf(args)
	switch {
	case name == "help" || isHelpFlag(name):
		return help(s.Console, all, rest)
	case name == "-v" || name == "-version" || name == "--version":
		name = versionCommand.Name
	case isGroup(name) && len(rest) == 0:
		s.help(helpGroup(name, all))
		return StatusUsage
	case isGroup(name) && isHelpFlag(rest[0]):
		s.help(helpGroup(name, all))
		return StatusOK
	}
	i := slices.IndexFunc(all, func(cmd Command) bool { return cmd.Name == name })
	if i < 0 {
		s.Error("unknown command %.100q; %s", name, suggestion(name, names(all, name)))
		return StatusUsage
	}
	if all[i].wantsHelp(rest) {
		s.help(all[i].help())
		return StatusOK
	}
	s.Name = name
	err := s.run(all[i], rest)
	if e, ok := errors.AsType[*Error](err); err != nil && (!ok || e.Err != ErrReported) {
		s.Error("%s: %s", name, OneLine(err))
	}
	return StatusOf(err)
}

// All returns the commands with those of this package behind them.
func All(commands []Command) []Command {
	return append(slices.Clone(commands), completionCommand, versionCommand)
}

// run runs a command with its arguments, until it ends or is interrupted.
func (s *Session) run(cmd Command, args []string) error {
	if cmd.Wraps {
		s.useStderr(s.Getenv)
	}
	action := cmd.New()
	rest, err := s.Read(action.Inputs(), args)
	if err != nil {
		return err
	}
	if cmd.Argument != nil {
		if len(rest) != 1 || !slices.Contains(cmd.Argument, rest[0]) {
			return Usagef("give one of %s; see \"hostguard help %s\"", strings.Join(cmd.Argument, ", "), s.Name)
		}
		s.Argument, rest = rest[0], nil
	}
	if len(rest) > 0 && !cmd.Wraps {
		name, _, _ := strings.Cut(rest[0], "=")
		if near := nearest(name, inputNames(action.Inputs())); near != "" {
			return Usagef("unexpected argument %.100q; did you mean -%s?", rest[0], near)
		}
		return Usagef("unexpected argument %.100q; inputs are flags, see \"hostguard help %s\"", rest[0], s.Name)
	}
	s.Wrapped = rest
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	if !cmd.Wraps {
		stop := s.CancelOnSignal(cancel)
		defer stop()
	}
	return CheckInterrupted(ctx, action.Run(ctx, s))
}

// help prints the help of the command that the arguments name.
func help(c *Console, all []Command, args []string) int {
	if len(args) == 0 {
		c.help(helpMain(all))
		return StatusOK
	}
	name, _ := nameOf(args)
	if isGroup(name) {
		c.help(helpGroup(name, all))
		return StatusOK
	}
	i := slices.IndexFunc(all, func(cmd Command) bool { return cmd.Name == name })
	if i < 0 {
		c.Error("no help for %.100q; %s", name, suggestion(name, names(all, name)))
		return StatusUsage
	}
	c.help(all[i].help())
	return StatusOK
}

// groups are the first words of the commands that have two.
var groups = []described{{"runner", "the runner of this host"}, {"backend", "what locks of several hosts need"}}

func isGroup(word string) bool {
	return slices.ContainsFunc(groups, func(g described) bool { return g.word == word })
}

// groupOf returns the first word of a command that has two, else "".
func groupOf(command string) string {
	if first, _, two := strings.Cut(command, " "); two && isGroup(first) {
		return first
	}
	return ""
}

// nameOf returns the command's name, which is one word or a group's and a second
// word, and the arguments after it.
func nameOf(args []string) (name string, rest []string) {
	if isGroup(args[0]) && len(args) > 1 && !strings.HasPrefix(args[1], "-") {
		return strings.Join(args[:2], " "), args[2:]
	}
	return args[0], args[1:]
}

func isHelpFlag(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

// names returns the names of the commands that an unknown one may mean: those of the
// group, if it begins as they do.
func names(all []Command, unknown string) []string {
	var list []string
	group := groupOf(unknown)
	for _, cmd := range all {
		if !cmd.Hook && (group == "" || groupOf(cmd.Name) == group) {
			list = append(list, cmd.Name)
		}
	}
	return list
}
