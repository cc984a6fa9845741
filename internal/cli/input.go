package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Input describes one named value of a command, in a row of its table. Flags, help
// and completion are generated from these rows, and a test compares the actions and
// the README with them.
//
// The first of these that is set and not empty takes precedence:
//
//  1. the flag;
//  2. the workflow's input, which the action passes as HOSTGUARD_INPUT_<NAME>;
//  3. HOSTGUARD_<NAME> in the environment, which the runner's envs or its unit can
//     set for all jobs of a host;
//  4. the default.
//
// An input that a workflow leaves out is empty, so it never hides the host's value.
type Input struct {
	Name     string
	Kind            // which values it accepts, and where they are stored
	Default  string // if "", Text describes what the command does without a value
	Arg      string // the value's name in help, if not its kind's
	Text     string // for help, which adds the default
	FlagOnly bool   // not read from a workflow's input or the environment
}

// Kind is the type of an input's values.
type Kind struct {
	arg     string // the value's name in help
	boolean bool   // the flag without a value means true
	values  []string
	set     func(string) error
}

// Value returns the kind of values that set parses and stores.
func Value(arg string, set func(string) error) Kind { return Kind{arg: arg, set: set} }

// Text returns the kind of texts that check accepts; a nil check accepts any.
func Text(v *string, check func(string) error) Kind {
	return Value("TEXT", func(s string) error {
		if check != nil {
			if err := check(s); err != nil {
				return err
			}
		}
		*v = s
		return nil
	})
}

// Choice returns the kind of values that are one of several words.
func Choice(v *string, of ...string) Kind {
	kind := Text(v, func(s string) error {
		if !slices.Contains(of, s) {
			last := len(of) - 1
			return fmt.Errorf("must be %s or %s", strings.Join(of[:last], ", "), of[last])
		}
		return nil
	})
	kind.arg, kind.values = strings.Join(of, "|"), of
	return kind
}

// Duration returns the kind of durations from least to most.
func Duration(v *time.Duration, least, most time.Duration) Kind {
	return Value("TIME", func(s string) error {
		d, err := parseDuration(s)
		if err != nil {
			return err
		}
		if d < least || d > most {
			return errors.New(zeroUnits.Replace(fmt.Sprintf("must be from %v to %v", least, most)))
		}
		*v = d
		return nil
	})
}

// zeroUnits shortens durations: 24h for 24h0m0s.
var zeroUnits = strings.NewReplacer("h0m0s", "h", "m0s", "m")

// parseDuration parses numbers with units, such as 90s, 30m, 1h30m or 1d12h. A day has 24
// hours, and comes first.
func parseDuration(s string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, errors.New("a duration needs a unit, such as 90s, 30m, 2h or 1d")
	}
	var whole uint64
	var rest time.Duration
	var err error
	days, after, found := strings.Cut(s, "d")
	if found {
		whole, err = strconv.ParseUint(days, 10, 16)
	} else {
		after = s
	}
	if err == nil && (after != "" || !found) {
		rest, err = time.ParseDuration(after)
	}
	d := time.Duration(whole)*24*time.Hour + rest
	if err != nil || rest < 0 || d < 0 || found && strings.HasPrefix(after, "+") {
		return 0, errors.New("must be a duration such as 90s, 30m, 2h or 1d")
	}
	return d, nil
}

// Count returns the kind of whole numbers from least to most.
func Count(v *int, least, most int) Kind {
	return Value("N", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return fmt.Errorf("must be a whole number from %d to %d", least, most)
		}
		*v = n
		return nil
	})
}

// Bool returns the kind of values that are true or false; the flag alone means true.
func Bool(v *bool) Kind {
	return Kind{boolean: true, set: func(s string) error {
		if s != "true" && s != "false" {
			return errors.New("must be true or false")
		}
		*v = s == "true"
		return nil
	}}
}

// List returns the kind of lists whose items are separated by commas or newlines.
func List(v *[]string, check func(string) error) Kind {
	return Value("LIST", func(s string) error {
		*v = nil
		for _, item := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			if err := check(item); err != nil {
				return err
			}
			*v = append(*v, item)
		}
		return nil
	})
}

// Distinct returns the kind of lists of 1 to most items, none of them twice.
func Distinct(v *[]string, most int, check func(string) error) Kind {
	var items []string
	list := List(&items, check)
	set := list.set
	list.set = func(s string) error {
		if err := set(s); err != nil {
			return err
		}
		if len(items) == 0 || len(items) > most {
			return fmt.Errorf("must have 1 to %d items, not %d", most, len(items))
		}
		for i, item := range items {
			if slices.Contains(items[:i], item) {
				return fmt.Errorf("must not have %.100q twice", item)
			}
		}
		*v = items
		return nil
	}
	return list
}

// The names of the flags that say how a command prints.
const (
	jsonFlag  = "json"
	quietFlag = "quiet"
)

// JSONInput returns the flag by which a command prints its result as JSON.
func JSONInput(v *bool) Input {
	return Input{Name: jsonFlag, Kind: Bool(v), FlagOnly: true,
		Text: `one line of JSON, alone on stdout; its "version" changes with its format`}
}

// QuietInput returns the flag by which a command prints only warnings and errors.
func QuietInput() Input {
	return Input{Name: quietFlag, Kind: Bool(new(bool)), FlagOnly: true,
		Text: "print only warnings and errors, nothing while it waits or when it succeeds"}
}

// BelowRoot fails unless dir is an absolute path other than the root.
func BelowRoot(dir string) error {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
		return fmt.Errorf("%q must be an absolute path other than /", dir)
	}
	return nil
}
