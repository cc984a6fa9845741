package steps

import (
	"strings"
	"testing"
	"time"

	"hostguard/history"
	"hostguard/lock"
	"hostguard/pressure"
)

// holderOf returns a look at a lock that a run of a repository holds since a moment.
func holderOf(id, repository, run string, since time.Time) lock.Wait {
	return lock.Wait{Position: 2, Holder: lock.Judged{
		Entry: lock.Entry{ID: id, Created: since, Labels: map[string]string{
			"hostguard.version": "1", "hostguard.kind": "lock", "hostguard.nonce": id,
			"hostguard.repository": repository, "hostguard.job": "build", "hostguard.run-number": run,
			"hostguard.reason": "image build",
		}},
	}}
}

func TestAJobThatWaitedNamesEachHolder(t *testing.T) {
	now := time.Now()
	w := &waited{begin: now.Add(-10 * time.Minute)}
	w.see(holderOf("a", "wooo/docs", "61", now.Add(-20*time.Minute)))
	w.causes[0].Until = now.Add(-4 * time.Minute) // as the last look that saw it
	w.causes = append(w.causes, history.Interval{ID: "b", Kind: history.Hold, From: now.Add(-4 * time.Minute),
		Who: history.Who{Repository: "wooo/blog", Job: "deploy", Run: "97"}, Until: now})
	a := w.answer("deploy", history.Who{Repository: "wooo/shop", Job: "build", Run: "12"}, true)
	want := "wooo/shop build #12 waited 10m: 6m for wooo/docs build #61 (image build), then 4m for wooo/blog " +
		"deploy #97."
	if got := a.Sentence(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if held := a.Parts[0].Held.Round(time.Minute); held != 16*time.Minute {
		t.Errorf("the first holder held for %s, want 16m: longer than this job waited", held)
	}
}

func TestASummaryNamesWhatWasTakenOver(t *testing.T) {
	now := time.Now()
	w := &waited{begin: now.Add(-160 * time.Second)}
	w.see(holderOf("a", "wooo/docs", "57", now.Add(-20*time.Minute)))
	look := holderOf("a", "wooo/docs", "57", now.Add(-20*time.Minute))
	look.Holder.Verdict = lock.Verdict{Life: lock.Dead, Evidence: "its container is gone"}
	w.takeOver(look.Holder)
	got := w.answer("deploy", history.Who{}, true).Markdown(history.Stall{})
	for _, want := range []string{"**Waited 3m**", "its container is gone", "taken over"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

func TestAShortWaitHasNoSummary(t *testing.T) {
	if got := newWaited().answer("deploy", history.Who{}, true).Markdown(history.Stall{}); got != "" {
		t.Error(got)
	}
}

func TestAJobThatWaitedAtTheGateNamesTheBuilds(t *testing.T) {
	now := time.Now()
	w := &waited{begin: now.Add(-3 * time.Minute)}
	build := pressure.Blocker{Tool: "next build", PID: 7,
		Job: pressure.Job{Repository: "wooo/docs", Job: "build", RunNumber: "4"}}
	w.seePressure(pressure.Attempt{Verdict: pressure.Verdict{Blockers: []pressure.Blocker{build}}})
	w.seePressure(pressure.Attempt{})
	got := w.answer("", history.Who{Repository: "wooo/shop", Job: "build", Run: "12"}, true).Sentence()
	if want := "wooo/shop build #12 waited 3m for pressure (next build of wooo/docs build #4)."; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
