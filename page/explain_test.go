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
	last = begin.Add(4 * time.Hour)
	pick := func(of ...string) string { return of[r.Intn(len(of))] }
	var held history.Interval
	for i := range 200 {
		kind := []history.Kind{history.Hold, history.Hold, history.Hold, history.Wait, history.Wait,
			history.Pressure, history.Build,
			history.Reserved}[r.Intn(8)]
		from := begin.Add(time.Duration(r.Int63n(int64(3 * time.Hour))).Truncate(time.Millisecond))
		v := history.Interval{ID: strconv.Itoa(i), Kind: kind, From: from,
			Until: from.Add(time.Duration(r.Int63n(int64(12 * time.Minute))).Truncate(time.Millisecond)),
			Who: history.Who{
				Repository: pick("wooo/shop", "wooo/blog", ""),
				Job:        pick("build", "test"),
				Run:        strconv.Itoa(r.Intn(60)),
			}}
		switch kind {
		case history.Hold:
			v.Name, v.What, v.End = pick(
				"build",
				"deploy",
			), pick(
				"image build",
				"",
			), pick(
				history.EndReleased,
				history.EndReleased,
				history.EndTakenOver,
			)
			v.Plain = r.Intn(20) == 0
			if !held.Until.IsZero() && r.Intn(2) == 0 { // the lock changes hands
				v.Name, v.From = held.Name, held.Until.Add(time.Duration(r.Intn(9000))*time.Millisecond)
				v.Until = v.From.Add(v.Until.Sub(from))
			}
			if held = v; v.Until.After(last.Add(-time.Hour)) {
				held = history.Interval{}
			}
		case history.Reserved:
			v.Name, v.What, v.End = pick("build", "deploy"), "upgrade", history.EndReleased
		case history.Wait, history.Pressure:
			v.End = pick(history.EndAcquired, history.EndAcquired, history.EndGaveUp)
			if kind == history.Wait {
				v.Name = pick("build", "deploy")
				if r.Intn(2) == 0 { // it gets the lock, which is seen up to a look before its wait ends
					hold := v
					hold.ID, hold.Kind, hold.End = v.ID+"h", history.Hold, history.EndReleased
					hold.From = v.Until.Add(-time.Duration(r.Intn(4000)) * time.Millisecond)
					hold.Until = v.Until.Add(time.Minute)
					intervals = append(intervals, hold)
				}
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
		v.ID, v.Kind, v.Name = fmt.Sprint(
			"open",
			i,
		), []history.Kind{history.Hold, history.Wait, history.Wait, history.Pressure}[i], "build"
		v.From, v.Until, v.Open, v.End, v.Plain = last.Add(-time.Duration(i+1)*7*time.Minute), last, true, "", false
		intervals = append(intervals, v)
	}
	return intervals, last
}

// What the page answers is what "why" answers, for each wait.
func TestThePageExplainsEachWaitAsWhyDoes(t *testing.T) {
	module := bundle(t, "../testdata/explain.ts")
	for seed := range int64(3) {
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
		// Nobody watched for 10 minutes, and then from the half on.
		for at := begin; ; at = at.Add(history.MostPause) {
			var still, over []history.Interval
			switch {
			case at.Equal(begin.Add(time.Hour)):
				at = at.Add(10 * time.Minute)
			case at.After(begin.Add(2 * time.Hour)):
				at, still, over = last, open, ended
			}
			if err := w.Look(at, still, over, nil); err != nil {
				t.Fatal(err)
			}
			if at.Equal(last) {
				break
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
		d := &Document{
			Full:      true,
			Name:      "ci-host-1",
			Begin:     begin,
			Now:       last,
			Look:      last,
			Intervals: record.Intervals(),
			Gaps:      record.Gaps,
		}
		run(t, module, "UTC", `
			const store = new page.Store();
			store.merge(input);
			const explainer = new page.Explainer(store);
			return store.waits.map((w) => explainer.explain(w)).map((e) => e.from + " " + page.en.sentence(e));`,
			json.RawMessage(d.AppendJSON(nil)), &got)
		slices.Sort(want)
		slices.Sort(got)
		if len(want) < 50 || len(got) != len(want) {
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
