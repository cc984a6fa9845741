package history

import (
	"cmp"
	"slices"
	"time"
)

// Report is what happened on a host in a time: the intervals that ended in it, or had not
// ended.
type Report struct {
	Host        string
	From, Until time.Time

	Jobs       int           // that held or waited
	WaitedLong int           // of them, for more than a minute
	Waited     time.Duration // all of them together
	Longest    *Answer       // of the job that waited longest; nil if none waited
	MostFor    Who           // the repository and job that most of Waited was for
	MostShare  float64       // of Waited, from 0 to 1

	Repositories []RepositoryWaits // the one that waited most first
	Holds        []LongHold        // the longest first, at most mostListed
	Takeovers    []Takeover        // in the order of time
	Reservations []Interval
	Builds       time.Duration // in which a heavy build ran
	Reserved     time.Duration
	Unwatched    time.Duration
	Gaps         []Gap
	Locks        []LockUse // by name
}

// RepositoryWaits is how long the jobs of a repository waited, and for whom.
type RepositoryWaits struct {
	Repository    string // empty for those outside any job
	Jobs          int    // one with waits that are more than 10 minutes apart counts twice
	WaitedLong    int    // for more than a minute
	Waited        time.Duration
	P50, P95, Max time.Duration

	For      map[string]time.Duration // by the repository of the holder
	Pressure time.Duration
	Other    time.Duration // for anything else
}

// LongHold is a hold with what is usual for its job.
type LongHold struct {
	Interval
	Usual time.Duration // 0 if that is not known
}

// Takeover is a hold whose holder was gone.
type Takeover struct {
	Interval
	Next time.Duration // until the next held; negative if none did
}

// LockUse is the share of each hour of the day, in local time, in which a lock was held.
type LockUse struct {
	Lock  string
	Hours [24]float64
}

// mostTime bounds the time of a report.
const mostTime = 3660 * 24 * time.Hour

// mostListed bounds the lists of a report.
const mostListed = 10

// Report returns what happened since a time. The zone of since is that of the hours.
func (r *Record) Report(since time.Time) *Report {
	zone := since.Location()
	for _, least := range []time.Time{r.Begin, time.Unix(0, 0)} {
		if since.Before(least) {
			since = least.In(zone)
		}
	}
	p := &Report{Host: r.Host, From: since, Until: r.LastLook.In(zone)}
	if most := since.Add(mostTime); p.Until.After(most) { // the clock was wrong
		p.Until = most
	}
	from, until := since.UnixMilli(), max(since.UnixMilli(), p.Until.UnixMilli())
	p.waits(r, from)
	p.holds(r, from, until)
	for _, g := range r.Gaps {
		if g.Until.After(since) {
			begin := g.From
			if begin.Before(since) {
				begin = since
			}
			p.Gaps, p.Unwatched = append(p.Gaps, g), p.Unwatched+g.Until.Sub(begin)
		}
	}
	p.Builds = union(r, r.indexed().builds, from, until, nil)
	return p
}

// waits fills in how long whom waited for whom.
func (p *Report) waits(r *Record, from int64) {
	x := r.indexed()
	of := map[string]*RepositoryWaits{}
	repository := func(name string) *RepositoryWaits {
		if of[name] == nil {
			of[name] = &RepositoryWaits{Repository: name, For: map[string]time.Duration{}}
		}
		return of[name]
	}
	totals, waited := map[string][]int64{}, make([]bool, len(r.jobs))
	var longest []int32
	most := int64(-1)
	for _, rows := range x.jobs {
		first, last := &r.rows[rows[0]], &r.rows[rows[len(rows)-1]]
		if last.until < from {
			continue
		}
		total := r.total(rows).Milliseconds()
		for _, n := range rows {
			waited[r.rows[n].who] = true
		}
		name := r.repository(first)
		totals[name] = append(totals[name], total)
		if total > most {
			longest, most = rows, total
		}
	}
	for i := range r.rows { // those that got it at once
		if w := &r.rows[i]; w.is() == Hold && w.until >= from && !waited[w.who] {
			waited[w.who] = true
			name := r.repository(w)
			totals[name] = append(totals[name], 0)
		}
	}
	for name, all := range totals {
		w := repository(name)
		w.Jobs = len(all)
		for _, total := range all {
			w.Waited += milliseconds(total)
			if total > time.Minute.Milliseconds() {
				w.WaitedLong++
			}
		}
		w.P50, w.P95 = milliseconds(percentile(all, 50)), milliseconds(percentile(all, 95))
		w.Max = milliseconds(all[len(all)-1])
		p.Jobs, p.WaitedLong, p.Waited = p.Jobs+w.Jobs, p.WaitedLong+w.WaitedLong, p.Waited+w.Waited
	}
	p.blame(r, from, repository)
	p.Repositories = make([]RepositoryWaits, 0, len(of))
	for _, w := range of {
		p.Repositories = append(p.Repositories, *w)
	}
	slices.SortFunc(p.Repositories, func(a, b RepositoryWaits) int {
		return cmp.Or(cmp.Compare(b.Waited, a.Waited), cmp.Compare(a.Repository, b.Repository))
	})
	if most > 0 {
		a := r.answer(longest)
		p.Longest = &a
	}
}

