package history

import (
	"hash/maphash"
	"slices"
	"time"
)

// Gap is a time in which nobody watched.
type Gap struct{ From, Until time.Time }

// Record is what a history knows. A year of a busy host has a million intervals: a record
// keeps them as rows of numbers, and each text once. It is not safe for concurrent use.
type Record struct {
	Host     string
	Begin    time.Time // of the history, whatever part of it was read
	LastLook time.Time
	Bytes    int64 // of its files
	Stalls   []Stall
	Gaps     []Gap

	rows  []row    // the ended ones in the order in which they ended, then the open ones
	jobs  []jobRow // whose they are
	texts []string
	bytes []byte // texts that do not come again: of rows their IDs, of jobs their runs
	index *index
}

// row is an interval.
type row struct {
	from, until               int64 // ms
	who                       uint32
	name, what, end, evidence uint32
	id                        uint32 // where its ID begins in bytes
	idLength                  uint16
	kind                      uint8 // in knownKinds
	open, plain               bool
}

func (r *row) is() Kind { return Kind(knownKinds[r.kind]) }

// jobRow is a Who.
type jobRow struct {
	repository, workflow, job, actor, person uint32

	run                  uint32 // where its run and then the run's URL begin in bytes
	runLength, urlLength uint16
}

// job returns a job by its place.
func (r *Record) job(n uint32) Who {
	j := &r.jobs[n]
	return Who{Repository: r.texts[j.repository], Workflow: r.texts[j.workflow], Job: r.texts[j.job],
		Run: string(r.run(j)), RunURL: string(r.url(j)), Actor: r.texts[j.actor], Person: r.texts[j.person]}
}

func (r *Record) run(j *jobRow) []byte { return r.bytes[j.run:][:j.runLength] }

func (r *Record) url(j *jobRow) []byte { return r.bytes[j.run:][j.runLength:][:j.urlLength] }

func (r *Record) whoOf(w *row) Who { return r.job(w.who) }

func (r *Record) repository(w *row) string { return r.texts[r.jobs[w.who].repository] }

// interval returns the interval of a row.
func (r *Record) interval(n int) Interval {
	w := &r.rows[n]
	return Interval{
		ID: string(r.id(n)), Kind: Kind(knownKinds[w.kind]), Name: r.texts[w.name],
		Who: r.job(w.who), What: r.texts[w.what], From: time.UnixMilli(w.from), Until: time.UnixMilli(w.until),
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

// who returns the place of a job.
func (b *builder) who(w Who) uint32 {
	hash := maphash.Comparable(seed, w)
	n, found := b.whoAt[hash]
	if found && b.job(n) == w {
		return n
	}
	w.Run, w.RunURL = cut(w.Run, mostBytesOfText), cut(w.RunURL, mostBytesOfURL)
	b.jobs = append(b.jobs, jobRow{
		repository: b.text(w.Repository), workflow: b.text(w.Workflow), job: b.text(w.Job), actor: b.text(w.Actor),
		person: b.text(w.Person), run: uint32(len(b.bytes)), runLength: uint16(len(w.Run)),
		urlLength: uint16(len(w.RunURL)),
	})
	b.bytes = append(append(b.bytes, w.Run...), w.RunURL...)
	n = uint32(len(b.jobs) - 1)
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
		id, who := cut(l.ID, mostBytesOfText), b.who(l.who())
		b.rows = append(b.rows, row{
			from: l.From, until: max(l.From, l.Until), who: who, name: b.text(l.Name),
			what: b.text(l.What), end: b.text(l.End), evidence: b.text(l.Evidence),
			id: uint32(len(b.bytes)), idLength: uint16(len(id)), kind: uint8(kind), open: l.Open, plain: l.Plain,
		})
		b.bytes = append(b.bytes, id...)
	}
}

// addRecord adds what another record has.
func (b *builder) addRecord(o *Record) {
	texts, who := make([]uint32, len(o.texts)), make([]uint32, len(o.jobs))
	for i, text := range o.texts {
		texts[i] = b.text(text)
	}
	for i := range o.jobs {
		who[i] = b.who(o.job(uint32(i)))
	}
	for i, r := range o.rows {
		r.who, r.name, r.what, r.end, r.evidence = who[r.who], texts[r.name], texts[r.what], texts[r.end],
			texts[r.evidence]
		r.id = uint32(len(b.bytes))
		b.bytes, b.rows = append(b.bytes, o.id(i)...), append(b.rows, r)
	}
	b.Stalls, b.Gaps = append(b.Stalls, o.Stalls...), append(b.Gaps, o.Gaps...)
}
