package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// record makes a record of intervals whose last look was at a time.
func record(last int, gaps []Gap, all ...Interval) *Record {
	b := newBuilder()
	b.Host, b.LastLook, b.Gaps = "ci-host-1", at(last), gaps
	for i, in := range all {
		if in.ID == "" {
			in.ID = fmt.Sprint("i", i)
		}
		l := lineOf(in)
		b.add(&l)
	}
	return b.Record
}

func job(name string) Who {
	repository, run, _ := strings.Cut(name, "#")
	return Who{Repository: "wooo/" + repository, Job: "build", Run: run,
		RunURL: "https://git.example.com/wooo/" + repository + "/actions/runs/" + run}
}

// of makes an interval of a job, in minutes.
func of(kind Kind, lock, who string, from, until float64, end string) Interval {
	minute := func(m float64) time.Time { return noon.Add(time.Duration(m*60000) * time.Millisecond) }
	return Interval{Kind: kind, Name: lock, Who: job(who), From: minute(from), Until: minute(until), End: end}
}

func everybody(Who) bool { return true }

func sentences(r *Record) string {
	var all []string
	for _, a := range r.Answers(everybody) {
		all = append(all, a.Sentence())
	}
	return strings.Join(all, "\n")
}

func TestAWaitIsExplained(t *testing.T) {
	gap := func(from, until int) []Gap { return []Gap{{at(60 * from), at(60 * until)}} }
	for _, c := range []struct {
		name string
		gaps []Gap
		all  []Interval
		want string
	}{
		{"pressure, then a lock with two holders in turn", nil, []Interval{
			of(Build, "next build", "docs#60", -5, 3, ""),
			of(Build, "docker build", "shop#12", 0, 2, ""), // its own
			of(Pressure, "", "shop#12", 0, 3, EndAcquired),
			of(Hold, "deploy", "docs#61", -10, 17, EndReleased),
			of(Hold, "deploy", "blog#97", 17.05, 41, EndReleased),
			of(Hold, "deploy", "shop#12", 41, 49, EndReleased),
			of(Hold, "other", "docs#62", 3, 49, EndReleased),
			of(Wait, "deploy", "shop#12", 3, 41, EndAcquired),
		}, "wooo/shop build #12 waited 41m: 3m for pressure (next build of wooo/docs build #60), 14m for wooo/docs " +
			"build #61, then 24m for wooo/blog build #97."},
		{"the hold that it gets begins a look before the wait's end", nil, []Interval{
			of(Hold, "deploy", "docs#61", 0, 0.975, EndReleased),
			of(Hold, "deploy", "shop#12", 0.975, 20, EndReleased),
			of(Wait, "deploy", "shop#12", 0, 1, EndAcquired),
		}, "wooo/shop build #12 waited 60s for wooo/docs build #61."},
		{"a hand-off belongs to the hold before it", nil, []Interval{
			of(Hold, "deploy", "docs#61", 0, 0.5, EndReleased),
			of(Hold, "deploy", "blog#97", 0.55, 2, EndReleased),
			of(Wait, "deploy", "shop#12", 0, 1, EndAcquired),
		}, "wooo/shop build #12 waited 60s: 33s for wooo/docs build #61, then 27s for wooo/blog build #97."},
		{"a cause twice is one", nil, []Interval{
			of(Hold, "deploy", "docs#61", 0, 10, EndReleased),
			of(Hold, "deploy", "blog#97", 4, 6, EndReleased), // a second slot
			of(Wait, "deploy", "shop#12", 0, 10, EndAcquired),
		}, "wooo/shop build #12 waited 10m for wooo/docs build #61."},
		{"of two slots the one that is free first counts", nil, []Interval{
			of(Hold, "deploy", "docs#61", -5, 30, EndReleased),
			of(Hold, "deploy", "blog#97", 0, 10, EndReleased),
			of(Hold, "deploy", "blog#98", 10, 40, EndReleased),
			of(Wait, "deploy", "shop#12", 0, 30, EndAcquired),
		}, "wooo/shop build #12 waited 30m: 10m for wooo/blog build #97, then 20m for wooo/docs build #61."},
		{"nobody was seen for long", nil, []Interval{
			of(Hold, "deploy", "docs#61", 0, 4, EndReleased),
			of(Wait, "deploy", "shop#12", 0, 10, EndAcquired),
		}, "wooo/shop build #12 waited 10m: 4m for wooo/docs build #61, then 6m for a holder that was not seen."},
		{"a first short hand-off goes to the part after it", nil, []Interval{
			of(Hold, "deploy", "docs#61", 0.05, 4, EndReleased),
			of(Wait, "deploy", "shop#12", 0, 1, EndAcquired),
		}, "wooo/shop build #12 waited 60s for wooo/docs build #61."},
		{"a short wait for nobody", nil, []Interval{
			of(Wait, "deploy", "shop#12", 0, 0.05, EndAcquired),
		}, "wooo/shop build #12 waited 3s."},
		{"pressure of memory alone", nil, []Interval{
			of(Pressure, "", "shop#12", 0, 10, EndGaveUp),
		}, "wooo/shop build #12 gave up after waiting 10m for pressure."},
		{"nobody watched, but the same job held before and after", gap(4, 6), []Interval{
			of(Hold, "deploy", "docs#61", 0, 10, EndReleased),
			of(Wait, "deploy", "shop#12", 0, 10, EndAcquired),
		}, "wooo/shop build #12 waited 10m for wooo/docs build #61."},
		{"nobody watched between two holders", gap(4, 6), []Interval{
			of(Hold, "deploy", "docs#61", 0, 4, EndUnseen),
			of(Hold, "deploy", "blog#97", 7, 10, EndReleased),
			of(Wait, "deploy", "shop#12", 0, 10, EndAcquired),
		}, "wooo/shop build #12 waited 10m: 4m for wooo/docs build #61, 2m while ci-host-1 was not watched, 3m for " +
			"wooo/blog build #97, and 1m for 1 other."},
		{"the end was not seen", gap(8, 16), []Interval{
			of(Hold, "deploy", "docs#61", 0, 8, EndUnseen),
			of(Wait, "deploy", "shop#12", 0, 8, EndUnseen),
		}, "wooo/shop build #12 waited at least 8m for wooo/docs build #61: from 12:00 until 12:08, then ci-host-1 " +
			"was not watched until 12:16."},
		{"jobs of one name in one run, as of a matrix", nil, []Interval{
			of(Hold, "deploy", "docs#61", 0, 8, EndReleased),
			of(Wait, "deploy", "shop#12", 0, 8, EndAcquired),
			of(Hold, "deploy", "shop#12", 8, 18, EndReleased),
			of(Wait, "deploy", "shop#12", 0, 18, EndAcquired),
		}, "wooo/shop build #12 waited 8m for wooo/docs build #61.\n" +
			"wooo/shop build #12 waited 18m: 8m for wooo/docs build #61, then 10m for wooo/shop build #12."},
		{"the same job much later is another wait", nil, []Interval{
			of(Wait, "deploy", "shop#12", 0, 1, EndGaveUp),
			of(Wait, "deploy", "shop#12", 30, 32, EndAcquired),
		}, "wooo/shop build #12 gave up after waiting 60s for a holder that was not seen.\n" +
			"wooo/shop build #12 waited 2m for a holder that was not seen."},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.NewReplacer(noon.Format("15:"), "12:").Replace(sentences(record(3600, c.gaps, c.all...)))
			if got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestUsualIsTheMedianOfFiveHoldsInThirtyDays(t *testing.T) {
	const day = 24 * 60
	var all []Interval
	for i, minutes := range []float64{5, 6, 7, 8, 40} {
		from := float64(-i-1) * day
		all = append(all, of(Hold, "deploy", fmt.Sprint("blog#", i), from, from+minutes, EndReleased))
	}
	all = append(all,
		of(Hold, "deploy", "blog#7", -40*day, -40*day+900, EndReleased), // too long ago
		of(Hold, "deploy", "blog#8", -9*day, -9*day+900, EndTakenOver),
		of(Hold, "other", "blog#9", -8*day, -8*day+900, EndReleased),
		of(Hold, "deploy", "docs#9", -8*day, -8*day+900, EndReleased),
		of(Hold, "deploy", "docs#10", 20, 21, EndReleased),
		Interval{Kind: Hold, Name: "deploy", Who: job("blog#97"), From: at(0), Until: at(1200), Open: true},
		of(Wait, "deploy", "shop#12", 1, 21, EndAcquired))
	r := record(1260, nil, all...)
	want := "wooo/shop build #12 waited 20m: 19m for wooo/blog build #97 (usually 7m), then 1m for wooo/docs build #10."
	if got := sentences(r); got != want {
		t.Error(got)
	}
	if a := r.Answers(everybody)[0]; a.Parts[0].Held != 20*time.Minute || a.Parts[1].Usual != 0 {
		t.Error(a.Parts)
	}
	if got := sentences(record(1260, nil, all[1:]...)); strings.Contains(got, "usually") {
		t.Error("of four:", got)
	}
}

func TestAnOpenWaitEndedUnseenOnceNobodyLooks(t *testing.T) {
	in := of(Wait, "deploy", "shop#12", 0, 6, "")
	in.Open = true
	a := record(360, nil, in).Answers(everybody)[0]
	if got := a.AsOf(at(361)).Sentence(); got != "wooo/shop build #12 has waited 6m for a holder that was not seen." {
		t.Error(got)
	}
	if got := a.AsOf(at(3600)).Sentence(); !strings.Contains(got, "waited at least 6m") ||
		!strings.HasSuffix(got, "then ci-host-1 was not watched.") {
		t.Error(got)
	}
}

func TestTheLastWaitAndThePlaceInTheQueue(t *testing.T) {
	r := record(3600, nil,
		of(Wait, "deploy", "shop#12", 0, 20, EndAcquired),
		of(Wait, "deploy", "shop#13", 1, 2, EndAcquired),
		of(Wait, "other", "shop#14", 1, 20, EndAcquired),
		of(Wait, "deploy", "shop#15", 5, 30, EndAcquired),
		of(Wait, "deploy", "shop#16", 6, 6.001, EndAcquired)) // did not wait
	a, found := r.Last()
	if !found || a.Who.Run != "15" || a.Place != 2 || a.Lock != "deploy" {
		t.Errorf("%v %+v", found, a)
	}
	if _, found := record(0, nil).Last(); found {
		t.Error("of nothing")
	}
}

// A job's own log has seen holders, and no history.
func TestPartsAreMadeOfWhatAJobHasSeen(t *testing.T) {
	wait := of(Wait, "deploy", "shop#12", 0, 41, EndAcquired)
	a := Answer{Who: wait.Who, Lock: "deploy", Total: 41 * time.Minute, Parts: Parts(wait, []Interval{
		of(Hold, "deploy", "docs#61", -10, 14, EndReleased), of(Hold, "deploy", "blog#97", 14, 41, "")}, nil)}
	want := "wooo/shop build #12 waited 41m: 14m for wooo/docs build #61, then 27m for wooo/blog build #97."
	if got := a.Sentence(); got != want {
		t.Error(got)
	}
}

func TestPartsAddUpWhateverHappened(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		minute := func() float64 { return float64(random.IntN(1200)) / 10 }
		wait := of(Wait, "deploy", "shop#12", 20, 20+minute(), EndAcquired)
		var causes []Interval
		for i := range random.IntN(12) {
			from := minute()
			causes = append(causes, of(Hold, "deploy", fmt.Sprint("docs#", i), from, from+minute(), EndReleased))
		}
		var gaps []Gap
		for from := minute(); from < 120; from += 1 + minute() {
			gaps = append(gaps, Gap{of(Hold, "", "", from, 0, "").From, of(Hold, "", "", from+0.9, 0, "").From})
		}
		var sum time.Duration
		seen := map[Part]bool{}
		parts := Parts(wait, causes, gaps)
		for _, p := range parts {
			sum += p.Time
			if p.Time <= 0 || p.From.Before(wait.From) || p.Until.After(wait.Until) || p.Until.Sub(p.From) < p.Time {
				t.Errorf("seed %d: %+v", seed, p)
			}
			key := Part{Kind: p.Kind, Who: p.Who}
			if seen[key] {
				t.Errorf("seed %d: twice %+v", seed, p)
			}
			seen[key] = true
		}
		total := wait.Until.Sub(wait.From)
		if sum != total && !(parts == nil && total <= handOff) {
			t.Errorf("seed %d: %v of %v", seed, sum, total)
		}
		units := Units(total, durations(parts))
		sum = 0
		for _, u := range units {
			sum += u
		}
		if parts != nil && Duration(sum) != Duration(total) {
			t.Errorf("seed %d: %v add up to %v, not to %v", seed, units, sum, total)
		}
		if !slices.IsSortedFunc(parts, func(a, b Part) int { return a.From.Compare(b.From) }) {
			t.Errorf("seed %d: not in order", seed)
		}
	}
}
