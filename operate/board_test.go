package operate

import (
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"testing"
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/observe"
)

// shown is what a test reads of a document.
type shown struct {
	Full      bool
	Begin     int64
	Bytes     int64
	Intervals [][]any
	Gaps      [][]int64
}

func decode(t *testing.T, data []byte) (d shown, ids []string) {
	t.Helper()
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	for _, i := range d.Intervals {
		ids = append(ids, i[0].(string))
	}
	slices.Sort(ids)
	return d, ids
}

// newBoard returns the board of a new history, and what takes a look over.
func newBoard(t *testing.T) (*board, func(at time.Time, open, ended []history.Interval)) {
	t.Helper()
	world := cli.World{Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: io.Discard}
	r, err := openRecord(t.TempDir(), cli.NewSession(world, nil), "ci-host-1", func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	b := &board{record: r}
	return b, func(at time.Time, open, ended []history.Interval) {
		if err := r.Look(at, open, ended, nil); err != nil {
			t.Error(err)
		}
		b.saw(observe.Look{At: at}, open, ended)
	}
}

func TestAPageGetsAllAtFirstAndThenWhatItLacks(t *testing.T) {
	b, saw := newBoard(t)
	begin := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	hold := func(id string, from, until time.Duration) history.Interval {
		return history.Interval{ID: id, Kind: history.Hold, Name: "a", From: begin.Add(from), Until: begin.Add(until)}
	}
	one, two := hold("one", 0, time.Second), hold("two", time.Second, 2*time.Second)
	three := hold("three", 2*time.Second, 0)
	three.Open = true
	saw(begin, nil, nil)
	saw(begin.Add(time.Second), nil, []history.Interval{one})
	saw(begin.Add(2*time.Second), nil, []history.Interval{two})
	saw(begin.Add(3*time.Second), []history.Interval{three}, nil)
	full, err := b.document()
	if err != nil {
		t.Fatal(err)
	}
	d, ids := decode(t, full)
	if !d.Full || d.Begin != begin.UnixMilli() || !slices.Equal(ids, []string{"one", "three", "two"}) {
		t.Errorf("at first: full %v, begin %d, want %d, %q", d.Full, d.Begin, begin.UnixMilli(), ids)
	}
	at := func(after time.Duration) string { return strconv.FormatInt(begin.Add(after).UnixMilli(), 10) }
	d, ids = decode(t, b.since(at(1500*time.Millisecond)))
	if d.Full || d.Begin != begin.UnixMilli() || !slices.Equal(ids, []string{"three", "two"}) {
		t.Errorf("then: full %v, begin %d, %q", d.Full, d.Begin, ids)
	}
	for _, unknown := range []string{"", "x", at(-time.Minute)} {
		if d, _ := decode(t, b.since(unknown)); !d.Full {
			t.Errorf("since %q it gets no full document", unknown)
		}
	}
	saw(begin.Add(10*time.Minute), []history.Interval{three}, nil)
	if d, _ := decode(t, b.since(at(4*time.Second))); len(d.Gaps) != 1 {
		t.Errorf("the gaps are %v", d.Gaps)
	}
}

// What pages that come back may lack is bounded.
func TestABoardForgetsWhatIsLongAgo(t *testing.T) {
	b, _ := newBoard(t)
	begin := time.Now()
	for n := range mostRecent + 10 {
		b.saw(observe.Look{At: begin.Add(time.Duration(n) * time.Second)}, nil, []history.Interval{{ID: "x"}})
	}
	if len(b.recent) != mostRecent || !b.from.After(begin.Add(9*time.Second)) {
		t.Errorf("%d are kept, since %s", len(b.recent), b.from.Sub(begin))
	}
}
