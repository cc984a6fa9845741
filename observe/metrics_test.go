package observe

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hostguard/history"
)

// filled returns metrics of which every family has samples.
func filled(t *testing.T) *Metrics {
	t.Helper()
	m := NewMetrics("1.2.3")
	var tr Tracker
	saw := func(l Look) {
		open, ended := tr.Look(l)
		m.Saw(l, open, ended)
	}
	l := look(0, held("a", claim(1, -100)).waiting(claim(2, -50), claim(3, -10)), held(Gate, claim(4, -5)))
	l.Stall = history.Stall{Time: at(0), Memory: 11, IO: 21, CPU: -1}
	l.Builds = []Build{{PID: 7, Name: "next build", Since: at(-30)}}
	l.Runners = []Runner{{"a.service", Up}}
	saw(l)
	l = look(1, held("a", claim(1, -100).with(gone("its container is gone"))).waiting(claim(2, -50), claim(3, -10)))
	saw(l)
	l = look(2, held("a", claim(2, 1.5)))
	l.Stall = history.Stall{Time: at(0), Memory: 11, IO: 21, CPU: -1}
	l.Builds = []Build{{PID: 7, Name: "next build", Since: at(-30)}}
	l.Runners = []Runner{{"a.service", Up}}
	saw(l)
	m.Looked(at(2), time.Second/4, nil)
	m.Looked(at(3), time.Second/4, errors.New("no answer"))
	m.Recorded(1234, nil)
	return m
}

func text(t *testing.T, m *Metrics) string {
	t.Helper()
	var out strings.Builder
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestMetricsShowWhatTheLooksHaveShown(t *testing.T) {
	got := strings.Split(text(t, filled(t)), "\n")
	for _, want := range []string{
		`hostguard_lock_held{lock="a"} 1`,
		`hostguard_lock_held_seconds{lock="a"} 0.5`,
		`hostguard_lock_orphaned{lock="a"} 0`,
		`hostguard_lock_waiters{lock="a"} 0`,
		`hostguard_lock_wait_seconds_count{lock="a",repository="wooo/r2"} 1`,
		`hostguard_lock_wait_seconds_sum{lock="a",repository="wooo/r2"} 51.5`,
		`hostguard_lock_wait_seconds_bucket{lock="a",repository="wooo/r2",le="30"} 0`,
		`hostguard_lock_wait_seconds_bucket{lock="a",repository="wooo/r2",le="60"} 1`,
		`hostguard_lock_wait_seconds_bucket{lock="a",repository="wooo/r2",le="14400"} 1`,
		`hostguard_lock_wait_seconds_bucket{lock="a",repository="wooo/r2",le="+Inf"} 1`,
		`hostguard_lock_hold_seconds_sum{lock="a",repository="wooo/r1"} 101.5`,
		`hostguard_lock_takeovers_total{lock="a",evidence="container"} 1`,
		`hostguard_lock_waits_given_up_total{lock="a"} 1`,
		`hostguard_pressure_waiters 0`,
		`hostguard_pressure_wait_seconds_count{repository="wooo/r4"} 1`,
		`hostguard_builds 1`,
		`hostguard_stall_ratio{resource="memory"} 0.11`,
		`hostguard_runner_state{runner="a.service",state="up"} 1`,
		`hostguard_build_info{version="1.2.3"} 1`,
		`hostguard_observer_looks_total 2`,
		`hostguard_observer_look_errors_total 1`,
		`hostguard_observer_look_duration_seconds_total 0.5`,
		fmt.Sprintf(`hostguard_observer_last_look_timestamp_seconds %s`, number(float64(at(2).Unix()))),
		`hostguard_observer_history_bytes 1234`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no line %q", want)
		}
	}
	if all := strings.Join(got, "\n"); strings.Contains(all, `resource="cpu"`) {
		t.Error("a stall that is unknown has a value")
	}
}

