package steps

import (
	"slices"
	"strings"
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

// past is what the history of an observer knows of this host. Without one it is empty, and
// status leaves out what depends on it.
type past struct {
	record *history.Record             // nil if there is none
	locks  []string                    // by name
	free   map[string]history.Interval // the last hold of each
	runs   []history.Interval          // runners, as the last look saw them
	hour   *history.Record             // the last one, if it is shown
}

// pastSpan is how far back the history is read: as far as what is usual is compared.
const pastSpan = 30 * 24 * time.Hour

// readPast reads the history, if there is one that this user can read: status works without.
func readPast(s *cli.Session, dir string) past {
	record, err := lockwire.ReadHistory(s, dir, time.Now().Add(-pastSpan))
	if err != nil {
		return past{}
	}
	return newPast(record)
}

func newPast(record *history.Record) past {
	p := past{record: record, free: map[string]history.Interval{}}
	names := map[string]bool{}
	for _, i := range record.Intervals() {
		switch {
		case i.Kind == history.Hold || i.Kind == history.Wait:
			names[i.Name] = lock.CheckName(i.Name) == nil
			if last := p.free[i.Name]; i.Kind == history.Hold && (last.Until.Before(i.Until) || i.Open) {
				p.free[i.Name] = i
			}
		case i.Kind == history.Runner && i.Open:
			p.runs = append(p.runs, i)
		}
	}
	for name, valid := range names {
		if valid {
			p.locks = append(p.locks, name)
		}
	}
	slices.Sort(p.locks)
	slices.SortFunc(p.runs, func(a, b history.Interval) int { return strings.Compare(a.Name, b.Name) })
	return p
}

// usual returns how long a job usually holds a lock, or 0.
func (p past) usual(lockName string, who history.Who) time.Duration {
	if p.record == nil || who.Repository == "" {
		return 0
	}
	return p.record.Usual(lockName, who)
}

// lastHold returns the last hold of a lock that is free now; false if it is not known.
func (p past) lastHold(lockName string) (history.Interval, bool) {
	i, found := p.free[lockName]
	return i, found && !i.Open
}

// answer returns why somebody waits, if the last hour shows that.
func (p past) answer(who history.Who) (history.Answer, bool) {
	if p.hour == nil {
		return history.Answer{}, false
	}
	all := p.hour.Answers(func(w history.Who) bool {
		return w.Repository == who.Repository && w.Job == who.Job && w.Run == who.Run && w.Person == who.Person
	})
	for _, a := range slices.Backward(all) {
		if a.Open {
			return a, true
		}
	}
	return history.Answer{}, false
}

// minute is what one minute of a lock was.
type minute struct {
	unwatched, held, takenOver bool
	waiting                    int // at once
}

// lastMinutes returns the n minutes before now, the oldest first.
func lastMinutes(record *history.Record, name string, now time.Time, n int) []minute {
	minutes := make([]minute, max(0, n))
	begin := now.Add(-time.Duration(n) * time.Minute)
	each := func(from, until time.Time, visit func(*minute)) {
		for i := max(0, int(from.Sub(begin)/time.Minute)); i < len(minutes); i++ {
			if !begin.Add(time.Duration(i) * time.Minute).Before(until) {
				return
			}
			visit(&minutes[i])
		}
	}
	unwatched := func(m *minute) { m.unwatched = true }
	each(begin, record.Begin, unwatched)
	each(record.LastLook.Add(time.Minute), now, unwatched)
	for _, g := range record.Gaps {
		if g.Until.After(begin) {
			each(g.From, g.Until, unwatched)
		}
	}
	for _, i := range record.Intervals() {
		if i.Name != name || i.Until.Before(begin) && !i.Open {
			continue
		}
		until := i.Until
		if i.Open && until.Before(now) {
			until = now
		}
		switch i.Kind {
		case history.Hold:
			each(i.From, until, func(m *minute) { m.held = true })
			if i.End == history.EndTakenOver {
				each(i.Until.Add(-time.Nanosecond), i.Until, func(m *minute) { m.takenOver = true })
			}
		case history.Wait:
			each(i.From, until, func(m *minute) { m.waiting++ })
		}
	}
	return minutes
}
