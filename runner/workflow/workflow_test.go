package workflow

import (
	"fmt"
	"strings"
	"testing"

	"hostguard/runner/yamltree"

	"github.com/google/go-cmp/cmp"
)

func parse(t *testing.T, yaml string) Workflow {
	t.Helper()
	w, err := Parse("ci.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func job(body string) string {
	return "on: push\njobs:\n  build:\n    " + strings.ReplaceAll(body, "\n", "\n    ")
}

func TestWhichLabelsAJobWants(t *testing.T) {
	labels := func(sets ...[]string) (all []Demand) {
		for _, s := range sets {
			all = append(all, Demand{Labels: s})
		}
		return all
	}
	refused := func(value, why string) []Demand { return []Demand{{Labels: []string{value}, Unresolved: why}} }
	unset := func(value string) []Demand { return refused(value, value+" has no value in this file") }
	for name, c := range map[string]struct {
		job  string
		want []Demand
	}{
		"one":              {"runs-on: awoooi-host", labels([]string{"awoooi-host"})},
		"a list":           {"runs-on: [self-hosted, linux]", labels([]string{"self-hosted", "linux"})},
		"a group's labels": {"runs-on: {group: big, labels: [linux]}", labels([]string{"linux", "big"})},
		"a group alone":    {"runs-on: {group: big}", labels([]string{"big"})},
		"a matrix": {
			"runs-on: ${{ matrix.os }}\nstrategy: {matrix: {os: [ubuntu-22.04, ubuntu-24.04], go: [1, 2]}}",
			labels([]string{"ubuntu-22.04"}, []string{"ubuntu-24.04"}),
		},
		"in brackets": {"runs-on: ${{ matrix['os'] }}\nstrategy: {matrix: {os: [a]}}", labels([]string{"a"})},
		"part of a label": {
			"runs-on: ${{ matrix.who }}-host\nstrategy: {matrix: {who: [awoooi, ewoooc]}}",
			labels([]string{"awoooi-host"}, []string{"ewoooc-host"}),
		},
		"a leg is a list": {
			"runs-on: ${{ matrix.on }}\nstrategy: {matrix: {on: [[a, b], c]}}",
			labels([]string{"a", "b"}, []string{"c"}),
		},
		"include alone": {
			"runs-on: ${{ matrix.os }}\nstrategy: {matrix: {include: [{os: a}, {os: b}]}}",
			labels([]string{"a"}, []string{"b"}),
		},
		"include adds": {
			"runs-on: ${{ matrix.on }}\n" +
				"strategy: {matrix: {os: [x, y], include: [{os: x, on: a}, {os: y, on: b}, {os: z, on: c}]}}",
			labels([]string{"a"}, []string{"b"}, []string{"c"}),
		},
		"exclude": {
			"runs-on: ${{ matrix.os }}\nstrategy: {matrix: {os: [a, b], go: [1], exclude: [{os: a}]}}",
			labels([]string{"b"}),
		},
		"an alias": {"env: {x: &l awoooi-host}\nruns-on: *l", []Demand{{Labels: []string{"awoooi-host"}, Alias: "l"}}},
		"a merge": {
			"strategy: {matrix: {<<: {os: [a], go: [1]}, go: [2]}}\nruns-on: ${{ matrix.os }}-${{ matrix.go }}",
			labels([]string{"a-2"}),
		},
		"a variable": {"runs-on: ${{ vars.RUNNER }}", unset("${{ vars.RUNNER }}")},
		"a computed matrix": {
			"runs-on: ${{ matrix.os }}\nstrategy: {matrix: '${{ fromJSON(x) }}'}",
			unset("${{ matrix.os }}"),
		},
		"no such key": {"runs-on: ${{ matrix.os }}\nstrategy: {matrix: {go: [1]}}", unset("${{ matrix.os }}")},
		"another's workflow": {
			"uses: ./.gitea/workflows/x.yml",
			[]Demand{{Unresolved: "the job calls the workflow ./.gitea/workflows/x.yml"}},
		},
		"none": {"steps: []", []Demand{{Unresolved: "the job has no runs-on"}}},
		"too many includes": {
			"runs-on: ${{ matrix.a }}\nstrategy: {matrix: {include: [" + strings.Repeat("{a: b}, ", 257) + "]}}",
			refused("${{ matrix.a }}", "its matrix has more than 256 entries to include or exclude"),
		},
		"too many keys": {
			"runs-on: ${{ matrix.k1 }}\nstrategy: {matrix: {" + manyKeys(maxKeys+1, "[a]") + "}}",
			refused("${{ matrix.k1 }}", "its matrix has more than 64 keys"),
		},
		"too many legs": {
			"runs-on: ${{ matrix.a }}\nstrategy: {matrix: {a: [" +
				strings.Repeat("1,", 17) + "], b: [" + strings.Repeat("1,", 17) + "]}}",
			refused("${{ matrix.a }}", "its matrix has more than 256 legs"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, parse(t, job(c.job)).Jobs[0].RunsOn); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJobsKeepTheOrderOfTheFile(t *testing.T) {
	w := parse(t, "on: [push]\n"+
		"jobs: {tests: {runs-on: a}, build-and-deploy: {runs-on: b}, post-deploy-checks: {runs-on: c}}")
	var ids []string
	for _, j := range w.Jobs {
		ids = append(ids, j.ID)
	}
	if got := strings.Join(ids, " / "); got != "tests / build-and-deploy / post-deploy-checks" {
		t.Error(got)
	}
}

func manyJobs() string {
	var all strings.Builder
	for i := range maxLegs {
		fmt.Fprintf(&all, "j%d: {needs: [j%d], runs-on: a-host}, ", i, i-1)
	}
	return all.String()
}

func TestHostileFilesAreRefusedInBounds(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	for name, yaml := range map[string]string{
		"a bomb of aliases":  bomb.String() + "jobs: *a11\n",
		"a loop":             "jobs: &a [*a]\n",
		"deep":               strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
		"large":              "x: " + strings.Repeat("a", yamltree.MaxFile),
		"many jobs":          "jobs: {" + manyJobs() + "x: }",
		"no mapping":         "- a\n",
		"no YAML":            "a: b: c",
		"control characters": "a: \x00\n",
	} {
		if _, err := Parse("ci.yaml", []byte(yaml)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func manyKeys(n int, value string) string {
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, "k%d: %s, ", i, value)
	}
	return all.String()
}

// 256 legs to each of which 256 entries add 40 keys: what is added must not cost
// a copy of the leg for each key.
func TestWhatIncludeAddsToALargeMatrixIsCheap(t *testing.T) {
	yaml := job("runs-on: ${{ matrix.os }}\nstrategy: {matrix: {os: [" +
		strings.Repeat("a, ", maxCombinations) + "], include: [" +
		strings.Repeat("{"+manyKeys(40, "v")+"}, ", maxCombinations) + "]}}")
	if cost := testing.AllocsPerRun(1, func() { parse(t, yaml) }); cost > 1e6 {
		t.Errorf("%.0f allocations", cost)
	}
}

func TestOddShapesAreReadAsNothing(t *testing.T) {
	for _, yaml := range []string{
		"", "jobs:", "jobs: []", "jobs: {a: }", "jobs: {a: [1]}",
		"jobs: {a: {steps: {x: y}, runs-on: [[a]], strategy: []}}",
		"on:\n  push:\njobs: {a: {steps: [1, [], {with: 3}]}}",
	} {
		if _, err := Parse("ci.yaml", []byte(yaml)); err != nil {
			t.Errorf("%q: %v", yaml, err)
		}
	}
}

func FuzzParseWorkflow(f *testing.F) {
	f.Add([]byte(job("runs-on: ${{ matrix.os }}\nstrategy: {matrix: {os: [a, b], include: [{os: c}]}}\n" +
		"steps: [{uses: x, with: {a: b}}]")))
	f.Add([]byte("a: &a {<<: *a}\n<<: [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := Parse("ci.yaml", data)
		if err != nil {
			return
		}
		for _, j := range w.Jobs {
			if len(j.RunsOn) > maxCombinations {
				t.Errorf("%d demands", len(j.RunsOn))
			}
		}
	})
}
