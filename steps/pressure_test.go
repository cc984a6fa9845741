package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostguard/internal/cli"
	"hostguard/internal/pressurewire"
	"hostguard/pressure"
)

func TestAWaitIsReportedWhenItChangesAndEveryHalfMinute(t *testing.T) {
	start := time.Now().Add(-time.Hour)
	next := pressure.Blocker{Tool: "next build", PID: 40, Since: start, Dir: "/a"}
	vite := pressure.Blocker{Tool: "vite build", PID: 50, Since: start}
	reused := next
	reused.Since = start.Add(time.Minute)

	var reported []int
	log := pressureLog{unfold: func() {}, print: func(format string, args ...any) {
		if strings.HasPrefix(format, "waiting") {
			reported = append(reported, args[1].(int))
		}
	}}
	looks := [][]pressure.Blocker{
		1: {next}, 2: {next}, 3: {next, vite}, 4: {next, vite}, 5: {next, vite}, // reported 1, 3
		6: {next, vite}, 7: {next, vite}, 8: {next}, 9: {reused}, 10: {}, // reported 6, 8, 9
	}
	for number := 1; number < len(looks); number++ {
		log.report(pressure.Attempt{Number: number, Of: 60, Waited: time.Duration(number-1) * 10 * time.Second,
			Verdict: pressure.Verdict{Blockers: looks[number]}})
	}
	// The verdict reports the last look.
	log.report(pressure.Attempt{Number: 60, Of: 60, Waited: 590 * time.Second,
		Verdict: pressure.Verdict{Blockers: looks[1]}})
	if diff := cmp.Diff([]int{1, 3, 6, 8, 9}, reported); diff != "" {
		t.Errorf("reported attempts (-want +got):\n%s", diff)
	}
}

const hostileDir = "/x\n::set-env name=BASH_ENV::y\x1b[31m\x7f\u0085\u202e\xff`|_GitHubActionsFileCommandDelimeter_"

func TestBlockersAreBoundedAndHarmless(t *testing.T) {
	var many []pressure.Blocker
	for pid := range 1000 {
		many = append(many, pressure.Blocker{Tool: "next build", PID: pid, Dir: hostileDir, Container: hostileDir,
			Job: pressure.Job{
				Repository: hostileDir, RunID: hostileDir, RunNumber: hostileDir,
				Job: hostileDir, Workflow: hostileDir, Task: hostileDir,
			}})
	}
	a := pressure.Attempt{Verdict: pressure.Verdict{Blockers: many}}
	sentence := pressurewire.Pressing(a.Verdict)
	if !strings.HasPrefix(sentence, "1000 other heavy builds run here: next build (pid 0, ") ||
		!strings.HasSuffix(sentence, ", and 980 more") {
		t.Errorf("blockers() = %.100q ... %.100q", sentence, sentence[max(0, len(sentence)-100):])
	}
	text := blockersJSON(many)
	var list []struct{ Tool, Directory string }
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != pressurewire.MostNamed {
		t.Fatalf("blockersJSON: %d, %v", len(list), err)
	}
	if got := list[0].Directory; !strings.Contains(got, "_GitHubActionsFileCommandDelimeter_") ||
		!strings.HasPrefix(got, `/x\n::set-env`) {
		t.Errorf("directory %q", got)
	}
	for name, text := range map[string]string{"sentence": sentence, "output": text} {
		control := func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e' }
		if i := strings.IndexFunc(text, control); i >= 0 {
			t.Errorf("%s holds a control character at %q", name, text[i:min(len(text), i+20)])
		}
	}
	if strings.Contains(text, "_GitHubActionsFileCommandDelimeter_") {
		t.Error("the output holds the delimiter of its file")
	}
	if blockersJSON(nil) != "[]" {
		t.Errorf("no blockers: %s", blockersJSON(nil))
	}
}

