package lock

import (
	"context"
	"math/rand/v2"
	"time"
)

// Bell wakes waiting processes of this host without the store, whose every change
// costs a millisecond. Wake-ups are best effort: waiters also poll.
type Bell interface {
	// Hear delivers, after a ring for a waiter's nonce and until ctx ends, what the ring carried.
	// That is nothing unless a process of the same user or of root rang.
	Hear(ctx context.Context, queue, nonce string) (<-chan Successors, error)
	// Ring returns false if no process that can be rung from here hears that nonce.
	Ring(nonce string, next Successors) bool
	// Pass hands that waiter what its next ring is to carry, unless that carries what was read later.
	Pass(nonce string, next Successors)
	// Hears returns false if no process here hears that nonce, and does not ring.
	Hears(nonce string) bool
	// Await delivers once, unless ctx ends before, that nobody hears that nonce any more. It fails
	// if that cannot be noticed here.
	Await(ctx context.Context, nonce string) (over <-chan struct{}, err error)
	// Hearing returns how many hear here, about: in that queue, and in all.
	Hearing(queue string) (here, all int)
}

// Turnstile lets a few waiters of this host ask the store at once. Who passes it is in no
// hurry: who may be next, and who gives back, do not wait for others.
type Turnstile interface {
	// Enter returns when this process may pass, or ctx ends, or it took too long.
	Enter(ctx context.Context) (leave func())
	// TryAlone passes beside those, unless another one that came in this way is passing.
	TryAlone() (leave func(), passed bool)
	// Shut keeps others from passing alone until open, but for one that is passing.
	Shut() (open func())
}

// markerPrefix begins the names of a waiter's wake markers, for waiters that cannot
// be rung: in containers, or on other hosts. A marker is an entry named after the
// waiter's ticket, and each waiter watches for its own name only, so that one process
// wakes, not all (measured with 256 waiters: 2.4 ms, against 30 ms when all wake).
func markerPrefix(lock, nonce string) string { return queuePrefix(lock) + "w-" + nonce + "-" }

// markerLife is far longer than a marker is needed.
const markerLife = time.Minute

// wake wakes waiters to try, since the lock may be free.
func (m *Mutex) wake(ctx context.Context, waiting []ticket) {
	var markers []Entry
	for _, t := range waiting {
		if !m.space.ring(t.nonce, Successors{}) && len(markers) < maxRemovals {
			markers = append(markers, m.mark(ctx, t.nonce)...)
		}
	}
	m.space.unmark(ctx, markers)
}

// handOn wakes the next, since the lock may be free.
func (m *Mutex) handOn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	entries, err := m.listQueue(ctx, m.name, queuePrefix(m.name))
	if err != nil {
		return // they look by themselves
	}
	if next := m.next(ctx, entries); next != "" {
		m.wake(ctx, []ticket{{nonce: next}})
	}
}

// mark creates a wake marker, which unmark removes again.
func (m *Mutex) mark(ctx context.Context, nonce string) []Entry {
	if m.space.Unwatched {
		return nil
	}
	name := markerPrefix(m.name, nonce) + NewNonce()[:8]
	id, err := m.space.store().Create(ctx, name, m.space.fresh(Claim{Place: m.space.Self.Place}).labels(kindWake))
	if err != nil {
		return nil
	}
	return []Entry{{ID: id}}
}

func (s *Space) unmark(ctx context.Context, markers []Entry) {
	if len(markers) > 0 {
		pause(ctx, 2*shortPause) // the daemon makes one change at a time, and the woken waiter's goes first
		for _, e := range markers {
			_ = s.store().Remove(ctx, e.ID)
		}
	}
}

// hears reports whether somebody hears that nonce, as a waiter does before others see
// its ticket; true where that cannot be known.
func (s *Space) hears(nonce string) bool { return s.Bell == nil || s.Bell.Hears(nonce) }

// crowd returns how many wait here, for whatever lock, about.
func (s *Space) crowd(lock string) (all int) {
	if s.Bell != nil {
		_, all = s.Bell.Hearing(queuePrefix(lock))
	}
	return all
}

// Scarce returns an interval between requests that need not be made. Where many wait on this host
// it is as long as the rest of the first in a queue, and random, else all would come at once: a
// hundred holders that each look every five seconds, beside a thousand waiters, take a third of a
// core from the daemon, and every 40 seconds still a tenth.
func (m *Mutex) Scarce(interval time.Duration) time.Duration {
	if rest := restOf(m.space.crowd(m.name)); rest > interval {
		return max(interval, rest*3/4+rand.N(rest/2))
	}
	return interval
}

func (s *Space) ring(nonce string, next Successors) bool {
	return nonce != "" && s.Bell != nil && s.Bell.Ring(nonce, next)
}
