package lock

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"hostguard/internal/hexid"
)

// Survey is one look at a lock and those who wait for it.
type Survey struct {
	Name    string
	Slots   int // how many may hold it, by the account of those who do or wait
	Holders []Judged
	Waiters []Entry // in the order of the queue
}

// Judged is a holder's entry and whether that holder lives.
type Judged struct {
	Entry
	Verdict Verdict
}

// State is what an entry of a lock is to an operator.
type State string

const (
	StateHeld       State = "held"       // its holder lives or may live
	StateOrphan     State = "orphan"     // its holder is gone
	StateStale      State = "stale"      // too old, and nothing proves that its holder lives
	StateLegacy     State = "legacy"     // made by a plain "docker network create"
	StateUnreadable State = "unreadable" // made by another version, or broken labels
)

// State returns the verdict in one word.
func (j Judged) State() State {
	c, ours := j.Claim()
	switch {
	case j.Verdict.Life == Dead:
		return StateOrphan
	case !ours:
		return StateLegacy
	case j.label("version") != labelVersion || !hexid.Is(c.Nonce, 32):
		return StateUnreadable
	case j.Verdict.Life == Stale:
		return StateStale
	}
	return StateHeld
}

// Survey looks at every lock in the store that hostguard made and, first and in their
// order, at those of the names, whoever made them. It changes nothing.
func (s *Space) Survey(ctx context.Context, names ...string) ([]Survey, error) {
	entries, err := s.store().List(ctx, "")
	if err != nil {
		return nil, err
	}
	// The look at all may leave something out, where somebody has flooded the store.
	var named []Entry
	for _, name := range names {
		of, err := s.Lock(name).list(ctx)
		if err != nil {
			return nil, err
		}
		named = append(named, of...)
	}
	all := s.surveys(append(named, entries...), names)
	for i := range all {
		for j := range all[i].Holders {
			h := &all[i].Holders[j]
			h.Verdict = s.judge(ctx, h.Entry, true)
		}
		var waiting []ticket
		for _, e := range all[i].Waiters {
			if !s.abandoned(e) {
				waiting = append(waiting, ticket{Entry: e})
			}
		}
		all[i].Waiters = nil
		living, _ := s.living(ctx, waiting)
		for _, t := range living {
			all[i].Waiters = append(all[i].Waiters, t.Entry)
		}
	}
	slices.SortFunc(all, func(a, b Survey) int {
		return cmp.Or(cmp.Compare(place(names, a.Name), place(names, b.Name)),
			cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)))
	})
	return all, nil
}

// place returns the position of a name among those, or the one behind them.
func place(names []string, name string) int {
	if i := slices.Index(names, name); i >= 0 {
		return i
	}
	return len(names)
}

// Glance is a Survey that costs one request, for who looks again and again: it looks up
// neither whether holders live nor whether waiters do; see Judge and Abandoned. Of locks that
// others made it sees those of the names. It changes nothing.
func (s *Space) Glance(ctx context.Context, names []string) ([]Survey, error) {
	entries, err := s.store().List(ctx, "")
	if err != nil {
		return nil, err
	}
	return s.surveys(entries, names), nil
}

// Judge returns whether the holder of an entry lives. It looks through all processes only if
// thorough, or where the verdict depends on it.
func (s *Space) Judge(ctx context.Context, e Entry, thorough bool) Verdict {
	return s.judge(ctx, e, thorough)
}

// Abandoned reports whether the process of a waiter is gone, as far as that is seen here
// without asking the store, or must have ended long ago by its own timeout.
func (s *Space) Abandoned(waiter Entry) bool { return s.abandoned(waiter) }

// surveys returns, of any entries, the locks that hostguard made and those of the names, in
// no order and without verdicts, each with all tickets of its queue.
func (s *Space) surveys(entries []Entry, names []string) (all []Survey) {
	surveys := map[string]*Survey{}
	places := map[string]string{} // their locks
	for _, name := range names {
		surveys[name] = &Survey{Name: name, Slots: 1}
		places[placesPrefix(name)] = name
	}
	waiting := map[string][]Entry{} // by the prefix of their queue
	for _, e := range entries {
		if e.label("kind") == kindTicket && isQueueName(e.Name) {
			prefix := e.Name[:len(queueNames)+17]
			waiting[prefix] = append(waiting[prefix], e)
		}
		name := e.Lock()
		if isQueueName(name) && e.Slot() > 0 || e.reader() { // a plain one in a place
			name = cmp.Or(places[e.Name[:len(queueNames)+17]], name)
		}
		survey := surveys[name]
		if survey == nil && e.label("kind") != kindLock ||
			survey != nil && slices.ContainsFunc(survey.Holders, func(j Judged) bool { return j.ID == e.ID }) {
			continue
		}
		if survey == nil {
			survey = &Survey{Name: name, Slots: 1}
			surveys[name] = survey
		}
		survey.Holders = append(survey.Holders, Judged{Entry: e})
		survey.Slots = max(survey.Slots, e.slots())
	}
	for _, survey := range surveys {
		for _, t := range s.Lock(survey.Name).tickets(waiting[queuePrefix(survey.Name)]) {
			survey.Waiters = append(survey.Waiters, t.Entry)
		}
		all = append(all, *survey)
	}
	return all
}
