package observe

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"hostguard/history"
)

// Tracker makes intervals of looks. The zero value has seen nothing yet.
type Tracker struct {
	open    map[string]*tracked // by what it is, across looks: see the keys below
	doubted map[string]bool     // holders that were not alone in the last look, by key
	last    time.Time           // the last look
	uptime  time.Duration       // at the last look
}

// tracked is an interval that has not ended.
type tracked struct {
	history.Interval
	nonce  string
	gone   bool          // its holder was gone at the last look
	leaves bool          // only its command was left then
	limit  time.Duration // of a wait
	seen   bool          // in the present look
}

const (
	// blind is the time without a look after which it is not known how something ended.
	blind = 15 * time.Second
	// clockStep is more than a clock that is only adjusted differs between two looks.
	clockStep = time.Second
	// limitSlack is how much before its limit a waiter may be seen to end that gives up.
	limitSlack = 2 * time.Second
)

// Look returns the intervals that are open now, and those that have ended since the last
// look, each in the order of their beginnings.
//
// A hold begins when its entry was created, by the store's clock as far as the looks confirm
// it, and ends when the next one on that lock begins or else at the first look without it.
func (t *Tracker) Look(l Look) (open, ended []history.Interval) {
	first := t.open == nil
	if first {
		t.open = map[string]*tracked{}
	} else {
		t.follow(l)
	}
	gap := !first && l.Uptime-t.uptime > blind
	for _, i := range t.open {
		i.seen = false
	}
	begins := map[string]time.Time{} // of this look's new holds, by lock
	t.holds(l, begins)
	acquired := t.waits(l)
	t.others(l)
	for key, i := range t.open {
		if i.seen {
			i.Until = l.At
			open = append(open, i.Interval)
			continue
		}
		delete(t.open, key)
		i.Open = false
		t.end(i, l, begins[i.Name], gap)
		ended = append(ended, i.Interval)
	}
	ended = append(ended, acquired...)
	t.last, t.uptime = l.At, l.Uptime
	byBegin := func(a, b history.Interval) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID, b.ID)) }
	slices.SortFunc(open, byBegin)
	slices.SortFunc(ended, byBegin)
	return open, ended
}

// follow moves what is open by a step of the clock, so that it has lasted as long as before.
func (t *Tracker) follow(l Look) {
	step := l.At.Sub(t.last) - (l.Uptime - t.uptime)
	if step.Abs() < clockStep {
		return
	}
	for _, i := range t.open {
		i.From, i.Until = i.From.Add(step), i.Until.Add(step)
	}
	t.last = t.last.Add(step)
}

// begin returns when something began that the store says was created then. The store's
// clock may be another, or have stepped: nothing that a look shows began after it, and
// nothing new before the last one.
func (t *Tracker) begin(created, at time.Time) time.Time {
	if created.Before(t.last) {
		created = t.last
	}
	if created.After(at) || created.IsZero() {
		return at
	}
	return created
}

// holds goes on with the holds, and begins new ones.
func (t *Tracker) holds(l Look, begins map[string]time.Time) {
	doubted := map[string]bool{}
	for _, lock := range l.Locks {
		if lock.Name == Gate {
			continue
		}
		for _, h := range lock.Holders {
			key := "hold/" + lock.Name + "/" + h.ID
			i := t.open[key]
			// One of several contenders removes its entry again within a moment.
			if i == nil && len(lock.Holders) > 1 && !t.doubted[key] {
				doubted[key] = true
				continue
			}
			if i == nil {
				from := t.begin(h.Created, l.At)
				begins[lock.Name] = from
				i = t.add(key, history.Interval{ID: idOf(history.Hold, h.ID), Kind: history.Hold, Name: lock.Name,
					From: from, Plain: h.Plain})
				i.nonce = h.Nonce
			}
			i.Who, i.What, i.Evidence, i.seen = h.Who, h.What, h.Evidence, true
			i.gone, i.leaves = h.Gone, h.Leaves
		}
	}
	t.doubted = doubted
}

