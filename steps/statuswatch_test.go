package steps

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostguard/history"
	"hostguard/lock"
)

func TestEachChangeIsALineInAPipe(t *testing.T) {
	docs := claimOf("aa", "wooo/docs", "build", "63", "image build", 12*time.Minute+3*time.Second)
	shop := claimOf("bb", "wooo/shop", "build", "19", "", 6*time.Minute+12*time.Second)
	blog := claimOf("cc", "wooo/blog", "build", "101", "", 2*time.Minute)
	holds := func(e lock.Entry, at time.Duration, life lock.Life, evidence string) entryReport {
		e.ID, e.Created = strings.Repeat("e", 62)+e.ID[:2], before(at)
		r := reportJudged(lock.Judged{Entry: e, Verdict: lock.Verdict{Life: life, Evidence: evidence}})
		r.State = map[lock.Life]lock.State{lock.Alive: lock.StateHeld, lock.Dead: lock.StateOrphan}[life]
		return r
	}
	report := func(at time.Duration, l lockReport) statusReport {
		l.Name = "deploy"
		return statusReport{Time: before(at), Locks: []lockReport{l}}
	}
	log := changeLog{zone: time.UTC}
	var got []string
	for _, r := range []statusReport{
		report(time.Minute, lockReport{
			Holders: []entryReport{holds(docs, 12*time.Minute, lock.Alive, "")}, Waiters: waiters(shop)}),
		report(58*time.Second, lockReport{
			Holders: []entryReport{holds(docs, 12*time.Minute, lock.Alive, "")}, Waiters: waiters(shop, blog)}),
		report(56*time.Second, lockReport{
			Holders: []entryReport{holds(docs, 12*time.Minute, lock.Alive, "")}, Waiters: waiters(shop, blog)}),
		report(54*time.Second, lockReport{
			Holders: []entryReport{holds(shop, 55*time.Second, lock.Alive, "")}, Waiters: waiters(blog)}),
		report(40*time.Second, lockReport{
			Holders: []entryReport{holds(shop, 55*time.Second, lock.Dead, "its container is gone")}}),
		report(30*time.Second, lockReport{Holders: []entryReport{holds(docs, 31*time.Second, lock.Alive, "")}}),
		report(20*time.Second, lockReport{}),
		report(10*time.Second, lockReport{}),
	} {
		got = append(got, log.add(r)...)
	}
	want := []string{
		"16:28:12 deploy  held      wooo/docs build #63 (image build)",
		"16:34:00 deploy  waits 1   wooo/shop build #19",
		"16:39:12 deploy  waits 2   wooo/blog build #101", // it came earlier, and was first seen after the last look
		"16:39:17 deploy  released  wooo/docs build #63 after 11m 05s",
		"16:39:17 deploy  held      wooo/shop build #19, waited 5m 17s",
		"16:39:32 deploy  orphan    wooo/shop build #19: its container is gone",
		"16:39:32 deploy  gave up   wooo/blog build #101 after 1m 20s",
		"16:39:41 deploy  taken over wooo/shop build #19: its container is gone",
		"16:39:41 deploy  held      wooo/docs build #63 (image build)",
		"16:39:52 deploy  released  wooo/docs build #63 after 11s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAWatchBeginsWithEveryLock(t *testing.T) {
	log := changeLog{zone: time.UTC}
	want := []string{"16:40:12 host-docker-build  free      ", "16:40:12 deploy             free      "}
	if got := log.add(quietReport()); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := log.add(statusReport{Time: shownAt}); got != nil {
		t.Errorf("%q", got)
	}
}

func TestTheLastHourOfALock(t *testing.T) {
	p := knownPast(t)
	var shown strings.Builder
	for _, m := range lastMinutes(p.hour, "host-docker-build", shownAt, 60) {
		switch {
		case m.unwatched:
			shown.WriteByte('?')
		case m.takenOver:
			shown.WriteByte('*')
		case m.held:
			shown.WriteByte('#')
		default:
			shown.WriteByte('-')
		}
	}
	want := "??????????" + "----------" + "######*" + strings.Repeat("-", 20) + strings.Repeat("#", 13)
	if got := shown.String(); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if got := lastMinutes(p.hour, "host-docker-build", shownAt, -1); len(got) != 0 {
		t.Error(got)
	}
}

func TestAFreeLockThatTheHistoryKnowsIsShown(t *testing.T) {
	p := knownPast(t)
	r := statusReport{Locks: []lockReport{{Name: "host-docker-build"}}}
	r.addFree(p.locks)
	if len(r.Locks) != 2 || r.Locks[1].Name != "deploy" || r.Locks[1].State != stateFree {
		t.Errorf("%+v", r.Locks)
	}
	if got := p.usual("host-docker-build", history.Who{Repository: "wooo/docs", Job: "build"}); got != 8*time.Minute {
		t.Errorf("usually %s", got)
	}
	if got := p.usual("deploy", history.Who{Repository: "wooo/docs", Job: "build"}); got != 0 {
		t.Errorf("another lock: usually %s", got)
	}
	if got := (past{}).usual("deploy", history.Who{Repository: "wooo/docs"}); got != 0 {
		t.Errorf("without a history: usually %s", got)
	}
}
