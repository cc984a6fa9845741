package steps

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// inputs are the named values of one command. Each is a flag, or else the
// environment variable HOSTGUARD_<NAME> (that is how action.yml hands inputs
// over: an empty variable is an input that was not given), or else its default.
type inputs struct {
	flags  *flag.FlagSet
	args   []string
	getenv func(string) string
	local  []string // flags without a variable
}

func newInputs(command string, args []string, getenv func(string) string) *inputs {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // parse says it in one line
	fs.Usage = func() {}
	return &inputs{flags: fs, args: args, getenv: getenv}
}

// parse reads flags, then variables. Arguments that are no flags are wrong use;
// with-lock, which has some, uses parseCommand.
func (in *inputs) parse() error {
	rest, err := in.parseCommand()
	if err == nil && len(rest) > 0 {
		err = usagef("unexpected argument %q; inputs are flags, see \"hostguard help %s\"", rest[0], in.flags.Name())
	}
	return err
}

// parseCommand reads flags, then variables, and returns the other arguments.
func (in *inputs) parseCommand() ([]string, error) {
	if err := in.flags.Parse(in.args); err != nil {
		return nil, usagef("%w; see \"hostguard help %s\"", err, in.flags.Name())
	}
	given := map[string]bool{}
	in.flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	in.flags.VisitAll(func(f *flag.Flag) {
		variable := "HOSTGUARD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := in.getenv(variable)
		if given[f.Name] || value == "" || slices.Contains(in.local, f.Name) {
			return
		}
		if err := f.Value.Set(value); err != nil {
			errs = append(errs, usagef("invalid value %q for input %s (%s): %w", value, f.Name, variable, err))
		}
	})
	return in.flags.Args(), errors.Join(errs[:min(1, len(errs))]...)
}

// flagOnly takes the names out of the environment's reach.
func (in *inputs) flagOnly(names ...string) { in.local = append(in.local, names...) }

var errEmpty = errors.New("the value is empty; leave the flag out to get its default")

// value declares an input that set reads; an empty flag value is wrong use.
func (in *inputs) value(name string, set func(string) error) {
	in.flags.Func(name, "", func(s string) error {
		if s == "" {
			return errEmpty
		}
		return set(s)
	})
}

func (in *inputs) text(name, def string, check func(string) error) *string {
	v := def
	in.value(name, func(s string) error {
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

func (in *inputs) choice(name, def string, of ...string) *string {
	return in.text(name, def, func(s string) error {
		if !slices.Contains(of, s) {
			return fmt.Errorf("want %s", strings.Join(of, " or "))
		}
		return nil
	})
}

// duration declares a length of time from least up to most.
func (in *inputs) duration(name string, def, least, most time.Duration) *time.Duration {
	v := def
	in.value(name, func(s string) error {
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

func (in *inputs) count(name string, def, least, most int) *int {
	v := def
	in.value(name, func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return fmt.Errorf("want a whole number from %d to %d", least, most)
		}
		v = n
		return nil
	})
	return &v
}

func (in *inputs) boolean(name string) *bool {
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

// list declares an input of several values, separated by commas or line ends.
func (in *inputs) list(name string, def []string, check func(string) error) *[]string {
	v := def
	in.value(name, func(s string) error {
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
