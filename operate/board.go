package operate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/observe"
	"hostguard/page"
)

const (
	// boardSpan is the time that the page shows at first, and mostShown what of it at most.
	boardSpan = 30 * 24 * time.Hour
	mostShown = 50_000
	// mostRecent is how many of the last ended intervals are kept for pages that come back.
	mostRecent = 2000
	sizeEvery  = 30 * time.Second
)

// record is the history that the observer writes.
type record struct {
	*history.Writer
	dir   string
	begin time.Time // of what was there at the start, if anything was

	mu   sync.Mutex
	size due[int64]
}

var _ observe.Recorder = (*record)(nil)

// openRecord opens the history in dir for writing, and calls learn with each lock that it knows.
func openRecord(dir string, s *cli.Session, host string, learn func(lockName string)) (*record, error) {
	w, err := history.Open(dir, history.Options{Host: host, Warn: func(err error) { s.Warning("%v", err) }})
	if err != nil {
		return nil, err
	}
	known, err := history.Read(dir, time.Now().Add(-boardSpan))
	if err != nil && !errors.Is(err, history.ErrNone) {
		s.Warning("%v; what it knows of locks is not used", err)
	}
	r := &record{Writer: w, dir: dir}
	if known != nil {
		r.begin = known.Begin
		for _, i := range known.Intervals() {
			if i.Kind == history.Hold || i.Kind == history.Wait {
				learn(i.Name)
			}
		}
	}
	return r, nil
}

// Bytes implements observe.Recorder.
func (r *record) Bytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size.see(sizeEvery, func() (size int64) {
		_ = filepath.WalkDir(r.dir, func(_ string, file fs.DirEntry, err error) error {
			if err == nil && file.Type().IsRegular() {
				if info, err := file.Info(); err == nil { // else it was rotated away
					size += info.Size()
				}
			}
			return nil
		})
		return size
	})
}

// board is what the page gets of the looks and of the history.
type board struct {
	*record
	host, program string
	in, out       []string // of sight

	mu     sync.Mutex
	look   observe.Look
	open   []history.Interval
	recent []recent
	gaps   []history.Gap
	from   time.Time // since when recent and gaps have all

	reading sync.Mutex // one reader of the history is enough
}

// recent is an interval that has ended, and the look that showed it.
type recent struct {
	history.Interval
	at time.Time
}

// saw takes over a look, and returns what it changes for the page.
func (b *board) saw(l observe.Look, open, ended []history.Interval) *page.Document {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from.IsZero() {
		b.from = l.At
	}
	if b.begin.IsZero() { // of a new history
		b.begin = l.At
	}
	gap := history.Gap{From: b.look.At, Until: l.At}
	isGap := !gap.From.IsZero() && gap.Until.Sub(gap.From) > history.MostPause
	b.look, b.open = l, open
	for _, i := range ended {
		b.recent = append(b.recent, recent{i, l.At})
	}
	if more := len(b.recent) - mostRecent; more > 0 {
		b.from = b.recent[more-1].at.Add(time.Millisecond)
		b.recent = slices.Delete(b.recent, 0, more)
	}
	d := b.newDocument(slices.Concat(open, ended))
	if isGap {
		d.Gaps = []history.Gap{gap}
		b.gaps = append(b.gaps, gap)
		b.gaps = b.gaps[max(0, len(b.gaps)-mostRecent):]
	}
	if !l.Stall.Time.IsZero() {
		d.Stalls = []history.Stall{l.Stall}
	}
	return d
}

// newDocument returns a document with what the last look has shown of the host.
func (b *board) newDocument(intervals []history.Interval) *page.Document {
	return &page.Document{Name: b.host, Program: b.program, Now: time.Now(), Begin: b.begin, Look: b.look.At,
		Bytes: b.Bytes(), Days: int(history.DefaultAge / (24 * time.Hour)), Intervals: intervals,
		Host: page.Host{MemoryAvailable: b.look.MemoryAvailable, MemoryTotal: b.look.MemoryTotal, Load: b.look.Load,
			InSight: b.in, OutOfSight: b.out}}
}

// document returns all that the page shows at first: the last intervals of the history.
func (b *board) document() ([]byte, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	h, err := history.Read(b.dir, time.Now().Add(-boardSpan))
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	live := map[string]history.Interval{}
	for _, i := range b.open {
		live[i.ID] = i
	}
	intervals := h.Intervals()
	intervals = intervals[max(0, len(intervals)-mostShown):]
	for n, i := range intervals {
		if now, open := live[i.ID]; open { // the last look knows more than the file
			now.From = i.From
			intervals[n] = now
			delete(live, i.ID)
		}
	}
	for _, i := range b.open {
		if _, left := live[i.ID]; left {
			intervals = append(intervals, i)
		}
	}
	d := b.newDocument(intervals)
	d.Full, d.Begin, d.Stalls, d.Gaps = true, h.Begin, h.Stalls, h.Gaps
	if b.look.At.IsZero() {
		d.Look = h.LastLook
	}
	return d.AppendJSON(nil), nil
}

// since returns what a page lacks that has all until then, in milliseconds; everything, if
// that is not known here any more.
func (b *board) since(then string) []byte {
	ms, err := strconv.ParseInt(then, 10, 64)
	b.mu.Lock()
	known := err == nil && !b.from.IsZero() && !time.UnixMilli(ms).Before(b.from)
	if !known {
		b.mu.Unlock()
		full, err := b.document()
		if err != nil {
			return nil
		}
		return full
	}
	defer b.mu.Unlock()
	intervals := slices.Clone(b.open)
	for _, r := range b.recent {
		if r.at.UnixMilli() >= ms {
			intervals = append(intervals, r.Interval)
		}
	}
	d := b.newDocument(intervals)
	for _, g := range b.gaps {
		if g.Until.UnixMilli() >= ms {
			d.Gaps = append(d.Gaps, g)
		}
	}
	return d.AppendJSON(nil)
}

// lastLook returns when the locks were last seen.
func (b *board) lastLook() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.look.At
}

// hostName returns the name of this host, for people.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "this host"
	}
	return fmt.Sprintf("%.100s", name)
}
