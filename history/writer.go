package history

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"hostguard/internal/safefile"
)

// Options are how much a Writer keeps, and where it runs.
type Options struct {
	Host string        // the host's name
	Size int64         // of all files; 0 is DefaultSize
	Age  time.Duration // of the oldest line, to a week; 0 is DefaultAge
	// Warn is called with the error when a write fails, and not again before one has
	// succeeded. It may be nil.
	Warn func(error)
}

// The defaults of Options.
const (
	DefaultSize = 64 << 20
	DefaultAge  = 90 * 24 * time.Hour
)

const (
	segmentSize = 1 << 20            // a full segment
	segmentAge  = 7 * 24 * time.Hour // so that old lines go by the week
	mostPending = 4 << 20            // of lines that could not be written yet

	// MostPause is the longest time between two looks in which the host still counts as
	// watched.
	MostPause = 30 * time.Second
)

// Writer writes a history. It is not safe for concurrent use.
//
// Guarantee: after a kill at any moment each file holds whole lines, at most one incomplete
// one at its end, which the next Open removes; what Look has returned for is there. Not
// guaranteed: that the last seconds survive a power cut.
type Writer struct {
	dir     string
	root    *os.Root
	options Options
	lock    *os.File

	segments []segment // the last one is current
	current  *os.File  // nil before the first line
	pending  []byte    // whole lines that could not be written yet
	torn     bool      // part of them was written, and could not be removed again
	failing  bool

	last    time.Time // the last look; zero in a new history
	first   bool      // no look has been written since Open
	carried map[string]Interval
	stall   Stall // the last one that was written
}

// Open opens a history for writing, and makes its directory. There is only one writer.
func Open(dir string, o Options) (*Writer, error) {
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	if o.Age == 0 {
		o.Age = DefaultAge
	}
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("make the directory of the history: %w", err)
	}
	root, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, root: root, options: o, first: true, carried: map[string]Interval{}}
	if err := w.takeOver(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// makeDir makes a directory that anyone can read, whatever the umask: what is in it, "status"
// shows anyone.
func makeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return errors.Join(err, os.Chmod(dir, 0o755))
}

