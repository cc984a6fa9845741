package steps

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"hostguard/history"
	"hostguard/lock"
)

// changeLog turns reports into lines about what has changed.
type changeLog struct {
	zone   *time.Location
	before map[string]lockReport // by name; nil before the first
	last   time.Time             // of the last report
}

// change is a line: what has become of whom.
type change struct {
	at                 time.Time
	lock, state, about string
}

// add returns the lines for what differs from the last report. The first names all there is.
func (c *changeLog) add(r statusReport) (lines []string) {
	locks := slices.Clone(r.Locks)
	now, width := map[string]lockReport{}, 0
	for _, l := range locks {
		now[l.Name], width = l, max(width, len(l.Name))
	}
	for name := range c.before { // a lock that is free now may leave nothing in the store
		if _, there := now[name]; !there {
			locks = append(locks, lockReport{Name: name})
		}
	}
	var changes []change
	for _, l := range locks {
		changes = append(changes, c.changes(l, r.Time)...)
	}
	c.before = now
	for i := range changes { // they did so since the last look, whatever the store's clock shows
		at := &changes[i].at
		switch {
		case at.After(r.Time):
			*at = r.Time
		case at.Before(c.last):
			*at = c.last
		}
	}
	c.last = r.Time
	slices.SortStableFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	for _, n := range changes {
		at := n.at.In(c.zone).Format(time.TimeOnly)
		lines = append(lines, fmt.Sprintf("%s %-*s  %-9s %s", at, width, n.lock, n.state, n.about))
	}
	return lines
}

// changes returns what has changed about one lock.
func (c *changeLog) changes(l lockReport, now time.Time) (all []change) {
	note := func(at time.Time, state, about string) { all = append(all, change{at, l.Name, state, about}) }
	before := c.before[l.Name]
	if c.before == nil && len(l.Holders) == 0 && len(l.Waiters) == 0 {
		note(now, "free", "")
	}
	held, waited := byID(before.Holders), byNonce(before.Waiters)
	holds, waits := byNonce(l.Holders), byNonce(l.Waiters)
	end := now // of a hold: at the latest when the next one began
	for _, e := range l.Holders {
		if _, known := held[e.ID]; !known && e.Since.Before(end) && e.Since.After(c.last) {
			end = e.Since
		}
	}
	for _, e := range before.Holders {
		gone := e.State == lock.StateOrphan || e.State == lock.StateStale
		switch _, stays := byID(l.Holders)[e.ID]; {
		case stays:
		case gone && len(l.Holders) > 0:
			note(end, "taken over", nameOf(e)+": "+e.Evidence)
		default:
			note(end, "released", nameOf(e)+" after "+elapsed(end.Sub(e.Since)))
		}
	}
	for _, e := range l.Holders {
		was, known := held[e.ID]
		switch ticket, queued := waited[nonceOf(e)]; {
		case known && was.State != e.State:
			note(now, string(e.State), nameOf(e)+": "+e.Evidence)
		case known:
		case queued:
			note(e.Since, string(e.State), about(e)+", waited "+elapsed(e.Since.Sub(ticket.Since)))
		default:
			note(e.Since, string(e.State), about(e))
		}
	}
	for _, e := range before.Waiters {
		_, stays := waits[nonceOf(e)]
		if _, got := holds[nonceOf(e)]; !stays && !got {
			note(now, "gave up", nameOf(e)+" after "+elapsed(now.Sub(e.Since)))
		}
	}
	for _, e := range l.Waiters {
		if _, stays := waited[nonceOf(e)]; !stays {
			note(e.Since, fmt.Sprintf("waits %d", e.Position), about(e))
		}
	}
	return all
}

func byID(all []entryReport) map[string]entryReport {
	m := map[string]entryReport{}
	for _, e := range all {
		m[e.ID] = e
	}
	return m
}

func byNonce(all []entryReport) map[string]entryReport {
	m := map[string]entryReport{}
	for _, e := range all {
		m[nonceOf(e)] = e
	}
	return m
}

// nonceOf returns what the ticket and the lock of one process have in common.
func nonceOf(e entryReport) string {
	claim, _ := e.entry.Claim()
	return cmp.Or(claim.Nonce, e.ID)
}

func nameOf(e entryReport) string { return cmp.Or(history.Name(e.who), "nobody knows who") }

// about returns who it is, and for what.
func about(e entryReport) string {
	if what := history.Phrase(e.Reason); what != "" {
		return nameOf(e) + " (" + what + ")"
	}
	return nameOf(e)
}
