package history

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// writeYear writes a year of a busy host with so many intervals, and returns its directory.
func writeYear(t testing.TB, dir string, intervals int) {
	t.Helper()
	w, err := Open(dir, Options{Host: "ci-host-1", Size: 1 << 30, Age: 400 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	step := 365 * 24 * time.Hour / time.Duration(intervals/4)
	var ended []Interval
	for n := range intervals / 4 {
		repository := []string{"shop", "blog", "docs", "site", "tool"}[n*7%5]
		who := Who{Repository: "wooo/" + repository, Workflow: "ci.yaml", Job: "build", Run: fmt.Sprint(n),
			Actor:  "mia",
			RunURL: fmt.Sprintf("https://git.example.com/wooo/%s/actions/runs/%d", repository, n)}
		got := noon.Add(time.Duration(n) * step)
		add := func(kind Kind, name, what, end string, from, until time.Time) {
			ended = append(ended, Interval{ID: fmt.Sprintf("%s-%016x", kind, n), Kind: kind, Name: name, Who: who,
				What: what, From: from, Until: until, End: end})
		}
		add(Pressure, "", "", EndAcquired, got.Add(-20*step/10), got.Add(-15*step/10))
		add(Wait, "host-docker-build", "image build", EndAcquired, got.Add(-15*step/10), got)
		add(Build, "next build", "in its task container", "", got, got.Add(step*7/10))
		add(Hold, "host-docker-build", "image build", EndReleased, got, got.Add(step*95/100))
		if len(ended) >= 400 {
			if err := w.Look(got.Add(step), nil, ended, nil); err != nil {
				t.Fatal(err)
			}
			ended = ended[:0]
		}
	}
}

// TestAYearIsReported logs the figures of docs/history.md with HOSTGUARD_SOAK, for a million
// intervals.
func TestAYearIsReported(t *testing.T) {
	intervals := 20_000
	if os.Getenv("HOSTGUARD_SOAK") != "" {
		intervals = 1_000_000
	}
	dir := t.TempDir()
	writeYear(t, dir, intervals)
	start := time.Now()
	r := readAll(t, dir)
	read := time.Since(start)
	p := r.Report(r.Begin)
	t.Logf("%d intervals, %d MB in files: read %v, all %v", len(r.rows), r.Bytes>>20, read, time.Since(start))
	if len(r.rows) != intervals || p.Jobs == 0 || p.WaitedLong != p.Jobs || len(p.Repositories) != 5 {
		t.Errorf("%d intervals; %d of %d jobs of %d repositories waited", len(r.rows), p.WaitedLong, p.Jobs,
			len(p.Repositories))
	}
}
