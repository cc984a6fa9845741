package history

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"time"
)

const (
	// handOff is the longest time in which a lock that others wait for changes hands: it
	// belongs to the hold before.
	handOff = 5 * time.Second
	// joinWithin is the longest time between two waits of a job that are one to its
	// author, such as one for pressure and then one for the lock.
	joinWithin = 10 * time.Minute
	// usualSince and usualLeast are how far back and how many holds of a job are compared.
	usualSince, usualLeast = 30 * 24 * time.Hour, 5
)

// Parts returns what was in the way of a wait: the parts of the given holds, reservations
// or builds that go before its end, in the order of time, and the times in which nobody was
// seen or nobody watched. Their times add up to the wait's. Of several holds at once, as of
// a lock with several slots, the one that ended first counts: its end let the next in.
//
// A job that waits needs no history for it: what it has seen itself is enough, each holder
// from when it was seen until another was.
func Parts(wait Interval, causes []Interval, gaps []Gap) []Part {
	spans := make([]span, len(causes))
	for i, c := range causes {
		spans[i] = span{c.From.UnixMilli(), c.Until.UnixMilli(), i}
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var parts []Part
	for _, p := range divide(wait.From.UnixMilli(), wait.Until.UnixMilli(), spans, gaps) {
		cause := Interval{}
		if p.of >= 0 {
			cause = causes[p.of]
		}
		parts = append(parts, p.part(cause, wait.Kind))
	}
	return parts
}

// span is a time, in ms, of the cause with an index, or of one of these.
type span struct {
	from, until int64
	of          int
}

const (
	unseen    = -1
	unwatched = -2
)

// piece is the time of a wait that has one cause, from first to last.
type piece struct {
	span
	time int64
}

func (p piece) part(cause Interval, waited Kind) Part {
	part := Part{
		Kind: cause.Kind, Name: cause.Name, Who: cause.Who, What: cause.What, Plain: cause.Plain, End: cause.End,
		Evidence: cause.Evidence, From: time.UnixMilli(p.from), Until: time.UnixMilli(p.until),
		Time: time.Duration(p.time) * time.Millisecond,
	}
	switch {
	case p.of == unwatched:
		part.Kind = Unwatched
	case p.of == unseen && waited == Pressure:
		part.Kind = Build // or the memory of one that had ended
	case p.of >= 0:
		part.Held = cause.Until.Sub(cause.From)
	}
	return part
}

// divide divides a time among causes, which are sorted by their beginning, and joins what is
// of one cause.
func divide(from, until int64, causes []span, gaps []Gap) []piece {
	var spans []span
	var active []span
	for now := from; now < until; {
		for len(causes) > 0 && causes[0].from <= now {
			active, causes = append(active, causes[0]), causes[1:]
		}
		active = slices.DeleteFunc(active, func(s span) bool { return s.until <= now })
		if len(active) > 0 {
			first := slices.MinFunc(active, func(a, b span) int { return cmp.Compare(a.until, b.until) })
			end := min(first.until, until)
			spans, now = append(spans, span{now, end, first.of}), end
			continue
		}
		end := until
		if len(causes) > 0 {
			end = min(end, causes[0].from)
		}
		spans, now = append(spans, nobody(now, end, gaps)...), end
	}
	return joined(spans)
}

// nobody returns a time without a cause as one in which nobody was seen or nobody watched.
func nobody(from, until int64, gaps []Gap) (spans []span) {
	i, _ := slices.BinarySearchFunc(gaps, from, func(g Gap, t int64) int {
		return cmp.Compare(g.Until.UnixMilli(), t+1)
	})
	for _, g := range gaps[i:] {
		begin, end := max(from, g.From.UnixMilli()), min(until, g.Until.UnixMilli())
		if !g.From.Before(time.UnixMilli(until)) {
			break
		}
		if begin >= end {
			continue
		}
		if from < begin {
			spans = append(spans, span{from, begin, unseen})
		}
		spans, from = append(spans, span{begin, end, unwatched}), end
	}
	if from < until {
		spans = append(spans, span{from, until, unseen})
	}
	return spans
}

// joined makes one piece of the spans of each cause, and gives hand-offs to the cause before
// them, or after the first.
func joined(spans []span) []piece {
	of := -3
	for i := range spans {
		short := spans[i].of == unseen && spans[i].until-spans[i].from <= handOff.Milliseconds()
		if short && i > 0 {
			spans[i].of = of
		} else if short && len(spans) > 1 {
			spans[i].of = spans[1].of
		}
		of = spans[i].of
	}
	var pieces []piece
	at := map[int]int{}
	for _, s := range spans {
		i, found := at[s.of]
		if !found {
			i = len(pieces)
			pieces, at[s.of] = append(pieces, piece{span: s}), i
		}
		pieces[i].until = s.until
		pieces[i].time += s.until - s.from
	}
	if len(pieces) == 1 && pieces[0].of == unseen && pieces[0].time <= handOff.Milliseconds() {
		return nil // nobody was in the way for so short a time
	}
	return pieces
}

// index is what explanations need of a record, made once.
type index struct {
	holds  map[uint32][]int32 // of each lock, and reservations, by their beginning
	builds []int32
	waits  []int32
	jobs   [][]int32 // the waits of each job, by their beginning
	usual  map[usualKey]int64
}

type usualKey struct{ repository, job, lock uint32 }

// indexed returns the index of a record.
func (r *Record) indexed() *index {
	if r.index != nil {
		return r.index
	}
	x := &index{holds: map[uint32][]int32{}, usual: map[usualKey]int64{}}
	held := map[usualKey][]int64{}
	since := r.LastLook.Add(-usualSince).UnixMilli()
	for i := range r.rows {
		w := &r.rows[i]
		switch w.is() {
		case Hold, Reserved:
			x.holds[w.name] = append(x.holds[w.name], int32(i))
			if key, ok := r.usualKey(w); ok && w.until >= since && r.texts[w.end] == EndReleased {
				held[key] = append(held[key], w.until-w.from)
			}
		case Build:
			x.builds = append(x.builds, int32(i))
		case Wait, Pressure:
			x.waits = append(x.waits, int32(i))
		}
	}
	for _, list := range x.holds {
		r.sort(list)
	}
	r.sort(x.builds)
	r.sort(x.waits)
	x.jobs = r.groups(x.waits)
	for key, all := range held {
		if len(all) >= usualLeast {
			x.usual[key] = percentile(all, 50)
		}
	}
	r.index = x
	return x
}

// Usual returns how long holds of a lock by that job of a repository usually last, or 0 if that
// is not known: the median of the last 30 days.
func (r *Record) Usual(lock string, w Who) time.Duration {
	for key, usual := range r.indexed().usual {
		if r.texts[key.lock] == lock && r.texts[key.repository] == w.Repository && r.texts[key.job] == w.Job {
			return milliseconds(usual)
		}
	}
	return 0
}

// usualKey returns what holds are compared by; a reservation or an unknown job has none.
func (r *Record) usualKey(w *row) (usualKey, bool) {
	who := &r.jobs[w.who]
	return usualKey{who.repository, who.job, w.name}, w.is() == Hold && r.texts[who.repository] != ""
}

// sort sorts rows by their beginning.
func (r *Record) sort(rows []int32) {
	slices.SortStableFunc(rows, func(a, b int32) int { return cmp.Compare(r.rows[a].from, r.rows[b].from) })
}

// groups returns the waits of each job, which are sorted: those that follow each other. Jobs
// of one name in one run, as of a matrix, wait at the same time, so they are several.
func (r *Record) groups(waits []int32) (all [][]int32) {
	type key struct {
		repository, job, person uint32
		run                     uint64 // a hash: of a million runs no two have the same
	}
	recent := map[key][]int{} // the groups that the next wait may belong to
	end := func(group int) int64 { return r.rows[all[group][len(all[group])-1]].until }
	kept := 1000
	for i, n := range waits {
		w, who := &r.rows[n], &r.jobs[r.rows[n].who]
		over := func(group int) bool { return w.from-end(group) > joinWithin.Milliseconds() }
		k := key{who.repository, who.job, who.person, maphash.Bytes(seed, r.run(who))}
		same := slices.DeleteFunc(recent[k], over)
		before := slices.IndexFunc(same, func(group int) bool {
			return end(group) <= w.from && (who.runLength > 0 || r.texts[who.person] != "")
		})
		if before >= 0 {
			all[same[before]] = append(all[same[before]], n)
		} else {
			same, all = append(same, len(all)), append(all, waits[i:i+1:i+1])
		}
		recent[k] = same
		if len(recent) > 2*kept {
			maps.DeleteFunc(recent, func(_ key, groups []int) bool {
				return !slices.ContainsFunc(groups, func(g int) bool { return !over(g) })
			})
			kept = max(1000, len(recent))
		}
	}
	return all
}

// candidates finds the rows that overlap a time, for times that come in the order of their
// beginning.
type candidates struct {
	rows   []int32 // by their beginning
	active []int32
}

// during returns the rows that overlap a wait, but for the job's own: what it gets when it
// ends, and its own builds.
func (c *candidates) during(r *Record, wait *row) (spans []span) {
	for len(c.rows) > 0 && r.rows[c.rows[0]].from <= wait.from {
		c.active, c.rows = append(c.active, c.rows[0]), c.rows[1:]
	}
	c.active = slices.DeleteFunc(c.active, func(i int32) bool { return r.rows[i].until <= wait.from })
	add := func(i int32) {
		if w := &r.rows[i]; !r.own(w, wait) {
			spans = append(spans, span{w.from, w.until, int(i)})
		}
	}
	for _, i := range c.active {
		add(i)
	}
	for _, i := range c.rows {
		if r.rows[i].from >= wait.until {
			break
		}
		add(i)
	}
	return spans
}

// own reports whether what could be in the way of a wait is the same job's.
func (r *Record) own(w, wait *row) bool {
	if w.who != wait.who {
		a, b := &r.jobs[w.who], &r.jobs[wait.who]
		if a.runLength == 0 || !bytes.Equal(r.run(a), r.run(b)) || a.repository != b.repository || a.job != b.job {
			return false
		}
	}
	const look = 2000 // a look and a bit: its hold is seen before the end of its wait
	return wait.is() == Pressure && r.repository(w) != "" || wait.is() == Wait && w.from > wait.until-look
}

// causes returns the rows that can be in the way of a wait, for one question.
func (x *index) causes(wait *row) *candidates {
	if wait.is() == Pressure {
		return &candidates{rows: x.builds}
	}
	return &candidates{rows: x.holds[wait.name]}
}

// mostAnswers bounds the answers to one question; there are more of a repository that waited
// all year.
const mostAnswers = 1000

// Answers returns why the jobs that match waited, the last thousand, in the order in which
// they began to.
func (r *Record) Answers(match func(Who) bool) (all []Answer) {
	matches := r.matching(match)
	var jobs [][]int32
	for _, rows := range r.indexed().jobs {
		if matches[r.rows[rows[0]].who] {
			jobs = append(jobs, rows)
		}
	}
	for _, rows := range jobs[max(0, len(jobs)-mostAnswers):] {
		all = append(all, r.answer(rows))
	}
	return all
}

// Last returns why the last job waited that waited for at least a second. It is the one
// that began to wait last.
func (r *Record) Last() (Answer, bool) {
	for _, rows := range slices.Backward(r.indexed().jobs) {
		if r.total(rows) >= time.Second {
			return r.answer(rows), true
		}
	}
	return Answer{}, false
}

// total returns the time of the waits of a job.
func (r *Record) total(rows []int32) time.Duration {
	sum := int64(0)
	for _, n := range rows {
		sum += r.rows[n].until - r.rows[n].from
	}
	return milliseconds(sum)
}

// Latest returns the job that began to wait or to hold last of those that match.
func (r *Record) Latest(match func(Who) bool) (latest Who, found bool) {
	matches := r.matching(match)
	from := int64(-1)
	for i := range r.rows {
		w := &r.rows[i]
		if kind := w.is(); matches[w.who] && w.from >= from && (kind == Hold || kind == Wait || kind == Pressure) {
			latest, from = r.whoOf(w), w.from
		}
	}
	return latest, from >= 0
}

// Holds returns the holds of the jobs that match.
func (r *Record) Holds(match func(Who) bool) (all []Interval) {
	matches := r.matching(match)
	for i := range r.rows {
		if r.rows[i].is() == Hold && matches[r.rows[i].who] {
			all = append(all, r.interval(i))
		}
	}
	return all
}

func (r *Record) matching(match func(Who) bool) []bool {
	matches := make([]bool, len(r.jobs))
	for i := range r.jobs {
		matches[i] = match(r.job(uint32(i)))
	}
	return matches
}

// answer explains the waits of a job.
func (r *Record) answer(rows []int32) Answer {
	x := r.indexed()
	first, last := &r.rows[rows[0]], &r.rows[rows[len(rows)-1]]
	a := Answer{
		Host: r.Host, Who: r.whoOf(first), From: time.UnixMilli(first.from), Until: time.UnixMilli(last.until),
		Open: last.open, End: r.texts[last.end], Total: r.total(rows),
	}
	for _, n := range rows {
		wait := &r.rows[n]
		if wait.is() == Wait {
			a.Lock = r.texts[wait.name]
			a.Place = r.place(wait)
		}
		for _, p := range divide(wait.from, wait.until, x.causes(wait).during(r, wait), r.Gaps) {
			cause := Interval{}
			if p.of >= 0 {
				cause = r.interval(p.of)
			}
			part := p.part(cause, wait.is())
			if p.of >= 0 {
				if key, ok := r.usualKey(&r.rows[p.of]); ok {
					part.Usual = time.Duration(x.usual[key]) * time.Millisecond
				}
			}
			a.Parts = append(a.Parts, part)
		}
	}
	if a.End == EndUnseen {
		for _, g := range r.Gaps {
			if !g.From.After(a.Until) && g.Until.After(a.Until) {
				a.WatchedAgain = g.Until
			}
		}
	}
	return a
}

// place returns the place in the queue that a wait began with.
func (r *Record) place(wait *row) int {
	place := 1
	for i := range r.rows {
		o := &r.rows[i]
		if o != wait && o.is() == Wait && o.name == wait.name && o.from < wait.from && o.until > wait.from {
			place++
		}
	}
	return place
}

// AsOf returns the answer as it is known at a time: a wait that was open when the observer
// last looked, long ago, is one of which the end was not seen.
func (a Answer) AsOf(now time.Time) Answer {
	if a.Open && now.Sub(a.Until) > MostPause {
		a.Open, a.End = false, EndUnseen
	}
	return a
}

// StallDuring returns the mean stall in a time; what is unknown is negative.
func (r *Record) StallDuring(from, until time.Time) Stall {
	mean := Stall{Time: from, Memory: -1, IO: -1, CPU: -1}
	var sums, weights [3]float64
	for i, s := range r.Stalls {
		// A sample that does not differ from the one before is left out, for a minute.
		end := s.Time.Add(time.Minute)
		if i+1 < len(r.Stalls) && r.Stalls[i+1].Time.Before(end) {
			end = r.Stalls[i+1].Time
		}
		begin := s.Time.Add(-10 * time.Second) // of which it is the mean
		if begin.Before(from) {
			begin = from
		}
		if end.After(until) {
			end = until
		}
		if weight := end.Sub(begin).Seconds(); weight > 0 {
			for k, v := range []int{s.Memory, s.IO, s.CPU} {
				if v >= 0 {
					sums[k], weights[k] = sums[k]+float64(v)*weight, weights[k]+weight
				}
			}
		}
	}
	for k, v := range []*int{&mean.Memory, &mean.IO, &mean.CPU} {
		if weights[k] > 0 {
			*v = int(sums[k]/weights[k] + 0.5)
		}
	}
	return mean
}

// percentile returns the value that at least that many percent do not exceed. It sorts the
// values.
func percentile(all []int64, percent int) int64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[max(0, (len(all)*percent+99)/100-1)]
}
