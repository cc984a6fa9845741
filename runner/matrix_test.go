package runner

import "testing"

func TestWhetherAJobCanRun(t *testing.T) {
	runners := []Live{
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
		"shared":                   {"wooo/awoooi", []string{"ubuntu-latest"}, true, Satisfiable, ClassShared},
		"dedicated":                {"wooo/awoooi", []string{"awoooi-host"}, true, Satisfiable, ClassDedicated},
		"of another":               {"wooo/ewoooc", []string{"awoooi-host"}, true, Satisfiable, ClassForeign},
		"all on one runner":        {"wooo/awoooi", []string{"awoooi-host", "ubuntu-latest"}, true, Satisfiable, ClassDedicated},
		"on no one runner":         {"wooo/awoooi", []string{"awoooi-host", "ewoooc-host"}, true, Unsatisfiable, ClassForeign},
		"offline":                  {"wooo/ewoooc", []string{"ewoooc-host"}, true, OfflineOnly, ClassDedicated},
		"disabled":                 {"wooo/ewoooc", []string{"old-host"}, true, OfflineOnly, ClassForeign},
		"nobody":                   {"wooo/awoooi", []string{"gpu"}, true, Unsatisfiable, ClassShared},
		"nobody of those told":     {"wooo/awoooi", []string{"gpu"}, false, NotSeen, ClassShared},
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

func TestWhoseALabelIs(t *testing.T) {
	for name, want := range map[string]string{
		"ubuntu-latest": Shared, "ubuntu-22.04": Shared, "ubuntu22": Shared, "Linux": Shared, "self-hosted": Shared, "": Shared, "x64": Shared,
		"awoooi-host": "awoooi", "EWOOOC-host": "ewoooc", "stockplatform": "stockplatform", "awoooi_gpu": "awoooi", "../../etc": Shared, "a/../b": "a",
	} {
		if got := OwnerOf(name); got != want {
			t.Errorf("%q is %q's, want %q", name, got, want)
		}
	}
}

func TestTheMostCommonOwnerIsTheFirstAmongEquals(t *testing.T) {
	for want, names := range map[string][]string{
		"":       {"ubuntu-latest"},
		"awoooi": {"ubuntu-latest", "awoooi-host", "ewoooc-host"},
		"ewoooc": {"awoooi-host", "ewoooc-host", "ewoooc-gpu"},
	} {
		var labels []Label
		for _, n := range names {
			labels = append(labels, ParseLabel(n))
		}
		if got := MostCommonOwner(labels); got != want {
			t.Errorf("%v: %q, want %q", names, got, want)
		}
	}
}
