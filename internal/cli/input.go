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

// Input is one row of a command's table: all there is to know of a named value.
// Flags, help and completion are made from these rows, and a test compares the
// actions and the README with them.
//
// The first of these that is there and not empty counts:
//
//  1. the flag;
//  2. the workflow's input, which the action hands over as HOSTGUARD_INPUT_<NAME>;
//  3. HOSTGUARD_<NAME> of the environment, such as the runner's envs or its unit
//     set it for all jobs of a host;
//  4. the default.
//
// An input that a workflow leaves out is empty, and so never hides the host's.
type Input struct {
	Name     string
	Kind            // what values it takes, and where they go
	Default  string // "": what the command does without it, which Text describes
	Arg      string // what help calls the value, if not as its kind does
	Text     string // in help; the default is added
	FlagOnly bool   // not from a workflow or the environment
}

// Kind is what values an input takes.
type Kind struct {
	arg     string // what help calls the value
	boolean bool   // the flag alone means true
	set     func(string) error
}

// Value passes each value that is given on to set.
func Value(arg string, set func(string) error) Kind { return Kind{arg: arg, set: set} }

// Text is any text that check, if there is one, accepts.
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

// Choice is one of several words.
func Choice(v *string, of ...string) Kind {
	kind := Text(v, func(s string) error {
		if !slices.Contains(of, s) {
			return fmt.Errorf("want %s", strings.Join(of, " or "))
		}
		return nil
	})
	kind.arg = strings.Join(of, "|")
	return kind
}

// Duration is a length of time from least up to most.
func Duration(v *time.Duration, least, most time.Duration) Kind {
	return Value("TIME", func(s string) error {
		d, err := parseDuration(s)
		if err != nil {
			return err
		}
		if d < least || d > most {
			return fmt.Errorf("want a duration from %v to %v", least, most)
		}
		*v = d
		return nil
	})
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

// Count is a whole number from least up to most.
func Count(v *int, least, most int) Kind {
	return Value("N", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return fmt.Errorf("want a whole number from %d to %d", least, most)
		}
		*v = n
		return nil
	})
}

// Bool is true or false; the flag alone means true.
func Bool(v *bool) Kind {
	return Kind{boolean: true, set: func(s string) error {
		if s != "true" && s != "false" {
			return errors.New("want true or false")
		}
		*v = s == "true"
		return nil
	}}
}

// List is several values, separated by commas or line ends.
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

// BelowRoot accepts an absolute path other than the root.
func BelowRoot(dir string) error {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
		return fmt.Errorf("%q is no absolute directory below /", dir)
	}
	return nil
}