func TestSummaryIsATable(t *testing.T) {
	a := pressure.Attempt{Number: 2, Of: 60, Waited: 10 * time.Second,
		Verdict: pressure.Verdict{Seen: 7, Scope: pressure.WholeHost, Over: []string{"I/O stall 70%, want at most 60%"},
			Load: pressure.Load{
				Available: 1 << 30, Installed: 4 << 30,
				IOStall: pressure.Percent{Known: true, Value: 70}, Load1: 2.5,
				Missing: []string{"memory stall (no permission)"},
			},
			Blockers: []pressure.Blocker{{Tool: "next build", PID: 40, Dir: hostileDir, CPU: 90 * time.Second, Memory: 3 << 29,
				Container: "web|`", Job: pressure.Job{Repository: "wooo/awoooi", RunID: "4711"}}}}}
	want := fmt.Sprintf("### Heavy builds of others: 1\n\nLooked at 7 processes (the whole host); waited 10s, "+
		"attempt 2/60; "+
		"1.0 GiB of 4.0 GiB memory left, I/O stall 70%%, load 2.5, unknown: memory stall (no permission).\n"+
		"\n- I/O stall 70%%, want at most 60%%\n"+
		"\n| build | pid | running | CPU | memory | where | whose |\n|---|---|---|---|---|---|---|\n"+
		"| next build | 40 | since an unknown time | 1m30s | 1.5 GiB | `in %s, container \"web\\|'\"` | `of "+
		"\"wooo/awoooi\" run id \"4711\"` |\n",
		strings.NewReplacer("`", "'", "|", `\|`).Replace(fmt.Sprintf("%q", hostileDir)))
	if diff := cmp.Diff(want, pressureSummary(a)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

// slowTable takes its time, as that of a crowded host does.
type slowTable struct {
	pressure.List
	takes time.Duration
}

func (t slowTable) Each(ctx context.Context, visit func(int, []string)) (pressure.Scope, error) {
	time.Sleep(t.takes)
	return t.List.Each(ctx, visit)
}

// A daemon that hangs may take 200 ms of a look. Once more for the names of
// containers would be more than the 300 ms that the runner's health check has.
func TestACheckGivesDockerWhatTheLookHasLeft(t *testing.T) {
	const look = 150 * time.Millisecond
	var out bytes.Buffer
	w := cli.World{Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &out}
	check := &waitPressure{Session: cli.NewSession(w, nil), gate: &pressure.Gate{Table: slowTable{takes: look}}}
	_, check.docker = pressurewire.New(w.Getenv, nil)
	if err := check.lookOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(check.docker.Until); left > pressurewire.CheckTime-look {
		t.Errorf("%s left of %s after a look of %s", left, pressurewire.CheckTime, look)
	}
}

// A variable has 128 KiB, a summary 1 MiB.
func TestOfThousandsOfBuildsTwentyAreNamed(t *testing.T) {
	all := make([]pressure.Blocker, 5000)
	last := pressure.Attempt{Verdict: pressure.Verdict{Blockers: all}}
	if rows := strings.Count(pressureSummary(last), "\n| ") - 1; rows != pressurewire.MostNamed {
		t.Errorf("%d rows in the summary", rows)
	}
	if text := pressurewire.Blockers(all); !strings.HasSuffix(text, ", and 4980 more") {
		t.Errorf("%.200q", text)
	}
	var list []any
	if err := json.Unmarshal([]byte(blockersJSON(all)), &list); err != nil || len(list) != pressurewire.MostNamed {
		t.Errorf("%d in the output, %v", len(list), err)
	}
}

func TestSizesHaveAUnit(t *testing.T) {
	for text, want := range map[string]int64{
		"512M": 512 << 20, "2GiB": 2 << 30, "2g": 2 << 30, "1.5 G": 3 << 29, "1000000G": 1000000 << 30, "4kb": 4 << 10,
		"": 0, "2": 0, "2048": 0, "G": 0, "-1G": 0, "0G": 0,
		"NaNG": 0, "InfG": 0, "2X": 0, "1e30T": 0, "99999999999T": 0, "2GiBi": 0,
	} {
		if got, err := parseSize(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}
