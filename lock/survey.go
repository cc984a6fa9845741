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

// Survey looks at every lock in the store that hostguard made and, first, at the
// one of that name, whoever made it. It changes nothing.
func (s *Space) Survey(ctx context.Context, name string) ([]Survey, error) {
	entries, err := s.store().List(ctx, "")
	if err != nil {
		return nil, err
	}
	// The look at all may leave something out, where somebody has flooded the store.
	named, err := list(ctx, s.store(), name)
	if err != nil {
		return nil, err
	}
	surveys := map[string]*Survey{name: {Name: name}}
	for _, e := range append(named, entries...) {
		if survey := surveys[e.Name]; e.label("kind") != kindLock && e.Name != name ||
			survey != nil && slices.ContainsFunc(survey.Holders, func(j Judged) bool { return j.ID == e.ID }) {
			continue
		}
		if surveys[e.Name] == nil {
			surveys[e.Name] = &Survey{Name: e.Name}
		}
		surveys[e.Name].Holders = append(surveys[e.Name].Holders, Judged{e, s.judge(ctx, e, true)})
	}
	var all []Survey
	for _, survey := range surveys {
		tickets := s.Lock(survey.Name).tickets(entries)
		waiting := slices.DeleteFunc(tickets, func(t ticket) bool { return s.abandoned(t.Entry) })
		living, _ := s.living(ctx, waiting)
		for _, t := range living {
			survey.Waiters = append(survey.Waiters, t.Entry)
		}
		all = append(all, *survey)
	}
	slices.SortFunc(all, func(a, b Survey) int {
		switch name {
		case a.Name:
			return -1
		case b.Name:
			return 1
		}
		return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return all, nil
}