// waits goes on with the waits, and begins new ones. It returns those that have ended with
// what they were for: a waiter's ticket may stay for a moment once it holds the lock.
func (t *Tracker) waits(l Look) (acquired []history.Interval) {
	holds := map[string]*tracked{} // by the keys of their waits
	for _, i := range t.open {
		if i.Kind == history.Hold && i.nonce != "" {
			holds["wait/"+i.Name+"/"+i.nonce] = i
		}
	}
	for _, lock := range l.Locks {
		kind, name, waiters := history.Wait, lock.Name, lock.Waiters
		if lock.Name == Gate {
			kind, name, waiters = history.Pressure, "", slices.Concat(lock.Holders, lock.Waiters)
		}
		for _, w := range waiters {
			key := string(kind) + "/" + name + "/" + cmp.Or(w.Nonce, w.ID)
			if holds[key] != nil {
				continue
			}
			i := t.open[key]
			if i == nil { // a waiter may have to take another ticket, and waits on
				i = t.add(key, history.Interval{ID: idOf(kind, w.ID), Kind: kind, Name: name,
					From: t.begin(w.Created, l.At)})
			}
			i.gone, i.limit, i.seen = w.Gone, max(i.limit, w.Limit), true
			i.Who, i.What = fuller(i.Who, w.Who), w.What
			if kind == history.Pressure {
				i.What = ""
			}
		}
	}
	for key, i := range t.open {
		hold := holds[key]
		if hold == nil {
			continue
		}
		delete(t.open, key)
		i.Open, i.End, i.Who, i.What = false, history.EndAcquired, hold.Who, hold.What
		i.Until = later(hold.From, i.From)
		acquired = append(acquired, i.Interval)
	}
	return acquired
}

// fuller returns what is known of somebody by either look: a ticket says less than a lock.
func fuller(before, now history.Who) history.Who {
	if now.Run == "" && now.RunURL == before.RunURL {
		now.Run = before.Run
	}
	return now
}

// others goes on with builds, containers and runners, and begins new ones.
func (t *Tracker) others(l Look) {
	for _, b := range l.Builds {
		from := b.Since // one that began long ago may not have been heavy yet
		if from.IsZero() || from.After(l.At) {
			from = l.At
		}
		id := fmt.Sprintf("%s-%d-%d", history.Build, b.PID, b.Since.Unix())
		i := t.keep(id, history.Interval{ID: id, Kind: history.Build, Name: b.Name, From: from})
		i.Who, i.What = b.Who, b.Where
	}
	for _, name := range l.Containers {
		id := idOf(history.Container, name)
		t.keep(id, history.Interval{ID: id, Kind: history.Container, Name: name, From: l.At})
	}
	for _, r := range l.Runners {
		id := idOf(history.Runner, fmt.Sprintf("%s/%s/%d", r.Name, r.State, l.At.UnixMilli()))
		i := t.keep("runner/"+r.Name+"/"+r.State,
			history.Interval{ID: id, Kind: history.Runner, Name: r.Name, From: l.At})
		i.End = r.State
	}
}

// keep returns the open interval of a key, which begins with this look if there is none.
func (t *Tracker) keep(key string, begin history.Interval) *tracked {
	i := t.open[key]
	if i == nil {
		i = t.add(key, begin)
	}
	i.seen = true
	return i
}

func (t *Tracker) add(key string, begin history.Interval) *tracked {
	begin.Open = true
	i := &tracked{Interval: begin}
	t.open[key] = i
	return i
}

// end sets how and when an interval has ended that this look does not show any more. next is
// when the next hold of that lock began, if there is one; after a gap nothing else is known.
func (t *Tracker) end(i *tracked, l Look, next time.Time, gap bool) {
	i.Until = l.At
	if gap {
		i.Until = later(t.last, i.From)
	}
	switch i.Kind {
	case history.Hold:
		switch {
		case i.gone:
			i.End = history.EndTakenOver
		case i.leaves && !gap:
			i.End, i.Evidence = history.EndTakenOver, "its hostguard process had ended, and then its command"
		case gap:
			i.End = history.EndUnseen
		default:
			i.End = history.EndReleased
		}
		if !next.IsZero() && next.Before(i.Until) {
			i.Until = later(next, i.From)
		}
	case history.Wait, history.Pressure:
		timedOut := i.limit > 0 && i.Until.Sub(i.From) >= i.limit-limitSlack
		switch {
		case gap:
			i.End = history.EndUnseen
		case i.Kind == history.Pressure && !i.gone && !timedOut && len(l.Builds) == 0:
			// Its process ends in any case: it was cleared, unless there still is pressure.
			i.End = history.EndAcquired
		default:
			i.End = history.EndGaveUp
		}
	case history.Runner: // it has its state
	default:
		if gap {
			i.End = history.EndUnseen
		}
	}
}

// Open returns the intervals that the last look showed.
func (t *Tracker) Open() []history.Interval {
	var open []history.Interval
	for _, key := range slices.Sorted(maps.Keys(t.open)) {
		open = append(open, t.open[key].Interval)
	}
	return open
}

// idOf returns the stable ID of an interval about something that has that ID itself: an
// entry's is long, and that of one that cannot be read is not even unique.
func idOf(kind history.Kind, id string) string {
	if len(id) == 64 {
		return string(kind) + "-" + id[:16]
	}
	sum := sha256.Sum256([]byte(id))
	return string(kind) + "-" + hex.EncodeToString(sum[:8])
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
