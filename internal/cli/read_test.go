package cli

import (
	"strings"
	"testing"
	"time"
)

func TestADurationMayHaveDays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "0d": 0, "2d1ms": 48*time.Hour + time.Millisecond, "0s": 0,
	} {
		if got, err := parseDuration(text); got != want || err != nil {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"d", "1.5d", "-1d", "+1d", "1d-1h", "1d+1h", "1d1d", "1h1d", "1d1", "70000d",
		"65535d2000000h", " 1d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func FuzzDurationNeedsAUnitAndIsNotNegative(f *testing.F) {
	for _, s := range []string{"5", "-1s", "1y", "30m", "1h30m", "0", "1e3", "", "9999999h", ".5s", "+1s", "0x1p-2",
		"NaN", "1d", "1d12h", "d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDuration(s)
		if err == nil && (d < 0 || !strings.ContainsAny(s, "dhmsuµμn")) {
			t.Errorf("parseDuration(%q) = %v", s, d)
		}
		again, err2 := parseDuration(d.String())
		if err == nil && (err2 != nil || again != d) {
			t.Errorf("parseDuration(%q) = %v, which reads as %v, %v", s, d, again, err2)
		}
		if err != nil && d != 0 {
			t.Errorf("parseDuration(%q) = %v and %v", s, d, err)
		}
	})
}

// TestAnInputIsTheFirstThatIsGiven covers every mix of a flag, the workflow's
// input and the host's variable: none, empty, or with a value.
func TestAnInputIsTheFirstThatIsGiven(t *testing.T) {
	for _, test := range []struct {
		name   string
		args   []string
		env    map[string]string
		want   string
		source string
	}{
		{"nothing", nil, nil, "default", ""},
		{"the host's", nil, map[string]string{"HOSTGUARD_LOCK_NAME": "host"},
			"host", `lock-name "host" (HOSTGUARD_LOCK_NAME of the environment)`},
		{"an empty input does not hide the host's", nil,
			map[string]string{"HOSTGUARD_ACTION": "true", "HOSTGUARD_INPUT_LOCK_NAME": "",
				"HOSTGUARD_LOCK_NAME": "host"},
			"host", `lock-name "host" (HOSTGUARD_LOCK_NAME of the environment)`},
		{"the input before the host's", nil,
			map[string]string{"HOSTGUARD_ACTION": "true", "HOSTGUARD_INPUT_LOCK_NAME": "input",
				"HOSTGUARD_LOCK_NAME": "host"},
			"input", `lock-name "input" (workflow's input)`},
		{"an input alone", nil, map[string]string{"HOSTGUARD_ACTION": "true", "HOSTGUARD_INPUT_LOCK_NAME": "input"},
			"input", `lock-name "input" (workflow's input)`},
		{"the flag before all", []string{"-lock-name", "flag"},
			map[string]string{"HOSTGUARD_ACTION": "true", "HOSTGUARD_INPUT_LOCK_NAME": "input",
				"HOSTGUARD_LOCK_NAME": "host"},
			"flag", `lock-name "flag" (flag)`},
		{"an input of another action around", nil,
			map[string]string{"HOSTGUARD_INPUT_LOCK_NAME": "stale", "HOSTGUARD_LOCK_NAME": "host"},
			"host", `lock-name "host" (HOSTGUARD_LOCK_NAME of the environment)`},
		{"an empty host's", nil, map[string]string{"HOSTGUARD_LOCK_NAME": ""}, "default", ""},
	} {
		var name string
		s, err := read(test.args, test.env, Input{Name: "lock-name", Kind: Text(&name, nil), Default: "default"})
		if err != nil || name != test.want || s.sources() != test.source {
			t.Errorf("%s: %q, from %q, %v; want %q, from %q", test.name, name, s.sources(), err, test.want, test.source)
		}
	}
}

// read reads inputs from flags and an environment.
func read(args []string, env map[string]string, inputs ...Input) (*Session, error) {
	s := NewSession(World{Getenv: func(name string) string { return env[name] }}, nil)
	s.Name = "acquire-lock"
	_, err := s.Read(inputs, args)
	return s, err
}

func TestAnInputThatIsOverruledIsNotRead(t *testing.T) {
	env := map[string]string{
		"HOSTGUARD_ACTION": "true", "HOSTGUARD_INPUT_TIMEOUT": "7s", "HOSTGUARD_TIMEOUT": "no duration",
	}
	var timeout time.Duration
	row := Input{Name: "timeout", Kind: Duration(&timeout, 0, 1<<40)}
	if _, err := read(nil, env, row); err != nil || timeout.String() != "7s" {
		t.Errorf("timeout %v, %v", timeout, err)
	}
	_, err := read(nil, map[string]string{"HOSTGUARD_TIMEOUT": "5"}, row)
	if err == nil || !strings.Contains(err.Error(), `invalid value "5" for input timeout (HOSTGUARD_TIMEOUT)`) {
		t.Errorf("Read() = %v", err)
	}
}

func TestABooleanFlagNamesItselfAndAVariableIsNamed(t *testing.T) {
	var dry bool
	row := Input{Name: "dry-run", Kind: Bool(&dry)}
	if s, err := read([]string{"-dry-run"}, nil, row); err != nil || s.sources() != "" {
		t.Errorf("by flag: %q, %v", s.sources(), err)
	}
	dry = false
	s, err := read(nil, map[string]string{"HOSTGUARD_DRY_RUN": "true"}, row)
	if err != nil || !dry || s.sources() != `dry-run "true" (HOSTGUARD_DRY_RUN of the environment)` {
		t.Errorf("by variable: %v, %q, %v", dry, s.sources(), err)
	}
}

func TestOnlyAnotherValueThanTheHostsIsOverruled(t *testing.T) {
	for _, test := range []struct {
		args  []string
		host  string
		found bool
	}{
		{nil, "", false}, {nil, "host", false},
		{[]string{"-lock-name", "host"}, "host", false},
		{[]string{"-lock-name", "other"}, "", false},
		{[]string{"-lock-name", "other"}, "host", true},
	} {
		var name string
		s, err := read(test.args, map[string]string{"HOSTGUARD_LOCK_NAME": test.host},
			Input{Name: "lock-name", Kind: Text(&name, nil)})
		if err != nil {
			t.Fatal(err)
		}
		g, host, found := s.overridden("lock-name")
		if found != test.found || found && (g.value != "other" || host != "host") {
			t.Errorf("%q on a host that names %q: %+v, %q, %v", test.args, test.host, g, host, found)
		}
	}
}
