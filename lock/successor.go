package lock

import (
	"context"
	"slices"
	"time"
)

// A holder that gives back in the process that has acquired reads the queue beside its work, so
// that the next one need not wait until a release has done so: 1,000 tickets take 100 ms. Of a
// crowd it also hands the rest of what it has read to the one that it rings, else each of them
// would read 1,000 tickets to find one. What was read too late for that is passed to one that
// comes soon. It is a ring that depends on it, no more: who is rung verifies, and who was missed
// looks by itself.

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
	knownForInCrowd = 10 * time.Second
	// MaxSuccessors may be handed on, more than hold within that time.
	MaxSuccessors = 128
	// fewSuccessors are enough for one's own release, whose next may have been killed.
	fewSuccessors = 4

	// A crowd may hand on faster than its queue is read: all would read in vain, and slow down the
	// others. So each eighth reads, soon enough, for the fourth of those that come then. Whose
	// work lasts longer reads too, unless somebody has read just now.
	readerEvery = 8
	receiver    = readerEvery / 2
	readSoon    = 2 * readerEvery // that are left; as many as a release hands on that has read them
	longWork    = poll / 2
	justRead    = knownForInCrowd / 4
)

// known reports whether these were read within that time.
func (m *Mutex) known(s *Successors, within time.Duration) bool {
	if s == nil || len(s.Nonces) == 0 {
		return false
	}
	age := m.space.Host.Uptime() - s.Read
	return age >= 0 && age < within
}

// reliable returns how long what was read is relied on.
func (m *Mutex) reliable() time.Duration {
	if m.crowded {
		return knownForInCrowd
	}
	return knownFor
}

// lookAhead reads the queues for a release that may follow soon, unless this process has been
// handed what will do for short work, which ends with that context. Its own ticket, which is about
// to be removed, is none of them.
func (m *Mutex) lookAhead(work context.Context) {
	if handed := m.successors.Load(); m.willDo(handed) {
		pause(work, longWork)
		if work.Err() != nil || m.known(handed, justRead) {
			return
		}
	}
	ctx := context.WithoutCancel(work)
	read := &Successors{Read: m.space.Host.Uptime()}
	queues, err := m.listQueue(ctx, m.queuesToSee()...)
	if err != nil {
		return
	}
	most := fewSuccessors
	if m.crowded {
		most = MaxSuccessors
	}
	read.Nonces = m.following(m.tickets(queues), most)
	m.successors.Store(read)
	m.space.tidy(ctx, queues)
}

// stopWaiting ends lookAhead's wait for long work.
func (m *Mutex) stopWaiting() {
	if m.worked != nil {
		m.worked()
	}
}

// willDo reports whether these will do for short work.
func (m *Mutex) willDo(handed *Successors) bool {
	switch {
	case !m.known(handed, m.reliable()):
		return false
	case m.known(handed, m.reliable()/2) && len(handed.Nonces) > readSoon:
		return true
	}
	return len(handed.Nonces)%readerEvery != 0
}

// following returns the nonces of the first of the tickets that may be rung from here.
func (m *Mutex) following(tickets []ticket, most int) (nonces []string) {
	for _, t := range tickets {
		if len(nonces) == most {
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
			nonces = append(nonces, t.nonce)
		}
	}
	return nonces
}

// behind returns whom a release hands on to the head of the queue, of what it had to read itself
// since then.
func (m *Mutex) behind(head string, queues []Entry, begin time.Time) Successors {
	if !m.mayLookAhead() || m.space.crowd(m.name) < crowd {
		return Successors{}
	}
	tickets := m.tickets(queues)
	at := slices.IndexFunc(tickets, func(t ticket) bool { return t.nonce == head })
	if at < 0 {
		return Successors{}
	}
	return Successors{m.space.Host.Uptime() - time.Since(begin), m.following(tickets[at+1:], readSoon)}
}

// mayLookAhead reports whether this process releases itself, as those in the queue do most likely,
// by one list and where many would hear its ring.
func (m *Mutex) mayLookAhead() bool {
	return m.space.Self.Command && !m.Share && !m.space.Shared
}

// passOn hands on what lookAhead has read, if that came too late for this process's own ring.
func (m *Mutex) passOn() {
	if m.rang == nil || !m.crowded {
		return
	}
	m.reading.Wait()
	if read := m.successors.Load(); read != m.rang && len(read.Nonces) > receiver {
		m.space.Bell.Pass(read.Nonces[receiver], Successors{read.Read, read.Nonces[receiver+1:]})
	}
}

// ringNext rings the first of the successors that is there still. It returns false where only a
// list can show who that is.
func (m *Mutex) ringNext() bool {
	if !m.known(m.successors.Load(), m.reliable()) {
		m.reading.Wait()
	}
	next := m.successors.Load()
	if !m.known(next, m.reliable()) {
		return false
	}
	for i, nonce := range next.Nonces {
		if m.space.ring(nonce, Successors{next.Read, next.Nonces[i+1:]}) {
			m.rang = next
			return true
		}
	}
	return false
}