func TestMetricsShowWhoWaits(t *testing.T) {
	m := NewMetrics("")
	l := look(0, held("a", claim(1, -9)).waiting(claim(2, -5), claim(3, -3)), held(Gate, claim(4, -1)))
	open, ended := new(Tracker).Look(l)
	m.Saw(l, open, ended)
	for _, want := range []string{"lock_waiters{lock=\"a\"} 2", "lock_longest_wait_seconds{lock=\"a\"} 5",
		"lock_held_seconds{lock=\"a\"} 9", "pressure_waiters 1"} {
		if got := text(t, m); !strings.Contains(got, "hostguard_"+want+"\n") {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestMetricsShowALockThatIsHeldByNobodyWhoLives(t *testing.T) {
	m, l := NewMetrics(""), look(1, held("a", claim(1, 0).with(gone("its container is gone"))))
	open, ended := new(Tracker).Look(l)
	m.Saw(l, open, ended)
	if got := text(t, m); !strings.Contains(got, "hostguard_lock_orphaned{lock=\"a\"} 1\n") {
		t.Errorf("it is not shown:\n%s", got)
	}
}

func TestMetricsPassPromtool(t *testing.T) {
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text(t, filled(t)))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// Whoever can make an entry can invent names.
func TestMetricsBoundWhatOthersCanInvent(t *testing.T) {
	m := NewMetrics("")
	for n := range 2000 {
		who := history.Who{Repository: fmt.Sprintf("evil/%d", n)}
		m.count(history.Interval{Kind: history.Hold, Name: fmt.Sprintf("lock-%d", n), Who: who, From: at(0),
			Until: at(1)})
	}
	all := text(t, m)
	for label, most := range map[string]int{"lock": maxLocks, "repository": maxRepositories} {
		values := map[string]bool{}
		for _, found := range regexp.MustCompile(label+`="([^"]*)"`).FindAllStringSubmatch(all, -1) {
			values[found[1]] = true
		}
		if len(values) != most+1 || !values[others] {
			t.Errorf("label %s has %d values, want %d and %q", label, len(values), most, others)
		}
	}
}

func TestMetricsEscapeLabels(t *testing.T) {
	m := NewMetrics("")
	hostile := "a\"} 1\nevil{x=\"\\\xff" + strings.Repeat("y", 1000)
	l := look(1, held(hostile, claim(1, 0)))
	open, ended := new(Tracker).Look(l)
	m.Saw(l, open, ended)
	all := text(t, m)
	want := `hostguard_lock_held{lock="a\"} 1\nevil{x=\"\\` + strings.Repeat("y", maxLabel-len(hostile)+1000) + `"} 1`
	if !slices.Contains(strings.Split(all, "\n"), want) {
		t.Errorf("no line %q in\n%s", want, all)
	}
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(all)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func TestEvidenceHasFewKinds(t *testing.T) {
	for text, want := range map[string]string{
		"the host was rebooted since":                                                 "reboot",
		"its container is gone":                                                       "container",
		"its container was started again since":                                       "container",
		"its hostguard process 4160 is gone and no process of its command is left":    "process",
		"its job directory is gone and no process works there":                        "job directory",
		"its runner, process 12, is gone":                                             "runner",
		"it is 3h0m0s old and may be taken over after 2h0m0s; its process is unknown": "age",
		"its run ended":     "run",
		"something else of": others,
	} {
		if got := evidenceKind(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// The rules and the dashboard name only metrics that there are.
func TestExamplesNameMetricsThatExist(t *testing.T) {
	m := NewMetrics("")
	exported := map[string]bool{}
	for _, f := range m.all {
		exported[f.name] = true
		if f.kind == histogram {
			exported[f.name+"_bucket"], exported[f.name+"_sum"], exported[f.name+"_count"] = true, true, true
		}
	}
	for _, file := range []string{"alerts.yaml", "grafana.json"} {
		data, err := os.ReadFile("../examples/prometheus/" + file)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile(`\bhostguard_[a-z_]+`).FindAllString(string(data), -1)
		if len(named) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, name := range named {
			if !exported[name] {
				t.Errorf("%s names %s, which is not exported", file, name)
			}
		}
	}
}

// A dashboard is checked without Grafana: it is JSON with panels, and Prometheus parses each of
// its queries.
func TestExampleDashboardAsksWhatPrometheusUnderstands(t *testing.T) {
	data, err := os.ReadFile("../examples/prometheus/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title, UID    string
		SchemaVersion int
		Panels        []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.Title == "" || dashboard.UID == "" || dashboard.SchemaVersion == 0 {
		t.Error("it lacks a title, a uid or a schemaVersion")
	}
	var rules strings.Builder
	rules.WriteString("groups: [{name: dashboard, rules: [")
	for _, p := range dashboard.Panels {
		if p.Title == "" || p.Type == "" || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 || len(p.Targets) == 0 {
			t.Errorf("panel %d has no title, type, place or query", p.ID)
		}
		for _, target := range p.Targets {
			expr := strings.ReplaceAll(target.Expr, "$instance", ".*")
			fmt.Fprintf(&rules, "{record: panel_%d_%s, expr: %q},", p.ID, target.RefID, expr)
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(rules.String()+"]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}

func TestExampleRulesPassPromtool(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "../examples/prometheus/alerts.yaml"},
		{"test", "rules", "../examples/prometheus/alerts_test.yaml"},
	} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
