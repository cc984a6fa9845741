package history

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"hostguard/internal/safefile"
)

// What a reader takes, of files that others may have made.
const (
	mostFile  = 16 << 20 // of one file
	mostBytes = 1 << 30  // of all, the newest first
)

// ErrNone reports that there is no history in a directory.
var ErrNone = errors.New("no history")

// Read reads the intervals of a history that ended at since or later, and those that are
// open. It does not disturb the writer, and what the writer adds meanwhile it may miss.
func Read(dir string, since time.Time) (*Record, error) {
	root, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// The open intervals first: one that ends meanwhile is then there twice, not lost.
	open, err := safefile.ReadEntry(root, openName, mostFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the history in %q: %w", dir, err)
	}
	segments, err := listSegments(root)
	if err != nil {
		return nil, fmt.Errorf("read the history in %q: %w", dir, err)
	}
	if open == nil && len(segments) == 0 {
		return nil, fmt.Errorf("%w in %q; start \"hostguard observe\", or name its directory", ErrNone, dir)
	}
	b := newBuilder()
	b.Bytes = int64(len(open))
	for _, s := range segments {
		b.Bytes += s.size
	}
	if len(segments) > 0 {
		b.Begin = time.UnixMilli(segments[0].from)
	}
	still := parseOpen(open)
	b.Host, b.LastLook = still.Host, still.LastLook
	if err := b.addSegments(root, wanted(segments, since.UnixMilli()), since.UnixMilli()); err != nil {
		return nil, fmt.Errorf("read the history in %q: %w", dir, err)
	}
	b.dropEnded(still)
	b.addRecord(still)
	b.dropSeenAgain()
	slices.SortFunc(b.Gaps, func(a, b Gap) int { return a.From.Compare(b.From) })
	if b.LastLook.IsZero() { // the file of the open intervals was lost
		b.LastLook = b.lastTime()
	}
	return b.Record, nil
}

// segment is one of the files with ended intervals.
type segment struct {
	from, size int64
	name       string
}

func listSegments(root *os.Root) (all []segment, err error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		from, ok := segmentTime(e.Name())
		if info, err := e.Info(); ok && err == nil && info.Mode().IsRegular() {
			all = append(all, segment{from, info.Size(), e.Name()})
		}
	}
	slices.SortFunc(all, func(a, b segment) int { return int(a.from - b.from) })
	return all, nil
}

// wanted returns the segments with lines since a time, the newest within bounds: what is in
// one had ended when the next began.
func wanted(segments []segment, since int64) []segment {
	var size int64
	for i := len(segments) - 1; i >= 0; i-- {
		if size += segments[i].size; size > mostBytes || i+1 < len(segments) && segments[i+1].from < since {
			return segments[i+1:]
		}
	}
	return segments
}

// addSegments reads segments, several at a time, and adds them in their order.
func (b *builder) addSegments(root *os.Root, segments []segment, since int64) error {
	type result struct {
		*Record
		err error
	}
	results := make([]chan result, len(segments))
	for i := range results {
		results[i] = make(chan result, 1)
	}
	next := make(chan int)
	var workers sync.WaitGroup
	many := min(runtime.GOMAXPROCS(0), len(segments))
	for range many {
		workers.Go(func() {
			for i := range next {
				data, err := safefile.ReadEntry(root, segments[i].name, mostFile)
				if errors.Is(err, fs.ErrNotExist) { // it was too old
					data, err = nil, nil
				}
				results[i] <- result{parseSegment(data, since), err}
			}
		})
	}
	var failed error
	for i := range len(segments) + many { // the workers are at most so many segments ahead
		if i < len(segments) {
			next <- i
		}
		if i < many {
			continue
		}
		r := <-results[i-many]
		results[i-many] = nil
		if r.err != nil && failed == nil {
			failed = r.err
		}
		b.addRecord(r.Record)
		if i == many {
			b.reserve(segments)
		}
	}
	close(next)
	workers.Wait()
	return failed
}

