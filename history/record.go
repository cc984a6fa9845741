package history

import (
	"hash/maphash"
	"slices"
	"time"
)

// Gap is a time in which nobody watched.
type Gap struct{ From, Until time.Time }

// Record is what a history knows. A year of a busy host has a million intervals: a record
// keeps them as rows of numbers, and each text once.
type Record struct {
	Host     string
	Begin    time.Time // of the history, whatever part of it was read
	LastLook time.Time
	Bytes    int64 // of its files
	Stalls   []Stall
	Gaps     []Gap

	rows  []row // the ended ones in the order in which they ended, then the open ones
	ids   []byte
	texts []string
	who   []Who
	index *index
}

// row is an interval.
type row struct {
	from, until               int64 // ms
	who                       uint32
	name, what, end, evidence uint32
	id                        uint32 // where its ID begins
	idLength                  uint16
	kind                      uint8 // in knownKinds
	open, plain               bool
}

func (r *row) is() Kind { return Kind(knownKinds[r.kind]) }

// interval returns the interval of a row.
func (r *Record) interval(n int) Interval {
	w := r.rows[n]
	return Interval{
		ID: string(r.ids[w.id:][:w.idLength]), Kind: Kind(knownKinds[w.kind]), Name: r.texts[w.name],
		Who: r.who[w.who], What: r.texts[w.what], From: time.UnixMilli(w.from), Until: time.UnixMilli(w.until),
		Open: w.open, End: r.texts[w.end], Evidence: r.texts[w.evidence], Plain: w.plain,
	}
}

// Intervals returns all intervals: the ended ones in the order in which they ended, then
// the open ones.
func (r *Record) Intervals() []Interval {
	all := make([]Interval, len(r.rows))
	for i := range r.rows {
		all[i] = r.interval(i)
	}
	return all
}

// builder makes a record.
type builder struct {
	*Record
	textAt map[string]uint32
	// whoAt has the places of the jobs by their hashes, since the jobs themselves would be
	// most of its memory. Of two with one hash it has the first; the other is then there
	// more than once.
	whoAt map[uint64]uint32
}

var seed = maphash.MakeSeed()

func newBuilder() *builder {
	return &builder{&Record{}, map[string]uint32{}, map[uint64]uint32{}}
}

func (b *builder) text(s string) uint32 {
	n, found := b.textAt[s]
	if !found {
		n = uint32(len(b.texts))
		b.texts, b.textAt[s] = append(b.texts, s), n
	}
	return n
}

func (b *builder) person(w Who) uint32 {
	hash := maphash.Comparable(seed, w)
	n, found := b.whoAt[hash]
	if found && b.who[n] == w {
		return n
	}
	// A text is in memory once, whatever file it came from.
	for _, text := range []*string{&w.Repository, &w.Workflow, &w.Job, &w.Actor, &w.Person} {
		*text = b.texts[b.text(*text)]
	}
	n = uint32(len(b.who))
	b.who = append(b.who, w)
	if !found {
		b.whoAt[hash] = n
	}
	return n
}

// add adds a line.
func (b *builder) add(l *line) {
	kind := slices.Index(knownKinds, l.Kind)
	switch {
	case kind < 0:
	case l.Kind == kindLook:
		b.Host, b.LastLook = l.Name, time.UnixMilli(l.From)
	case l.Kind == kindStall:
		b.Stalls = append(b.Stalls, l.stall())
	case l.Kind == kindGap:
		if l.Until > l.From {
			b.Gaps = append(b.Gaps, Gap{time.UnixMilli(l.From), time.UnixMilli(l.Until)})
		}
	default:
		id := cut(l.ID, mostBytesOfText)
		b.rows = append(b.rows, row{
			from: l.From, until: max(l.From, l.Until), who: b.person(l.who()), name: b.text(l.Name),
			what: b.text(l.What), end: b.text(l.End), evidence: b.text(l.Evidence),
			id: uint32(len(b.ids)), idLength: uint16(len(id)), kind: uint8(kind), open: l.Open, plain: l.Plain,
		})
		b.ids = append(b.ids, id...)
	}
}

// addRecord adds what another record has.
func (b *builder) addRecord(o *Record) {
	texts, who := make([]uint32, len(o.texts)), make([]uint32, len(o.who))
	for i, text := range o.texts {
		texts[i] = b.text(text)
	}
	for i, w := range o.who {
		who[i] = b.person(w)
	}
	base := uint32(len(b.ids))
	b.ids = append(b.ids, o.ids...)
	for _, r := range o.rows {
		r.who, r.name, r.what, r.end, r.evidence = who[r.who], texts[r.name], texts[r.what], texts[r.end],
			texts[r.evidence]
		r.id += base
		b.rows = append(b.rows, r)
	}
	b.Stalls, b.Gaps = append(b.Stalls, o.Stalls...), append(b.Gaps, o.Gaps...)
}
