package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// inputs are the named values of one command. The first of these that is there
// and not empty counts:
//
//  1. the flag;
//  2. the workflow's input, which the action hands over as HOSTGUARD_INPUT_<NAME>;
//  3. HOSTGUARD_<NAME> of the environment, such as the runner's envs or its unit
//     set it for all jobs of a host;
//  4. the default.
//
// An input that a workflow leaves out is empty, and so never hides the host's.
type inputs struct {
	flags  *flag.FlagSet
	args   []string
	getenv func(string) string
	local  []string          // flags without a variable
	raw    map[string]string // the last value of each flag
	given  []given           // by parse, in the order of their names
}

// given is the value that an input has got, and from where.
type given struct{ name, Value, From string }

const (
	fromFlag  = "flag"
	fromInput = "workflow's input"
)

func NewInputs(command string, args []string, getenv func(string) string) *inputs {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // parse says it in one line
	fs.Usage = func() {}
	return &inputs{flags: fs, args: args, getenv: getenv, raw: map[string]string{}}
}

// Parse reads flags, then variables. Arguments that are no flags are wrong use;
// with-lock, which has some, uses parseCommand.
func (in *inputs) Parse() error {
	rest, err := in.ParseCommand()
	if err == nil && len(rest) > 0 {
		err = Usagef("unexpected argument %q; inputs are flags, see \"hostguard help %s\"", rest[0], in.flags.Name())
	}
	return err
}

// ParseCommand reads flags, then variables, and returns the other arguments.
func (in *inputs) ParseCommand() ([]string, error) {
	if err := in.flags.Parse(in.args); err != nil {
		return nil, Usagef("%w; see \"hostguard help %s\"", err, in.flags.Name())
	}
	byFlag := map[string]bool{}
	in.flags.Visit(func(f *flag.Flag) { byFlag[f.Name] = true })
	var errs []error
	in.flags.VisitAll(func(f *flag.Flag) {
		if byFlag[f.Name] {
			in.given = append(in.given, given{f.Name, in.raw[f.Name], fromFlag})
			return
		}
		if slices.Contains(in.local, f.Name) {
			return
		}
		value, from, variable := in.Outside(f.Name)
		if value == "" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			errs = append(errs, Usagef("invalid value %q for input %s (%s): %w", value, f.Name, variable, err))
		}
		in.given = append(in.given, given{f.Name, value, from})
	})
	return in.flags.Args(), errors.Join(errs[:min(1, len(errs))]...)
}

// Outside returns the value that the workflow's input or else the environment
// gives. Without the action around it, a variable of an input is another's.
func (in *inputs) Outside(name string) (value, from, variable string) {
	if in.getenv(actionVariable) != "" {
		variable = inputPrefix + VariableName(name)
		if value = in.getenv(variable); value != "" {
			return value, fromInput, variable
		}
	}
	variable = HostPrefix + VariableName(name)
	return in.getenv(variable), variable + " of the environment", variable
}

const (
	actionVariable = "HOSTGUARD_ACTION" // is set by the action
	HostPrefix     = "HOSTGUARD_"
	inputPrefix    = "HOSTGUARD_INPUT_"
)

func VariableName(input string) string {
	return strings.ToUpper(strings.ReplaceAll(input, "-", "_"))
}

// sources lists the values that are not defaults and where each comes from. A
// boolean flag names itself.
func (in *inputs) sources() string {
	var list []string
	for _, g := range in.given {
		if g.From != fromFlag || !in.isBoolean(g.name) {
			list = append(list, fmt.Sprintf("%s %.200q (%s)", g.name, g.Value, g.From))
		}
	}
	return strings.Join(list, ", ")
}

func (in *inputs) isBoolean(name string) bool {
	b, ok := in.flags.Lookup(name).Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// Overruled returns what an input has got instead of the host's value, if that
// is another one.
func (in *inputs) Overruled(name string) (g given, host string, found bool) {
	host = in.getenv(HostPrefix + VariableName(name))
	i := slices.IndexFunc(in.given, func(g given) bool { return g.name == name })
	if host == "" || i < 0 || in.given[i].Value == host {
		return given{}, "", false
	}
	return in.given[i], host, true
}

// FlagOnly takes the names out of the environment's reach.
func (in *inputs) FlagOnly(names ...string) { in.local = append(in.local, names...) }

var errEmpty = errors.New("the value is empty; leave the flag out to get its default")

// Value declares an input that set reads; an empty flag value is wrong use.
func (in *inputs) Value(name string, set func(string) error) {
	in.flags.Func(name, "", func(s string) error {
		if s == "" {
			return errEmpty
		}
		in.raw[name] = s
		return set(s)
	})
}

func (in *inputs) Text(name, def string, check func(string) error) *string {
	v := def
	in.Value(name, func(s string) error {
		if check != nil {
			if err := check(s); err != nil {
				return err
			}
		}
		v = s
		return nil
	})
	return &v
}

func (in *inputs) Choice(name, def string, of ...string) *string {
	return in.Text(name, def, func(s string) error {
		if !slices.Contains(of, s) {
			return fmt.Errorf("want %s", strings.Join(of, " or "))
		}
		return nil
	})
}

// Duration declares a length of time from least up to most.
func (in *inputs) Duration(name string, def, least, most time.Duration) *time.Duration {
	v := def
	in.Value(name, func(s string) error {
		d, err := parseDuration(s)
		if err != nil {
			return err
		}
		if d < least || d > most {
			return fmt.Errorf("want a duration from %v to %v", least, most)
		}
		v = d
		return nil
	})
	return &v
}

// parseDuration reads a number and a unit, such as 90s, 30m or 1h30m.
func parseDuration(s string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, errors.New("a duration needs a unit, such as 90s, 30m or 2h")
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("want a duration such as 90s, 30m or 2h")
	}
	return d, nil
}

func (in *inputs) Count(name string, def, least, most int) *int {
	v := def
	in.Value(name, func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return fmt.Errorf("want a whole number from %d to %d", least, most)
		}
		v = n
		return nil
	})
	return &v
}

func (in *inputs) Boolean(name string) *bool {
	v := false
	in.flags.BoolFunc(name, "", func(s string) error {
		switch s {
		case "true":
			v = true
		case "false":
			v = false
		default:
			return errors.New("want true or false")
		}
		return nil
	})
	return &v
}

// List declares an input of several values, separated by commas or line ends.
func (in *inputs) List(name string, def []string, check func(string) error) *[]string {
	v := def
	in.Value(name, func(s string) error {
		v = nil
		for _, item := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			if err := check(item); err != nil {
				return err
			}
			v = append(v, item)
		}
		return nil
	})
	return &v
}

// BelowRoot wants an absolute directory other than the root.
func BelowRoot(dir string) error {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
		return fmt.Errorf("%q is no absolute directory below /", dir)
	}
	return nil
}
