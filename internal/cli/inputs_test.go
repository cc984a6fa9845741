package cli

import (
	"strings"
	"testing"
)

func FuzzDurationNeedsAUnitAndIsNotNegative(f *testing.F) {
	for _, s := range []string{"5", "-1s", "1y", "30m", "1h30m", "0", "1e3", "", "9999999h", ".5s", "+1s", "0x1p-2", "NaN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDuration(s)
		if err == nil && (d < 0 || !strings.ContainsAny(s, "hmsuµμn")) {
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
			map[string]string{"HOSTGUARD_ACTION": "true", "HOSTGUARD_INPUT_LOCK_NAME": "", "HOSTGUARD_LOCK_NAME": "host"},
			"host", `lock-name "host" (HOSTGUARD_LOCK_NAME of the environment)`},
		{"the input before the host's", nil,
			map[string]string{"HOSTGUARD_ACTION": "true", "HOSTGUARD_INPUT_LOCK_NAME": "input", "HOSTGUARD_LOCK_NAME": "host"},
			"input", `lock-name "input" (workflow's input)`},
		{"an input alone", nil, map[string]string{"HOSTGUARD_ACTION": "true", "HOSTGUARD_INPUT_LOCK_NAME": "input"},
			"input", `lock-name "input" (workflow's input)`},
		{"the flag before all", []string{"-lock-name", "flag"},
			map[string]string{"HOSTGUARD_ACTION": "true", "HOSTGUARD_INPUT_LOCK_NAME": "input", "HOSTGUARD_LOCK_NAME": "host"},
			"flag", `lock-name "flag" (flag)`},
		{"an input of another action around", nil,
			map[string]string{"HOSTGUARD_INPUT_LOCK_NAME": "stale", "HOSTGUARD_LOCK_NAME": "host"},
			"host", `lock-name "host" (HOSTGUARD_LOCK_NAME of the environment)`},
		{"an empty host's", nil, map[string]string{"HOSTGUARD_LOCK_NAME": ""}, "default", ""},
	} {
		in := NewInputs("acquire-lock", test.args, func(name string) string { return test.env[name] })
		name := in.Text("lock-name", "default", nil)
		if err := in.Parse(); err != nil || *name != test.want || in.sources() != test.source {
			t.Errorf("%s: %q, from %q, %v; want %q, from %q", test.name, *name, in.sources(), err, test.want, test.source)
		}
	}
}

func TestAnInputThatIsOverruledIsNotRead(t *testing.T) {
	env := map[string]string{
		"HOSTGUARD_ACTION": "true", "HOSTGUARD_INPUT_TIMEOUT": "7s", "HOSTGUARD_TIMEOUT": "no duration",
	}
	getenv := func(name string) string { return env[name] }
	in := NewInputs("acquire-lock", nil, getenv)
	if timeout := in.Duration("timeout", 0, 0, 1<<40); in.Parse() != nil || timeout.String() != "7s" {
		t.Errorf("timeout %v", timeout)
	}
	env = map[string]string{"HOSTGUARD_TIMEOUT": "5"}
	in = NewInputs("acquire-lock", nil, getenv)
	in.Duration("timeout", 0, 0, 1<<40)
	err := in.Parse()
	if err == nil || !strings.Contains(err.Error(), `invalid value "5" for input timeout (HOSTGUARD_TIMEOUT)`) {
		t.Errorf("parse() = %v", err)
	}
}

func TestABooleanFlagNamesItselfAndAVariableIsNamed(t *testing.T) {
	in := NewInputs("clean-diag", []string{"-dry-run"}, func(string) string { return "" })
	in.Boolean("dry-run")
	if in.Parse() != nil || in.sources() != "" {
		t.Errorf("by flag: %q", in.sources())
	}
	in = NewInputs("clean-diag", nil, func(name string) string {
		return map[string]string{"HOSTGUARD_DRY_RUN": "true"}[name]
	})
	dry := in.Boolean("dry-run")
	if in.Parse() != nil || !*dry ||
		in.sources() != `dry-run "true" (HOSTGUARD_DRY_RUN of the environment)` {
		t.Errorf("by variable: %v, %q", *dry, in.sources())
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
		in := NewInputs("acquire-lock", test.args, func(name string) string {
			return map[string]string{"HOSTGUARD_LOCK_NAME": test.host}[name]
		})
		in.Text("lock-name", "default", nil)
		if err := in.Parse(); err != nil {
			t.Fatal(err)
		}
		g, host, found := in.Overruled("lock-name")
		if found != test.found || found && (g.Value != "other" || host != "host") {
			t.Errorf("%q on a host that names %q: %+v, %q, %v", test.args, test.host, g, host, found)
		}
	}
}
