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

// Read sets the inputs of a command from flags, variables and defaults, and returns
// the remaining arguments.
func (s *Session) Read(inputs []Input, args []string) (rest []string, err error) {
	flags := flag.NewFlagSet(s.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error, in one line
	byName, byFlag := map[string]Input{}, map[string]string{}
	for _, in := range inputs {
		byName[in.Name] = in
		if in.Default != "" {
			if err := in.set(in.Default); err != nil {
				return nil, fmt.Errorf("default of %s: %w", in.Name, err)
			}
		}
		set := func(value string) error {
			switch {
			case value != "" || in.boolean:
			case in.Default == "":
				return errors.New("must not be empty")
			default:
				return errors.New("must not be empty; omit the flag to use its default")
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
	err = flags.Parse(args)
	s.quiet = byFlag[quietFlag] == "true"
	if byFlag[jsonFlag] == "true" {
		s.useStderr(s.Getenv)
	}
	if err != nil {
		text := err.Error()
		if unknown, found := strings.CutPrefix(text, "flag provided but not defined: -"); found {
			text = fmt.Sprintf("unknown flag -%.100s", unknown)
			if near := nearest(unknown, inputNames(inputs)); near != "" {
				return nil, Usagef("%s; did you mean -%s?", text, near)
			}
		}
		return nil, Usagef("%s; see \"hostguard help %s\"", text, s.Name)
	}
	s.given, s.inputs = nil, inputs
	flags.VisitAll(func(f *flag.Flag) {
		in := byName[f.Name]
		value, from, variable := s.lookup(in.Name)
		if text, found := byFlag[in.Name]; found {
			value, from = text, fromFlag
		}
		switch {
		case value == "" || from == fromFlag && in.boolean: // a boolean's value would only repeat its name
			return
		case from != fromFlag && in.FlagOnly:
			return
		case from != fromFlag:
			if invalid := in.set(value); invalid != nil && err == nil {
				err = Usagef("invalid value %q for input %s (%s): %w", value, in.Name, variable, invalid)
			}
		}
		s.given = append(s.given, given{in.Name, value, from})
	})
	return flags.Args(), err
}

func inputNames(inputs []Input) []string {
	list := make([]string, 0, len(inputs))
	for _, in := range inputs {
		list = append(list, in.Name)
	}
	return list
}

// lookup returns the value of the workflow's input, or else that of the environment.
// Outside the action, HOSTGUARD_INPUT_<NAME> belongs to another program and is ignored.
func (s *Session) lookup(name string) (value, from, variable string) {
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
	actionVariable = "HOSTGUARD_ACTION" // set by the action
	hostPrefix     = "HOSTGUARD_"
	inputPrefix    = "HOSTGUARD_INPUT_"
)

func variableName(input string) string {
	return strings.ToUpper(strings.ReplaceAll(input, "-", "_"))
}

// JobStatus returns the status of the job, which the action passes like an input.
func (s *Session) JobStatus() string {
	status, _, _ := s.lookup("job-status")
	return status
}

// Takes reports whether the command has an input of that name: advice names only what helps.
func (s *Session) Takes(name string) bool { return slices.Contains(inputNames(s.inputs), name) }

// ByFlag reports whether an input's value is a flag's.
func (s *Session) ByFlag(name string) bool {
	return slices.ContainsFunc(s.given, func(g given) bool { return g.name == name && g.from == fromFlag })
}

// PrintInputs prints the inputs that are not defaults, and their sources.
func (s *Session) PrintInputs() {
	if len(s.given) > 0 {
		s.Print("inputs: %s", s.sources())
	}
}

func (s *Session) sources() string {
	var list []string
	for _, g := range s.given {
		list = append(list, fmt.Sprintf("%s %.200q (%s)", g.name, g.value, g.from))
	}
	return strings.Join(list, ", ")
}

// NoticeOverridden prints a notice that ends with consequence if an input differs from
// the value in the host's environment.
func (s *Session) NoticeOverridden(name, consequence string) {
	if g, host, found := s.overridden(name); found {
		s.Notice("%s is %.200q (%s), but this host sets %.200q (%s): %s",
			name, g.value, g.from, host, hostPrefix+variableName(name), consequence)
	}
}

func (s *Session) overridden(name string) (g given, host string, found bool) {
	host = s.Getenv(hostPrefix + variableName(name))
	i := slices.IndexFunc(s.given, func(g given) bool { return g.name == name })
	if host == "" || i < 0 || s.given[i].value == host {
		return given{}, "", false
	}
	return s.given[i], host, true
}
