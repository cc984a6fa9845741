package page

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"testing"
	"time"

	"hostguard/history"
)

// random is a history that has all that an explanation must tell apart: queues, hand-offs,
// several holders, builds at once, gaps, jobs that died, gave up or still wait, and a
// matrix. It is not what a lock allows, but what a reader may get.
func random(seed int64) (intervals []history.Interval, last time.Time) {
	r := rand.New(rand.NewSource(seed))
	last = begin.Add(48 * time.Hour)
	pick := func(of ...string) string { return of[r.Intn(len(of))] }
	for i := range 400 {
		kind := []history.Kind{history.Hold, history.Hold, history.Hold, history.Wait, history.Wait, history.Pressure, history.Build,
			history.Reserved}[r.Intn(8)]
		from := begin.Add(time.Duration(r.Int63n(int64(46 * time.Hour))).Truncate(time.Millisecond))
		v := history.Interval{ID: strconv.Itoa(i), Kind: kind, From: from,
			Until: from.Add(time.Duration(r.Int63n(int64(40 * time.Minute))).Truncate(time.Millisecond)),
			Who:   history.Who{Repository: pick("wooo/shop", "wooo/blog", ""), Job: pick("build", "test"), Run: strconv.Itoa(r.Intn(60))}}
		switch kind {
		case history.Hold:
			v.Name, v.What, v.End = pick("build", "deploy"), pick("image build", ""), pick(history.EndReleased, history.EndReleased, history.EndTakenOver)
			v.Plain = r.Intn(20) == 0
		case history.Reserved:
			v.Name, v.What, v.End = pick("build", "deploy"), "upgrade", history.EndReleased
		case history.Wait, history.Pressure:
			v.End = pick(history.EndAcquired, history.EndAcquired, history.EndGaveUp)
			if kind == history.Wait {
				v.Name = pick("build", "deploy")
			}
		case history.Build:
			v.Name = pick("next build", "vite build")
		}
		if v.Who.Repository == "" {
			v.Who = history.Who{Person: pick("root, pid 4160", "")}
		}
		intervals = append(intervals, v)
	}
	for i := range 4 { // some still go on
		v := intervals[i]
		v.ID, v.Kind, v.Name = fmt.Sprint("open", i), []history.Kind{history.Hold, history.Wait, history.Wait, history.Pressure}[i], "build"
		v.From, v.Until, v.Open, v.End, v.Plain = last.Add(-time.Duration(i+1)*7*time.Minute), last, true, "", false
		intervals = append(intervals, v)
	}
	return intervals, last
}

// What the page answers is what "why" answers, for each wait.
func TestThePageExplainsEachWaitAsWhyDoes(t *testing.T) {
	module := bundle(t, "../testdata/explain.ts")
	for seed := range int64(5) {
		intervals, last := random(seed)
		dir := t.TempDir()
		w, err := history.Open(dir, history.Options{Age: 100 * 365 * 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		var open, ended []history.Interval
		for _, v := range intervals {
			if v.Open {
				open = append(open, v)
			} else {
				ended = append(ended, v)
			}
		}
		// Two looks with long pauses between: nobody watched then.
		for _, look := range []struct {
			at    time.Time
			ended []history.Interval
		}{{begin, nil}, {begin.Add(20 * time.Hour), ended}, {begin.Add(21 * time.Hour), nil}, {last, nil}} {
			still := open
			if look.at != last {
				still = nil
			}
			if err := w.Look(look.at, still, look.ended, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		record, err := history.Read(dir, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		record.Host = "ci-host-1"
		var want, got []string
		for _, a := range record.Answers(func(history.Who) bool { return true }) {
			a.From, a.Until, a.WatchedAgain = a.From.UTC(), a.Until.UTC(), a.WatchedAgain.UTC()
			want = append(want, fmt.Sprintf("%d %s", a.From.UnixMilli(), a.Sentence()))
		}
		d := &Document{Full: true, Name: "ci-host-1", Begin: begin, Now: last, Look: last, Intervals: record.Intervals(), Gaps: record.Gaps}
		run(t, module, "UTC", `
			const store = new page.Store();
			store.merge(input);
			const explainer = new page.Explainer(store);
			return store.waits.map((w) => { const e = explainer.explain(w); return e.from + " " + page.en.sentence(e); });`,
			json.RawMessage(d.AppendJSON(nil)), &got)
		slices.Sort(want)
		slices.Sort(got)
		if len(want) < 100 || len(got) != len(want) {
			t.Fatalf("seed %d: %d answers, want %d", seed, len(got), len(want))
		}
		bad := 0
		for i := range want {
			if got[i] != want[i] && bad < 5 {
				bad++
				t.Errorf("seed %d:\ngot  %s\nwant %s", seed, got[i], want[i])
			}
		}
	}
}
