package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	fromFlag  = "flag"
	fromInput = "workflow's input"
)

var errEmpty = errors.New("the value is empty; leave the flag out to get its default")

// Read sets the inputs of a command from its flags, its variables and their
// defaults, and returns the other arguments.
func (s *Session) Read(inputs []Input, args []string) (rest []string, err error) {
	flags := flag.NewFlagSet(s.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error is printed in one line
	byName, byFlag := map[string]Input{}, map[string]string{}
	for _, in := range inputs {
		byName[in.Name] = in
		if in.Default != "" {
			if err := in.set(in.Default); err != nil {
				return nil, fmt.Errorf("default of %s: %w", in.Name, err)
			}
		}
		set := func(value string) error {
			if value == "" && !in.boolean {
				return errEmpty
			}
			byFlag[in.Name] = value
			return in.set(value)
		}
		if in.boolean {
			flags.BoolFunc(in.Name, "", set)
		} else {
			flags.Func(in.Name, "", set)
		}
	}
	if err := flags.Parse(args); err != nil {
		return nil, Usagef("%w; see \"hostguard help %s\"", err, s.Name)
	}
	s.given = nil
	flags.VisitAll(func(f *flag.Flag) {
		in := byName[f.Name]
		value, from, variable := s.outside(in.Name)
		if text, found := byFlag[in.Name]; found {
			value, from = text, fromFlag
		}
		switch {
		case value == "" || from == fromFlag && in.boolean: // which names itself
			return
		case from != fromFlag && in.FlagOnly:
			return
		case from != fromFlag:
			if failed := in.set(value); failed != nil && err == nil {
				err = Usagef("invalid value %q for input %s (%s): %w", value, in.Name, variable, failed)
			}
		}
		s.given = append(s.given, given{in.Name, value, from})
	})
	return flags.Args(), err
}

// outside returns the value that the workflow's input or else the environment
// gives. Without the action around it, a variable of an input is another's.
func (s *Session) outside(name string) (value, from, variable string) {
	if s.Getenv(actionVariable) != "" {
		variable = inputPrefix + variableName(name)
		if value = s.Getenv(variable); value != "" {
			return value, fromInput, variable
		}
	}
	variable = hostPrefix + variableName(name)
	return s.Getenv(variable), variable + " of the environment", variable
}

const (
	actionVariable = "HOSTGUARD_ACTION" // is set by the action
	hostPrefix     = "HOSTGUARD_"
	inputPrefix    = "HOSTGUARD_INPUT_"
)

func variableName(input string) string {
	return strings.ToUpper(strings.ReplaceAll(input, "-", "_"))
}

// JobStatus returns how the job goes, which the action hands over like an input.
func (s *Session) JobStatus() string {
	status, _, _ := s.outside("job-status")
	return status
}

// SayInputs prints the inputs that are not defaults, and where they come from.
func (s *Session) SayInputs() {
	if len(s.given) > 0 {
		s.Say("inputs: %s", s.sources())
	}
}

func (s *Session) sources() string {
	var list []string
	for _, g := range s.given {
		list = append(list, fmt.Sprintf("%s %.200q (%s)", g.name, g.value, g.from))
	}
	return strings.Join(list, ", ")
}

// NoticeOverruled prints a notice, which ends in consequence, if an input has got
// another value than the host's environment gives it.
func (s *Session) NoticeOverruled(name, consequence string) {
	if g, host, found := s.overruled(name); found {
		s.Notice("%s is %.200q (%s), but this host names %.200q (%s): %s",
			name, g.value, g.from, host, hostPrefix+variableName(name), consequence)
	}
}

func (s *Session) overruled(name string) (g given, host string, found bool) {
	host = s.Getenv(hostPrefix + variableName(name))
	i := slices.IndexFunc(s.given, func(g given) bool { return g.name == name })
	if host == "" || i < 0 || s.given[i].value == host {
		return given{}, "", false
	}
	return s.given[i], host, true
}
