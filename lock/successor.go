package lock

import (
	"context"
	"slices"
	"time"
)

// A holder that gives back in the process that has acquired reads the queue beside its work, so
// that the next one need not wait until a release has done so: 1,000 tickets take 100 ms. It is
// a ring that depends on it, no more: who is rung verifies, and who was missed looks by itself.

// knownFor is how long a release relies on what was read beside the work. Within that time it may
// ring one before whom another has come since, with high priority. After it, a list costs little
// beside what the work has taken.
const knownFor = time.Second

// lookAhead reads the queues for a release that may follow soon. This process's own ticket, which
// is about to be removed, is none of them.
func (m *Mutex) lookAhead(ctx context.Context) {
	queues, err := m.listQueue(ctx, m.queuesToSee()...)
	if err != nil {
		return
	}
	queues = slices.DeleteFunc(queues, func(e Entry) bool {
		return e.label("kind") == kindTicket && e.madeBy(m.space.Self)
	})
	m.behind, m.lookedAt = queues, time.Now()
}

// ringKnown rings the first in the queue as it was read a moment ago. It returns false where
// only a list can show who that is: after that moment, and if no other is seen here to wait.
func (m *Mutex) ringKnown() bool {
	m.reading.Wait()
	if time.Since(m.lookedAt) > knownFor {
		return false
	}
	for _, t := range m.tickets(m.behind) {
		if m.space.abandoned(t.Entry) {
			continue
		}
		if may, seen := m.space.canAct(t); may {
			return seen && m.space.ring(t.nonce)
		}
	}
	return false
}
