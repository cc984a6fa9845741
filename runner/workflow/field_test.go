package workflow

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What public workflows hold, with what is right for each.
func TestWorkflowsInTheField(t *testing.T) {
	for file, c := range map[string]struct {
		labels []string // of each demand, by blanks
		alias  string
		err    string
	}{
		"nested-matrix.yml":    {labels: []string{"ubuntu-latest", "nowhere-latest"}},
		"group-only.yml":       {labels: []string{"pool-a"}},
		"group-and-labels.yml": {labels: []string{"self-hosted linux production-runners"}},
		"alias.yml":            {labels: []string{"self-hosted linux"}, alias: "runner"},
		"job-twice.yml":        {err: `line 6: mapping key "b" already defined at line 3`},
		"runs-on-twice.yml":    {err: `line 5: mapping key "runs-on" already defined at line 4`},
		"below-a-folder.yml":   {labels: []string{"awoooi-host"}},
	} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		w, err := Parse(file, data)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", file, err, c.err)
			}
			continue
		}
		var labels []string
		alias := ""
		if err == nil {
			for _, d := range w.Jobs[0].RunsOn {
				labels, alias = append(labels, strings.Join(d.Labels, " ")), d.Alias
			}
		}
		if diff := cmp.Diff(c.labels, labels); diff != "" || alias != c.alias || err != nil {
			t.Errorf("%s: alias %q, %v, %s", file, alias, err, diff)
		}
	}
}

func TestWhatStandsTwiceAnywhereIsRefusedAsGiteaDoes(t *testing.T) {
	for _, text := range []string{
		"on: push\non: pull_request\njobs: {a: {runs-on: x}}",
		"jobs: {a: {runs-on: x, steps: [{run: a}], steps: [{run: b}]}}",
		"jobs: {a: {runs-on: x, steps: [{run: a, run: b}]}}",
		"jobs: {a: {runs-on: x, env: {A: 1, A: 2}}}",
		"jobs: {a: {runs-on: x}}\njobs: {b: {runs-on: x}}",
	} {
		if w, err := Parse("x", []byte(text)); err == nil || !strings.Contains(err.Error(), "already defined") {
			t.Errorf("%q: %+v, %v", text, w, err)
		}
	}
	// A merge is no second key.
	merged := "x: &x {runs-on: a, steps: []}\njobs: {a: {<<: *x, runs-on: b}}"
	if w, err := Parse("x", []byte(merged)); err != nil || w.Jobs[0].RunsOn[0].Labels[0] != "b" {
		t.Errorf("%+v, %v", w, err)
	}
}

func TestAMatrixOfMappings(t *testing.T) {
	w, err := Parse("x", []byte(`
jobs:
  a:
    runs-on: ${{ matrix.config['os'] }}
    strategy: {matrix: {config: [{os: [a, b]}, {os: "c-${{ x }}"}, {r: 1}], include: [{config: {os: d}}]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range w.Jobs[0].RunsOn {
		got = append(got, strings.Join(d.Labels, " ")+" "+d.Unresolved)
	}
	unresolved := "${{ matrix.config['os'] }} ${{ matrix.config['os'] }} has no value in this file"
	if diff := cmp.Diff([]string{"a b ", unresolved, "d "}, got); diff != "" {
		t.Error(diff)
	}
}
