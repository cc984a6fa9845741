package steps

import (
	"io"
	"testing"
	"time"

	"hostguard/clean"
	"hostguard/internal/cli"
	"hostguard/internal/proc"
)

func TestHowOldALeftOverHasToBe(t *testing.T) {
	now := time.Date(2026, 5, 21, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const notGiven = time.Duration(-1)
	none := proc.RunnerWorkers{}
	worker := proc.RunnerWorkers{PIDs: []int{7}, Oldest: ago(time.Hour)}
	unseen := proc.RunnerWorkers{Unseen: "a container"}
	for _, test := range []struct {
		name           string
		minAge         time.Duration
		workers        proc.RunnerWorkers
		complete       bool
		before, others time.Time
	}{
		{"no worker lives", notGiven, none, true, now, now},
		{"a worker lives", notGiven, worker, true, ago(time.Hour), ago(time.Hour)},
		{"workers cannot be seen", notGiven, unseen, true, ago(clean.BlindAge), ago(clean.BlindAge)},
		{"open files cannot be seen", notGiven, none, false, now, ago(clean.BlindAge)},
		{"min-age where nothing lives", time.Minute, none, true, ago(time.Minute), ago(time.Minute)},
		{"min-age beside a worker", 2 * time.Hour, worker, true, ago(2 * time.Hour), ago(2 * time.Hour)},
		{"min-age below a worker's", time.Minute, worker, false, ago(time.Hour), ago(time.Hour)},
		{"min-age where workers cannot be seen", time.Minute, unseen, false, ago(time.Minute), ago(time.Minute)},
	} {
		c := cleanDiag{cleaning: cleaning{Session: cli.NewSession(cli.World{Stdout: io.Discard,
			Getenv: func(string) string { return "" }}, nil), minAge: test.minAge}}
		before, others := c.limits(now, test.workers, test.complete)
		if !before.Equal(test.before) || !others.Equal(test.others) {
			t.Errorf("%s: before %v, others %v; want %v, %v", test.name, before, others, test.before, test.others)
		}
	}
}
