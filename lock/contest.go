package lock

import (
	"context"
	"time"
)

// Outside any job a lock is known to be a caller's own by the process that called,
// a shell most often. A server that runs two deploys, or make -j, is the parent of
// both, and what gives back after the second one's acquire has failed would take
// the first one's lock. So an acquire that meets a lock of its own caller leaves a
// note in the store: from then on only who knows the lock's ID gives it back.

// noteName is that of the note about an entry of a lock.
func noteName(lock, id string) string { return queuePrefix(lock) + "n-" + id }

// contest leaves the note, once, and takes along those of entries that are gone.
func (a *acquisition) contest(ctx context.Context, e Entry) {
	h, ours := e.Holder()
	if !ours || h.Command || a.contested == e.ID || !h.SameCaller(a.Self) {
		return
	}
	labels := Holder{Place: a.Self.Place, Create: NewNonce(), Uptime: a.Host.Uptime()}.labels(kindNote)
	notes, err := a.store().List(ctx, noteName(a.Name, ""))
	if err != nil {
		return
	}
	for _, n := range notes {
		if n.Name == noteName(a.Name, e.ID) {
			a.contested = e.ID
			return
		}
		_ = a.store().Remove(ctx, n.ID)
	}
	if _, err = a.store().Create(ctx, noteName(a.Name, e.ID), labels); err == nil {
		a.contested = e.ID
	}
}

// Contested tells whether several acquires of the same caller have asked for an
// entry, so that the caller alone does not tell whose it is.
func (m *Mutex) Contested(ctx context.Context, e Entry) (contested bool, err error) {
	err = m.persist(ctx, func(ctx context.Context) error {
		notes, err := m.store().List(ctx, noteName(m.Name, e.ID))
		contested = len(notes) > 0
		return err
	})
	return contested, err
}

// forget removes the notes about an entry that is gone.
func (m *Mutex) forget(ctx context.Context, id string) {
	notes, _ := m.store().List(ctx, noteName(m.Name, id))
	for _, n := range notes {
		_ = m.store().Remove(ctx, n.ID) // else it goes by age
	}
}

// noteLife is longer than a lock of such a caller is held.
const noteLife = MaxStaleAfter + time.Hour
