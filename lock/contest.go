package lock

import (
	"context"
	"time"
)

// Outside any job a lock is recognized as a caller's own by the calling process, a
// shell most often. A server that runs two deploys, or make -j, is the parent of
// both, and a release after the second one's acquire has failed would release the
// first one's lock. So an acquire that meets a lock of its own caller leaves a note
// in the store: from then on only the lock's ID releases it.

// noteName returns the name of the note about an entry of a lock.
func noteName(lock, id string) string { return queuePrefix(lock) + "n-" + id }

// noteLife is longer than a lock of such a caller is held.
const noteLife = MaxStaleAfter + time.Hour

// contest leaves a note about the caller's own lock, once, and removes those about
// entries that are gone.
func (a *acquisition) contest(ctx context.Context, seen []Entry) {
	for _, e := range seen {
		c, ours := e.Claim()
		if !ours || c.Command || a.noted == e.ID || !c.SameCaller(a.space.Self) {
			continue
		}
		notes, err := a.space.store().List(ctx, noteName(a.name, ""))
		if err != nil {
			return
		}
		for _, n := range notes {
			if n.Name == noteName(a.name, e.ID) {
				a.noted = e.ID
				return
			}
			_ = a.space.store().Remove(ctx, n.ID)
		}
		labels := a.space.fresh(Claim{Place: a.space.Self.Place}).labels(kindNote)
		if _, err = a.space.store().Create(ctx, noteName(a.name, e.ID), labels); err == nil {
			a.noted = e.ID
		}
	}
}

// Contested reports whether several acquires of the same caller have tried to get the
// lock of an entry, so that the caller alone does not prove whose it is.
func (m *Mutex) Contested(ctx context.Context, e Entry) (contested bool, err error) {
	err = persist(ctx, func(ctx context.Context) error {
		entries, err := m.allQueues(ctx)
		contested = len(named(entries, noteName(m.name, e.ID))) > 0
		return err
	})
	return contested, err
}

// forget removes, of the entries in the queues, the notes about an entry that is gone.
func (m *Mutex) forget(ctx context.Context, queues []Entry, id string) {
	for _, n := range named(queues, noteName(m.name, id)) {
		_ = m.space.store().Remove(ctx, n.ID) // else it goes by age
	}
}
