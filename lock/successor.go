package lock

import (
	"context"
	"time"
)

// A holder that gives back in the process that has acquired reads the queue beside its work, so
// that the next one need not wait until a release has done so: 1,000 tickets take 100 ms. Of a
// crowd it also hands the rest of what it has read to the one that it rings, else each of them
// would read 1,000 tickets to find one. It is a ring that depends on it, no more: who is rung
// verifies, and who was missed looks by itself.

// Successors are the next in a queue, in order, as somebody has read it.
type Successors struct {
	Read   time.Duration // when, as Host.Uptime has it
	Nonces []string      // of those that were seen to wait in this network, and not stopped
}

const (
	// knownFor is how long what was read is relied on. Within that time a release may ring one
	// before whom another has come since, with high priority. After it, a list costs little
	// beside what the work has taken. In a crowd each waits longer than that anyway.
	knownFor        = time.Second
	knownForInCrowd = 5 * time.Second
	// MaxSuccessors may be handed on, more than hold within that time.
	MaxSuccessors = 128
	// fewSuccessors are enough for one's own release, whose next may have been killed.
	fewSuccessors = 4
)

// known reports whether these may be relied on now, or, if long, for half of the whole time still.
func (m *Mutex) known(s *Successors, long bool) bool {
	if s == nil || len(s.Nonces) == 0 {
		return false
	}
	limit := knownFor
	if m.crowded {
		limit = knownForInCrowd
	}
	if long {
		limit /= 2
	}
	age := m.space.Host.Uptime() - s.Read
	return age >= 0 && age < limit
}

// lookAhead reads the queues for a release that may follow soon, unless it has been handed what
// will do. This process's own ticket, which is about to be removed, is none of them.
func (m *Mutex) lookAhead(ctx context.Context) {
	if m.known(m.successors.Load(), true) {
		return
	}
	read := &Successors{Read: m.space.Host.Uptime()}
	queues, err := m.listQueue(ctx, m.queuesToSee()...)
	if err != nil {
		return
	}
	most := fewSuccessors
	if m.crowded {
		most = MaxSuccessors
	}
	for _, t := range m.tickets(queues) {
		if len(read.Nonces) == most {
			break
		}
		if t.madeBy(m.space.Self) || m.space.abandoned(t.Entry) {
			continue
		}
		may, seen := m.space.canAct(t)
		if may && !seen { // it comes before those behind it, and only a marker reaches it
			break
		}
		if may {
			read.Nonces = append(read.Nonces, t.nonce)
		}
	}
	m.successors.Store(read)
	m.space.tidy(ctx, queues)
}

// ringNext rings the first of the successors that is there still. It returns false where only a
// list can show who that is.
func (m *Mutex) ringNext() bool {
	if !m.known(m.successors.Load(), false) {
		m.reading.Wait()
	}
	next := m.successors.Load()
	if !m.known(next, false) {
		return false
	}
	for i, nonce := range next.Nonces {
		if m.space.ring(nonce, Successors{next.Read, next.Nonces[i+1:]}) {
			return true
		}
	}
	return false
}
