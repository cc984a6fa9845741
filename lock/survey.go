package lock

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// Survey is one look at a lock and those who wait for it.
type Survey struct {
	Name    string
	Holders []Judged
	Waiters []Entry // in the order of the queue
}

// Judged is an entry and what is known of its holder.
type Judged struct {
	Entry
	Verdict Verdict
}

// Survey looks at every lock in the store that hostguard made, and at the one
// called m.Name, whoever made it. It changes nothing.
func (m *Mutex) Survey(ctx context.Context) ([]Survey, error) {
	entries, err := m.store().List(ctx, "")
	if err != nil {
		return nil, err
	}
	locks := map[string]*Survey{m.Name: {Name: m.Name}}
	for _, e := range entries {
		if e.label("kind") == kindLock || e.Name == m.Name {
			if locks[e.Name] == nil {
				locks[e.Name] = &Survey{Name: e.Name}
			}
			locks[e.Name].Holders = append(locks[e.Name].Holders, Judged{e, m.judge(ctx, e, true)})
		}
	}
	var surveys []Survey
	for name, s := range locks {
		of := Mutex{Engine: m.Engine, Host: m.Host, Name: name, Self: m.Self}
		waiting := slices.DeleteFunc(of.tickets(entries), func(t ticket) bool { return of.abandoned(t.Entry) })
		living, _ := of.living(ctx, waiting)
		for _, t := range living {
			s.Waiters = append(s.Waiters, t.Entry)
		}
		surveys = append(surveys, *s)
	}
	slices.SortFunc(surveys, func(a, b Survey) int {
		// The lock that was asked for first, then by name.
		if (a.Name == m.Name) != (b.Name == m.Name) {
			if a.Name == m.Name {
				return -1
			}
			return 1
		}
		return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return surveys, nil
}