// takeOver becomes the only writer and finds what the last one left open.
func (w *Writer) takeOver() (err error) {
	// Nobody else can open it: any reader could lock it.
	w.lock, err = w.root.OpenFile(lockName, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err == nil {
		err = syscall.Flock(int(w.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("the history in %q has a writer already; only one \"hostguard observe\" runs for a directory",
			w.dir)
	}
	if err != nil {
		return fmt.Errorf("lock the history in %q: %w", w.dir, err)
	}
	if w.segments, err = listSegments(w.root); err != nil {
		return fmt.Errorf("read the history in %q: %w", w.dir, err)
	}
	if n := len(w.segments); n > 0 {
		if err := w.openCurrent(os.O_RDWR); err != nil {
			return fmt.Errorf("continue the history in %q: %w", w.dir, err)
		}
	}
	// An interval that is open there may have ended in one of the last two segments: it was
	// written before the open ones were.
	recent := newBuilder()
	if err := recent.addSegments(w.root, w.segments[max(0, len(w.segments)-2):], 0); err != nil {
		return fmt.Errorf("read the history in %q: %w", w.dir, err)
	}
	data, err := safefile.ReadEntry(w.root, openName, mostFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the history in %q: %w", w.dir, err)
	}
	open := parseOpen(data)
	recent.dropEnded(open)
	for _, i := range open.Intervals() {
		w.carried[i.ID] = i
	}
	if w.last = open.LastLook; w.last.IsZero() && len(w.segments) > 0 {
		w.last = recent.lastTime()
	}
	return nil
}

// openCurrent opens the last segment, and removes an incomplete line at its end.
func (w *Writer) openCurrent(flags int) (err error) {
	s := &w.segments[len(w.segments)-1]
	w.current, err = w.root.OpenFile(s.name, flags|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err == nil {
		err = w.current.Chmod(0o644)
	}
	if err != nil {
		return err
	}
	tail := make([]byte, min(s.size, 2*mostLine))
	if _, err := w.current.ReadAt(tail, s.size-int64(len(tail))); err != nil {
		return err
	}
	if whole := int64(bytes.LastIndexByte(tail, '\n') + 1); whole < int64(len(tail)) {
		s.size -= int64(len(tail)) - whole
		return w.current.Truncate(s.size)
	}
	return nil
}

// Look writes what a look at the host has seen: what is open, what has ended since the look
// before, and the stall, which may be nil. The next look's ended ones are others. An
// interval that a killed writer has left open ends at its last look, unless it is among
// open or ended.
//
// On failure the lines are kept, within bounds, and written with a later look.
func (w *Writer) Look(at time.Time, open, ended []Interval, stall *Stall) error {
	at = time.UnixMilli(at.UnixMilli())
	for _, i := range ended {
		w.end(w.continued(i), i.End)
	}
	still := make([]Interval, 0, len(open))
	for _, i := range open {
		i = w.continued(i)
		i.Open, i.Until = true, at
		if i.Kind != Runner { // whose end is its state
			i.End = ""
		}
		still = append(still, i)
	}
	w.endUnseen(still)
	if !w.last.IsZero() && (w.first && at.After(w.last) || at.Sub(w.last) > MostPause) {
		w.add(line{Kind: kindGap, From: w.last.UnixMilli(), Until: at.UnixMilli()})
	}
	if stall != nil && w.worthKeeping(*stall) {
		w.stall = *stall
		w.add(line{Kind: kindStall, From: stall.Time.UnixMilli(), Memory: int64(stall.Memory), IO: int64(stall.IO),
			CPU: int64(stall.CPU)})
	}
	w.first, w.last = false, at
	err := w.write(at)
	if err == nil {
		err = w.saveOpen(at, still)
	}
	if err != nil {
		err = fmt.Errorf("write the history in %q: %w", w.dir, err)
		if !w.failing && w.options.Warn != nil {
			w.options.Warn(err)
		}
	}
	w.failing = err != nil
	return err
}

// continued returns an interval with the beginning that an earlier writer has seen.
func (w *Writer) continued(i Interval) Interval {
	if before, found := w.carried[i.ID]; found && before.From.Before(i.From) {
		i.From = before.From
	}
	return i
}

// endUnseen ends what the last writer left open and this one does not see, at its first
// look.
func (w *Writer) endUnseen(open []Interval) {
	if !w.first {
		return
	}
	seen := map[string]bool{}
	for _, i := range open {
		seen[i.ID] = true
	}
	for id, i := range w.carried {
		switch {
		case seen[id]:
		case i.Kind == Runner:
			w.end(i, i.End)
		default:
			w.end(i, EndUnseen)
		}
	}
}

func (w *Writer) end(i Interval, how string) {
	delete(w.carried, i.ID)
	i.Open, i.End = false, how
	w.add(lineOf(i))
}

// worthKeeping reports whether a sample says more than that nothing has changed: most of
// the time a host's do not.
func (w *Writer) worthKeeping(s Stall) bool {
	near := func(a, b int) bool { return a-b < 2 && b-a < 2 }
	return s.Time.Sub(w.stall.Time) >= time.Minute || s.Time.Before(w.stall.Time) ||
		!near(s.Memory, w.stall.Memory) || !near(s.IO, w.stall.IO) || !near(s.CPU, w.stall.CPU)
}

// add adds a line to those to be written. The oldest ones go if there are too many.
func (w *Writer) add(l line) {
	w.pending = l.appendTo(w.pending)
	for len(w.pending) > mostPending {
		w.pending = w.pending[bytes.IndexByte(w.pending, '\n')+1:]
	}
}

// write writes the pending lines, all or none.
func (w *Writer) write(at time.Time) error {
	if err := w.rotate(at.UnixMilli()); err != nil {
		return err
	}
	if len(w.pending) == 0 {
		return nil
	}
	current := &w.segments[len(w.segments)-1]
	if w.torn {
		if err := w.current.Truncate(current.size); err != nil {
			return err
		}
	}
	_, err := w.current.Write(w.pending)
	if w.torn = err != nil; w.torn {
		w.torn = w.current.Truncate(current.size) != nil
		return err
	}
	current.size += int64(len(w.pending))
	w.pending = w.pending[:0]
	return nil
}

// rotate begins a new segment if there is none, or the current one is full or old, and then
// removes what is too old or too much. A segment's name is later than that of the one
// before, even if the clock was set back.
func (w *Writer) rotate(now int64) error {
	n := len(w.segments)
	full := min(segmentSize, w.options.Size/8)
	if n > 0 {
		last := w.segments[n-1]
		if last.size < full && now-last.from < segmentAge.Milliseconds() {
			return nil
		}
		now = max(now, last.from+1)
	}
	before := w.current
	w.segments = append(w.segments, segment{from: now, name: segmentName(now)})
	if err := w.openCurrent(os.O_RDWR | os.O_CREATE | os.O_EXCL); err != nil {
		w.segments, w.current = w.segments[:n], before
		return err
	}
	if before != nil {
		before.Close()
	}
	return w.expire(now)
}

// expire removes the oldest segments.
func (w *Writer) expire(now int64) error {
	var size int64
	for _, s := range w.segments {
		size += s.size
	}
	full := min(segmentSize, w.options.Size/8) // that the current one will have
	for len(w.segments) > 1 &&
		(size > w.options.Size-full || now-w.segments[1].from > w.options.Age.Milliseconds()) {
		if err := safefile.Remove(w.root, w.segments[0].name); err != nil {
			return err
		}
		size -= w.segments[0].size
		w.segments = w.segments[1:]
	}
	return nil
}

// saveOpen replaces the file of the open intervals. It does not wait for the disk: it is
// written every second.
func (w *Writer) saveOpen(at time.Time, open []Interval) error {
	data := line{Kind: kindLook, Name: w.options.Host, From: at.UnixMilli()}.appendTo(nil)
	for _, i := range open {
		data = lineOf(i).appendTo(data)
	}
	const temp = "." + openName + ".new"
	f, err := w.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return w.root.Rename(temp, openName)
}

// Close ends the writing. What is open stays so until the next writer's first look.
func (w *Writer) Close() error {
	var errs []error
	for _, f := range []*os.File{w.current, w.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(append(errs, w.root.Close())...)
}