// blame adds up for whom each repository waited.
func (p *Report) blame(r *Record, from int64, repository func(string) *RepositoryWaits) {
	x := r.indexed()
	type cause struct{ repository, job uint32 }
	causes := map[cause]int64{}
	locks, gate := map[uint32]*candidates{}, &candidates{rows: x.builds}
	for _, n := range x.waits {
		wait := &r.rows[n]
		c := gate
		if wait.is() == Wait {
			if c = locks[wait.name]; c == nil {
				c = &candidates{rows: x.holds[wait.name]}
				locks[wait.name] = c
			}
		}
		if wait.until < from {
			continue
		}
		w := repository(r.repository(wait))
		if wait.is() == Pressure {
			w.Pressure += milliseconds(wait.until - wait.from)
			continue
		}
		left := wait.until - wait.from
		for _, piece := range divide(wait.from, wait.until, c.during(r, wait), r.Gaps) {
			if piece.of < 0 || r.rows[piece.of].is() != Hold || r.repository(&r.rows[piece.of]) == "" {
				continue
			}
			who := &r.jobs[r.rows[piece.of].who]
			w.For[r.texts[who.repository]] += milliseconds(piece.time)
			causes[cause{who.repository, who.job}] += piece.time
			left -= piece.time
		}
		w.Other += milliseconds(left)
	}
	most := int64(0)
	for c, ms := range causes {
		who := Who{Repository: r.texts[c.repository], Job: r.texts[c.job]}
		if ms > most || ms == most && Name(who) < Name(p.MostFor) {
			most, p.MostFor = ms, who
		}
	}
	p.MostShare = float64(most) / max(1, float64(p.Waited.Milliseconds()))
}

// holds fills in what is known of holds and reservations.
func (p *Report) holds(r *Record, from, until int64) {
	x := r.indexed()
	var longest []int32
	var all [24]float64
	hours(from, until, p.From.Location(), func(ofDay int, ms int64) { all[ofDay] += float64(ms) })
	for name, rows := range x.holds {
		use := LockUse{Lock: r.texts[name]}
		used := union(r, rows, from, until, func(begin, end int64) {
			hours(begin, end, p.From.Location(), func(ofDay int, ms int64) {
				use.Hours[ofDay] += float64(ms) / all[ofDay]
			})
		})
		if used > 0 {
			p.Locks = append(p.Locks, use)
		}
		for i, n := range rows {
			w := &r.rows[n]
			switch {
			case w.until < from:
			case w.is() == Reserved:
				p.Reservations = append(p.Reservations, r.interval(int(n)))
				p.Reserved += milliseconds(w.until - max(w.from, from))
			default:
				longest = append(longest, n)
				if r.texts[w.end] == EndTakenOver {
					p.Takeovers = append(p.Takeovers, Takeover{r.interval(int(n)), r.untilNext(rows[i+1:], w.until)})
				}
			}
		}
	}
	length := func(n int32) int64 { return r.rows[n].until - r.rows[n].from }
	slices.SortFunc(longest, func(a, b int32) int {
		return cmp.Or(cmp.Compare(length(b), length(a)), cmp.Compare(a, b))
	})
	for _, n := range longest[:min(mostListed, len(longest))] {
		hold := LongHold{Interval: r.interval(int(n))}
		if key, ok := r.usualKey(&r.rows[n]); ok {
			hold.Usual = milliseconds(x.usual[key])
		}
		p.Holds = append(p.Holds, hold)
	}
	slices.SortFunc(p.Takeovers, func(a, b Takeover) int { return a.Until.Compare(b.Until) })
	slices.SortFunc(p.Reservations, func(a, b Interval) int { return a.From.Compare(b.From) })
	slices.SortFunc(p.Locks, func(a, b LockUse) int { return cmp.Compare(a.Lock, b.Lock) })
}

// untilNext returns the time from the end of a hold until the next of the rows after it.
func (r *Record) untilNext(rows []int32, end int64) time.Duration {
	for _, n := range rows {
		if r.rows[n].from >= end {
			return milliseconds(r.rows[n].from - end)
		}
	}
	return -1
}

// union calls each with the times, within bounds, in which there was at least one of the
// rows, which are sorted by their beginning, and returns their sum.
func union(r *Record, rows []int32, from, until int64, each func(begin, end int64)) time.Duration {
	sum, done := int64(0), from
	for _, n := range rows {
		begin, end := max(done, r.rows[n].from), min(until, r.rows[n].until)
		if begin < end {
			if each != nil {
				each(begin, end)
			}
			sum, done = sum+end-begin, end
		}
	}
	return milliseconds(sum)
}

const hour = int64(time.Hour / time.Millisecond)

// hours splits a time at the hours of a zone.
func hours(begin, end int64, zone *time.Location, each func(ofDay int, ms int64)) {
	for begin < end {
		_, offset := time.UnixMilli(begin).In(zone).Zone()
		local := begin + int64(offset)*1000 + 24*hour // not negative
		next := min(end, begin+hour-local%hour)
		each(int(local/hour%24), next-begin)
		begin = next
	}
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