// reserve makes room for all segments, given the first one: growing step by step would need
// twice the memory.
func (b *builder) reserve(segments []segment) {
	var size int64
	for _, s := range segments {
		size += s.size
	}
	if first := segments[0].size; first > 0 && len(segments) > 2 {
		grow := func(n int) int { return int(float64(n) * 1.05 * float64(size-first) / float64(first)) }
		b.rows, b.jobs = slices.Grow(b.rows, grow(len(b.rows))), slices.Grow(b.jobs, grow(len(b.jobs)))
		b.bytes = slices.Grow(b.bytes, grow(len(b.bytes)))
	}
}

// parseSegment returns what has not ended before since. An incomplete last line is still
// being written.
func parseSegment(data []byte, since int64) *Record {
	b, p := newBuilder(), parser{map[string]string{}}
	for {
		text, rest, complete := bytes.Cut(data, []byte{'\n'})
		if !complete {
			return b.Record
		}
		data = rest
		l, ok := p.parse(text)
		if ok && max(l.From, l.Until) >= since && l.Kind != kindLook && !l.Open {
			b.add(&l)
		}
	}
}

// parseOpen returns the last look and what was open then.
func parseOpen(data []byte) *Record {
	b, p := newBuilder(), parser{map[string]string{}}
	for text := range bytes.Lines(data) {
		l, ok := p.parse(bytes.TrimSuffix(text, []byte{'\n'}))
		if ok && (l.Kind == kindLook || l.Open) {
			b.add(&l)
		}
	}
	return b.Record
}

// dropEnded removes from still, what was open, the intervals that have ended since. One whose
// end was not seen may be open again.
func (b *builder) dropEnded(still *Record) {
	open := map[string]int{}
	for i := range still.rows {
		open[string(still.id(i))] = i
	}
	for i := range b.rows {
		if n, found := open[string(b.id(i))]; found && b.texts[b.rows[i].end] != EndUnseen {
			still.rows[n].kind = dropped
		}
	}
	still.drop()
}

// dropSeenAgain removes the intervals whose end was not seen and that were seen again later.
func (r *Record) dropSeenAgain() {
	unseen := map[string]int{}
	for i := range r.rows {
		if n, found := unseen[string(r.id(i))]; found {
			r.rows[n].kind = dropped
		}
		if r.texts[r.rows[i].end] == EndUnseen {
			unseen[string(r.id(i))] = i
		}
	}
	r.drop()
}

const dropped = 255 // no kind

// drop removes the rows that are marked so.
func (r *Record) drop() {
	r.rows = slices.DeleteFunc(r.rows, func(w row) bool { return w.kind == dropped })
}

func (r *Record) id(n int) []byte { return r.bytes[r.rows[n].id:][:r.rows[n].idLength] }

// lastTime returns the latest time of any line.
func (r *Record) lastTime() time.Time {
	last := int64(0)
	for _, w := range r.rows {
		last = max(last, w.until)
	}
	if n := len(r.Stalls); n > 0 {
		last = max(last, r.Stalls[n-1].Time.UnixMilli())
	}
	if n := len(r.Gaps); n > 0 {
		last = max(last, r.Gaps[n-1].Until.UnixMilli())
	}
	return time.UnixMilli(last)
}

// openDir opens the directory of a history. Root trusts only one that nobody else can
// write to: whatever is in it, root has put there.
func openDir(dir string) (*os.Root, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() { // to open a pipe would wait for ever
		err = &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %q; start \"hostguard observe\", or name its directory", ErrNone, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	info, err = root.Stat(".")
	if err == nil && os.Geteuid() == 0 && (info.Sys().(*syscall.Stat_t).Uid != 0 || info.Mode().Perm()&0o022 != 0) {
		err = fmt.Errorf("the history in %q can be written by others than root; run this as its owner", dir)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}
