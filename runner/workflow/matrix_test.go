package workflow

import (
	"strings"
	"testing"

	"hostguard/runner/config"

	"github.com/google/go-cmp/cmp"
)

func TestWhetherAJobCanRun(t *testing.T) {
	runners := []Runner{
		{Name: "host", Labels: []string{"awoooi-host", "ubuntu-latest"}, Online: true, Busy: true},
		{Name: "off", Labels: []string{"ewoooc-host"}},
		{Name: "disabled", Labels: []string{"old-host"}, Online: true, Disabled: true},
	}
	for name, c := range map[string]struct {
		repository     string
		labels         []string
		whole          bool
		verdict, class string
	}{
		"shared":     {"wooo/awoooi", []string{"ubuntu-latest"}, true, Satisfiable, ClassShared},
		"dedicated":  {"wooo/awoooi", []string{"awoooi-host"}, true, Satisfiable, ClassDedicated},
		"of another": {"wooo/ewoooc", []string{"awoooi-host"}, true, Satisfiable, ClassForeign},
		"all on one runner": {
			"wooo/awoooi", []string{"awoooi-host", "ubuntu-latest"},
			true, Satisfiable, ClassDedicated,
		},
		"on no one runner": {
			"wooo/awoooi", []string{"awoooi-host", "ewoooc-host"},
			true, Unsatisfiable, ClassForeign,
		},
		"offline":                  {"wooo/ewoooc", []string{"ewoooc-host"}, true, OfflineOnly, ClassDedicated},
		"disabled":                 {"wooo/ewoooc", []string{"old-host"}, true, OfflineOnly, ClassForeign},
		"nobody":                   {"wooo/awoooi", []string{"gpu"}, true, Unsatisfiable, ClassShared},
		"none of the known":        {"wooo/awoooi", []string{"gpu"}, false, NotSeen, ClassShared},
		"of the repository alone":  {"wooo/awoooi", []string{"awoooi"}, true, Unsatisfiable, ClassDedicated},
		"a word of nobody":         {"wooo/awoooi", []string{"blue"}, true, Unsatisfiable, ClassShared},
		"a name with a version":    {"wooo/ewoooc-v2", []string{"ewoooc-host"}, true, OfflineOnly, ClassDedicated},
		"a name that begins alike": {"wooo/ewooocish", []string{"ewoooc-host"}, true, OfflineOnly, ClassForeign},
	} {
		w := Workflow{File: "cd.yaml", Jobs: []Job{{ID: "build", RunsOn: []Demand{{Labels: c.labels}}}}}
		wants := Matrix([]Repository{{Name: c.repository, Workflows: []Workflow{w}}}, Pool{Runners: runners, Whole: c.whole})
		if len(wants) != 1 || wants[0].Verdict != c.verdict || wants[0].Class != c.class {
			t.Errorf("%s: %+v, want %s %s", name, wants, c.verdict, c.class)
		}
	}
}

func TestALabelIsForeignIfAnotherRepositoryIsCalledThat(t *testing.T) {
	w := Workflow{File: "cd.yaml", Jobs: []Job{{ID: "build", RunsOn: []Demand{{Labels: []string{"shop"}}}}}}
	wants := Matrix([]Repository{
		{Name: "wooo/shop", Workflows: []Workflow{w}}, {Name: "wooo/blog", Workflows: []Workflow{w}},
	}, Pool{})
	if wants[0].Class != ClassDedicated || wants[1].Class != ClassForeign {
		t.Errorf("%+v", wants)
	}
}

func TestALabelGoesOnlyWhereAnotherRunnerHasIt(t *testing.T) {
	have := []config.Label{
		config.ParseLabel("a-host:host"), config.ParseLabel("ubuntu-latest:docker://x"),
		config.ParseLabel("a-host:docker://x"),
	}
	if diff := cmp.Diff([]string{"a-host"}, config.Removed(have, []string{"ubuntu-latest:docker://y"})); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]struct {
		runner Runner
		own    string
		text   string
	}{
		"it has":  {Runner{Name: "b", Online: true, Labels: []string{"a-host"}}, "host110", ""},
		"offline": {Runner{Name: "b", Labels: []string{"a-host"}}, "host110", "no other runner"},
		"disabled": {
			Runner{Name: "b", Online: true, Disabled: true, Labels: []string{"a-host"}},
			"host110", "no other runner",
		},
		"other labels":  {Runner{Name: "b", Online: true, Labels: []string{"a-hosts"}}, "host110", "no other runner"},
		"itself":        {Runner{Name: "host110", Online: true, Labels: []string{"a-host"}}, "host110", "no other runner"},
		"who is itself": {Runner{Name: "b", Online: true, Labels: []string{"a-host"}}, "", "has no name"},
	} {
		err := Pool{Runners: []Runner{c.runner}}.CheckReplaced([]string{"a-host"}, c.own)
		if c.text == "" && err != nil || c.text != "" && (err == nil || !strings.Contains(err.Error(), c.text)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range [][]string{{"a b:host"}, {"a\n"}, {":host"}, {"a:vm"}, {"a:host", "a:docker://x"}} {
		if config.CheckLabels(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if err := config.CheckLabels([]string{"a", "b:host", "c:docker://x/y:z"}); err != nil {
		t.Error(err)
	}
}

func TestWhoServesALabelNow(t *testing.T) {
	runners := []Runner{
		{Name: "one", Labels: []string{"a", "b"}, Online: true}, {Name: "two", Labels: []string{"b"}, Online: true},
		{Name: "off", Labels: []string{"c"}}, {Name: "disabled", Labels: []string{"c"}, Online: true, Disabled: true},
	}
	for label, want := range map[string][]string{"a": {"one"}, "b": {"one", "two"}, "c": nil} {
		if diff := cmp.Diff(want, Served(label, runners)); diff != "" {
			t.Error(label, diff)
		}
	}
}
