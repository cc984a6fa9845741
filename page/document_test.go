package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"hostguard/history"
)

var begin = time.UnixMilli(1_795_600_000_000)

func after(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }

// decoded is a document in the form that the page reads.
type decoded struct {
	Version   int
	Full      bool
	Now       int64
	Begin     int64
	Look      int64
	Strings   []string
	Jobs      [][]int
	Intervals [][]any
	Stalls    [][]int64
	Gaps      [][]int64
	Host      struct {
		MemoryTotal int64
		Load        float64
		Runners     []struct {
			Name     string
			Busy     int
			Capacity int
			Note     string
		}
		LeftBehind []struct{ Name, Note string }
		InSight    []string
		OutOfSight []string
	}
}

func decode(t *testing.T, d *Document) (out decoded) {
	t.Helper()
	data := d.AppendJSON(nil)
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&out); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return out
}

// place returns a number of an interval, by its place after the ID; one left out is zero.
func (d decoded) place(interval, n int) int64 {
	if row := d.Intervals[interval]; n < len(row) {
		return int64(row[n].(float64))
	}
	return 0
}

func (d decoded) text(interval, n int) string { return d.Strings[d.place(interval, n)] }

func TestADocumentKeepsAllOfAnInterval(t *testing.T) {
	who := history.Who{Repository: "wooo/shop", Workflow: "cd", Job: "build", Run: "12",
		RunURL: "https://git.example.com/wooo/shop/actions/runs/12", Actor: "mia"}
	d := decode(t, &Document{Full: true, Now: after(100), Begin: begin, Look: after(99),
		Intervals: []history.Interval{
			{
				ID:       "h1",
				Kind:     history.Hold,
				Name:     "deploy",
				Who:      who,
				What:     "image build",
				From:     after(10),
				Until:    after(40),
				End:      history.EndTakenOver,
				Evidence: "its container is gone",
			},
			{ID: "h2", Kind: history.Hold, Name: "deploy", From: after(40), Until: after(99), Open: true, Plain: true},
		},
		Stalls: []history.Stall{{Time: after(5), Memory: 1, IO: 2, CPU: -1}},
		Gaps:   []history.Gap{{From: after(1), Until: after(2)}},
		Host: Host{MemoryTotal: 32, Load: 1.5, Runners: []Runner{{Name: "a", Busy: 1, Capacity: 2, Note: "n"}},
			LeftBehind: []LeftBehind{{Name: "c", Note: "d"}}, InSight: []string{"PSI"}},
	})
	if d.Version != 1 || !d.Full || d.Now != after(100).UnixMilli() || d.Look != after(99).UnixMilli() {
		t.Errorf("%+v", d)
	}
	got := []any{
		d.Intervals[0][0],
		d.text(0, 1),
		d.place(0, 2),
		d.place(0, 3),
		d.place(0, 4),
		d.text(0, 6),
		d.text(0, 7),
		d.text(0, 8),
		d.text(0, 9),
	}
	want := []any{
		"h1",
		"hold",
		int64(10_000),
		int64(30_000),
		int64(0),
		"deploy",
		"image build",
		"taken over",
		"its container is gone",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var job []string
	for _, n := range d.Jobs[d.place(0, 5)] {
		job = append(job, d.Strings[n])
	}
	if s := strings.Join(job, " "); s != "wooo/shop cd build 12 https://git.example.com/wooo/shop/actions/runs/ mia" {
		t.Error(s)
	}
	if d.place(1, 4) != flagOpen|flagPlain {
		t.Errorf("flags %d", d.place(1, 4))
	}
	if d.place(1, 2) != 30_000 {
		t.Errorf("the second begins %d ms after the first, want 30,000", d.place(1, 2))
	}
	if fmt.Sprint(
		d.Stalls,
		d.Gaps[0][0]-d.Begin,
		d.Host,
	) != "[[5000 1 2 -1]] 1000 {32 1.5 [{a 1 2 n}] [{c d}] [PSI] []}" {
		t.Error(d.Stalls, d.Gaps, d.Host)
	}
}

func TestAnIntervalOfAKilledObserverDoesNotReachToNow(t *testing.T) {
	open := func(id string, until time.Time) history.Interval {
		return history.Interval{ID: id, Kind: history.Wait, Name: "deploy", From: after(0), Until: until, Open: true}
	}
	d := decode(t, &Document{Begin: begin, Look: after(7200),
		Intervals: []history.Interval{
			open("old", after(3600)),
			open("seen", after(7200)),
			open("just now", after(7170)),
		}})
	if d.place(0, 4)&flagOpen != 0 || d.place(0, 3) != 3_600_000 || d.text(0, 8) != history.EndUnseen {
		t.Errorf("the old interval goes on: %v", d.Intervals[0])
	}
	for i := 1; i < 3; i++ {
		if d.place(i, 4)&flagOpen == 0 {
			t.Errorf("an interval that was seen has ended: %v", d.Intervals[i])
		}
	}
}

func TestOldSamplesOfStallAreTheHighestOfFiveMinutes(t *testing.T) {
	stall := func(at time.Duration, io int) history.Stall {
		return history.Stall{Time: begin.Truncate(stallStep).Add(at), Memory: -1, IO: io}
	}
	now := begin.Truncate(stallStep).Add(48 * time.Hour)
	d := decode(t, &Document{Begin: begin.Truncate(stallStep), Now: now, Stalls: []history.Stall{
		stall(10*time.Second, 3), stall(20*time.Second, 9), stall(299*time.Second, 4), stall(300*time.Second, 1),
		stall(24*time.Hour, 5), stall(24*time.Hour+10*time.Second, 6)}})
	if got := fmt.Sprint(d.Stalls); got != "[[0 -1 9 0] [300000 -1 1 0] [86100000 -1 5 0] [10000 -1 6 0]]" {
		t.Error(got)
	}
}

func TestForeignTextCannotEndTheScriptThatCarriesIt(t *testing.T) {
	const hostile = "</script><script>alert(1)</script><!-- \u2028 \"\\\x00\xff &amp; \U0001F600"
	var page bytes.Buffer
	d := &Document{Name: hostile, Begin: begin, Look: begin, Intervals: []history.Interval{
		{
			ID:   hostile,
			Kind: history.Hold,
			Name: hostile,
			Who:  history.Who{Repository: hostile, Run: hostile, RunURL: "javascript:alert(1)"},
		},
	}}
	if err := Standalone(&page, d); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(page.String(), "</script>"); n != 2 {
		t.Errorf("%d script elements end, of 2", n)
	}
	_, data, _ := strings.Cut(page.String(), `id="data">`)
	data, _, _ = strings.Cut(data, "</script>")
	var out struct{ Name string }
	if err := json.Unmarshal([]byte(data), &out); err != nil || out.Name != strings.ToValidUTF8(hostile, "\uFFFD") {
		t.Errorf("%q, %v", out.Name, err)
	}
	if strings.ContainsAny(data, "<>&\u2028") {
		t.Error("the data has characters of markup")
	}
}

func TestARunsURLIsKeptWithoutItsNumber(t *testing.T) {
	for url, want := range map[string]string{
		"https://git.example.com/a/b/actions/runs/12":  "https://git.example.com/a/b/actions/runs/",
		"https://git.example.com/a/b/actions/runs/112": "https://git.example.com/a/b/actions/runs/112",
		"https://git.example.com/a/b/":                 "https://git.example.com/a/b",
		"":                                             "",
	} {
		d := decode(t, &Document{Intervals: []history.Interval{{Who: history.Who{Run: "12", RunURL: url}}}})
		got := ""
		if row := d.Jobs[0]; len(row) > 4 {
			got = d.Strings[row[4]]
		}
		if got != want {
			t.Errorf("%q is kept as %q, want %q", url, got, want)
		}
	}
}

// many is 50,000 intervals of 90 days: a run's wait, hold and build each.
func many() *Document {
	d := &Document{Full: true, Name: "ci-host-1", Begin: begin, Now: after(90 * 86400), Look: after(90 * 86400)}
	for i := range 50_000 {
		run := fmt.Sprint(i/3 + 1)
		repository := []string{"wooo/shop", "wooo/blog", "wooo/docs"}[i/3%3]
		from := after(i * 155)
		d.Intervals = append(
			d.Intervals,
			history.Interval{ID: fmt.Sprintf("h%016x", i), Name: "host-docker-build", What: "image build",
				Kind: []history.Kind{history.Wait, history.Hold, history.Build}[i%3],
				From: from, Until: from.Add(time.Duration(i%7000) * 137 * time.Millisecond),
				End: history.EndReleased,
				Who: history.Who{Repository: repository, Workflow: "cd", Job: "build", Run: run, Actor: "mia",
					RunURL: "https://git.example.com/" + repository + "/actions/runs/" + run}},
		)
	}
	return d
}

func TestFiftyThousandIntervalsAreLessThanThreeMegabytes(t *testing.T) {
	if size := len(many().AppendJSON(nil)); size > 3_000_000 {
		t.Errorf("%d bytes", size)
	} else {
		t.Logf("%d bytes", size)
	}
}

func BenchmarkFiftyThousandIntervals(b *testing.B) {
	d := many()
	var to []byte
	for b.Loop() {
		to = d.AppendJSON(to[:0])
	}
	b.SetBytes(int64(len(to)))
}
