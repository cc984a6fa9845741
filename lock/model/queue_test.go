package model

import (
	"fmt"
	"testing"
)

// queue models who tries when: tickets, wakes, whom a waiter sees, how long it
// leaves a free lock to those ahead. An acquire or a release is one step here, for
// the rest of this package is about those. The waiters are in the order of their
// tickets. Time is a choice, with one assumption: who was woken and acts tries
// before anybody's patience ends.
type queue struct {
	places  []uint8 // of each waiter; only who is in the same place is seen
	kills   bool    // of a waiter or a holder, at any moment
	stops   bool    // by a signal, and on again
	freezes bool    // as stops, but nobody sees it
	lost    bool    // somebody removes the lock's entry
	hangs   bool    // a request may have no answer

	// Mutations: the rules, left out.
	ticketsGuard  bool // a ticket ahead is enough to rest, whoever lives
	keepsTickets  bool // who is passed keeps its ticket
	oneByOne      bool // only the first is passed
	passesInSleep bool // who is passed is not woken, and learns nothing
	wakesNobody   bool // the release of a lost lock
	wakesFirst    bool // a release wakes the first ticket, whoever lives
	unbounded     bool // a request that hangs is waited for
}

const maxQueue = 4

type queueState struct {
	is      [maxQueue]waiterState
	lock    uint8 // 1 + who holds it, dead or not; 0 is free
	taken   bool  // its entry was removed by somebody, and its holder does not know
	waited  bool  // somebody's patience has ended since the lock came free
	patient uint8 // 1 + who has woken the first one, and waits
}

type waiterState struct {
	life    uint8 // acting, …
	ended   bool  // it held and gave back
	ticket  bool
	woken   bool
	hung    bool
	paidFor bool // somebody's patience has ended on its ticket
}

const (
	acts uint8 = iota
	isStopped
	isFrozen
	isKilled
)

var _ system[queueState] = (*queue)(nil)

func (m *queue) forbids() violation { return paysAgain | paysTwice | unwoken }

func (m *queue) initial() *queueState {
	s := &queueState{}
	for i := range m.places {
		s.is[i].ticket = i > 0
	}
	s.lock = 1 // the first one holds
	return s
}

func (m *queue) violated(*queueState) violation { return 0 }

// goal is that one who lives holds: who is stopped keeps what it holds.
func (m *queue) goal(s *queueState) bool {
	return s.lock > 0 && !s.taken && s.is[s.lock-1].life != isKilled && !s.is[s.lock-1].hung
}

func (m *queue) alive(s *queueState) bool {
	for i := range m.places {
		if s.is[i].life == acts && !s.is[i].ended {
			return true
		}
	}
	return false
}

func (m *queue) encode(s *queueState, code []byte) []byte {
	flags := func(all ...bool) (b byte) {
		for i, f := range all {
			if f {
				b |= 1 << i
			}
		}
		return b
	}
	for _, w := range s.is {
		code = append(code, w.life|flags(w.ended, w.ticket, w.woken, w.hung, w.paidFor)<<2)
	}
	return append(code, s.lock|s.patient<<3|flags(s.taken, s.waited)<<6)
}

func (m *queue) decode(s *queueState, code []byte) {
	for i := range s.is {
		c := code[i]
		s.is[i] = waiterState{c & 3, c&4 != 0, c&8 != 0, c&16 != 0, c&32 != 0, c&64 != 0}
	}
	last := code[maxQueue]
	s.lock, s.patient, s.taken, s.waited = last&7, last>>3&7, last&64 != 0, last&128 != 0
}

func (m *queue) describe(_, after *queueState, what step) string {
	return fmt.Sprintf("%c: %s  lock %d", 'A'+what.who, what.what, after.lock)
}

// idle reports whether i sees j not to act. Who is killed in a container that lives on,
// or frozen, is not seen.
func (m *queue) idle(s *queueState, i, j int) bool {
	return m.places[i] == m.places[j] && (s.is[j].life == isStopped || s.is[j].life == isKilled)
}

// ahead are those before i who may act, as far as i sees.
func (m *queue) ahead(s *queueState, i int) (ahead []int) {
	for j := range i {
		if s.is[j].ticket && !m.idle(s, i, j) {
			ahead = append(ahead, j)
		}
	}
	return ahead
}

// rests reports whether i does not look, for it sees one ahead who does. Whom it does
// not see it does not rest on.
func (m *queue) rests(s *queueState, i int) bool {
	for j := range i {
		switch {
		case !s.is[j].ticket:
		case m.ticketsGuard, m.places[i] == m.places[j] && s.is[j].life == acts && !m.rests(s, j):
			return true
		}
	}
	return false
}

func (s *queueState) hold(i int) {
	s.lock, s.patient, s.waited, s.taken = uint8(i+1), 0, false, false
	s.is[i].ticket, s.is[i].woken, s.is[i].paidFor = false, false, false
}

func (m *queue) next(s *queueState, emit func(*queueState, step)) {
	for i := range m.places {
		to := func(what string, progress bool, bad violation, change func(*queueState)) {
			t := *s
			change(&t)
			emit(&t, step{who: int8(i), what: what, progress: progress, bad: bad})
		}
		w := s.is[i]
		if !w.ended {
			m.faults(w, i, to)
		}
		switch {
		case w.ended, w.life != acts:
		case w.hung && !m.unbounded:
			to("has waited long enough for an answer", true, 0, func(t *queueState) { t.is[i].hung = false })
		case w.hung:
		case s.lock == uint8(i+1):
			m.release(s, i, to)
		default:
			m.contend(s, i, to)
		}
	}
	if m.lost && s.lock > 0 && !s.taken && s.is[s.lock-1].life == acts {
		t := *s
		t.taken = true
		emit(&t, step{who: int8(s.lock - 1), what: "loses its lock"})
	}
}

type queueStep = func(what string, progress bool, bad violation, change func(*queueState))

func (m *queue) faults(w waiterState, i int, to queueStep) {
	become := func(what string, life uint8) {
		// Who stops to act after a wait has ended may cost another.
		to(what, false, 0, func(t *queueState) { t.is[i].life, t.waited = life, t.waited && life == acts })
	}
	if m.kills && w.life != isKilled {
		become("is killed", isKilled)
	}
	if m.stops && w.life == acts {
		become("is stopped", isStopped)
	}
	if m.freezes && w.life == acts {
		become("is frozen", isFrozen)
	}
	if w.life == isStopped || w.life == isFrozen {
		become("goes on", acts)
	}
	if m.hangs && w.life == acts && !w.hung {
		to("asks, and has no answer", false, 0, func(t *queueState) { t.is[i].hung, t.waited = true, false })
	}
}

// release gives back and wakes the first one that may act.
func (m *queue) release(s *queueState, i int, to queueStep) {
	t := *s
	t.lock, t.taken, t.waited, t.patient, t.is[i].ended = 0, false, false, 0, true
	head := -1
	for j := range m.places {
		if t.is[j].ticket && (m.wakesFirst || !m.idle(&t, i, j)) {
			head = j
			break
		}
	}
	var bad violation
	if head >= 0 && !(s.taken && m.wakesNobody) {
		t.is[head].woken = true
	} else if head >= 0 {
		bad = unwoken
	}
	if head >= 0 && m.idle(&t, i, head) {
		bad = unwoken
	}
	to("gives back", true, bad, func(u *queueState) { *u = t })
}

// contend is what a waiter does: it tries when it is woken, and else looks.
func (m *queue) contend(s *queueState, i int, to queueStep) {
	free := s.lock == 0 || s.taken
	if s.is[i].woken {
		what := "is woken and finds the lock taken"
		if free {
			what = "is woken and holds"
		}
		to(what, true, 0, func(t *queueState) {
			t.is[i].woken = false
			if free {
				t.hold(i)
			}
		})
		return
	}
	if !s.is[i].ticket {
		if !m.passesInSleep {
			to("takes a ticket again", true, 0, func(t *queueState) { t.is[i].ticket, t.is[i].paidFor = true, false })
		}
		return
	}
	if m.rests(s, i) {
		return
	}
	if !free {
		if holder := s.lock - 1; s.is[holder].life == isKilled {
			to("takes the lock from a dead holder", true, 0, func(t *queueState) { t.lock, t.waited, t.patient = 0, false, 0 })
		}
		return
	}
	ahead := m.ahead(s, i)
	switch {
	case len(ahead) == 0:
		to("finds the lock free and holds", true, 0, func(t *queueState) { t.hold(i) })
	case s.patient != uint8(i+1):
		to("finds the lock free and wakes the first", true, 0, func(t *queueState) {
			t.patient, t.is[ahead[0]].woken = uint8(i+1), true
		})
	case !m.anybodyTries(s):
		m.pass(s, i, ahead, to)
	}
}

func (m *queue) anybodyTries(s *queueState) bool {
	for j := range m.places {
		if s.is[j].woken && s.is[j].life == acts && !s.is[j].hung {
			return true
		}
	}
	return false
}

// pass ends a patience: those ahead lose their tickets, and are woken.
func (m *queue) pass(s *queueState, i int, ahead []int, to queueStep) {
	if m.oneByOne {
		ahead = ahead[:1]
	}
	var bad violation
	t := *s
	for _, j := range ahead {
		if t.is[j].paidFor {
			bad |= paysAgain
		}
		t.is[j].paidFor = true
		t.is[j].ticket = m.keepsTickets
		t.is[j].woken = !m.passesInSleep
	}
	if t.waited {
		bad |= paysTwice
	}
	t.waited, t.patient = true, 0
	if m.keepsTickets && !m.anybodyTries(&t) {
		t.hold(i)
	}
	to("has been patient and passes those ahead", true, bad, func(u *queueState) { *u = t })
}

// The same place is a host, others are containers.
var queuePlaces = map[string][]uint8{
	"one host":                   {0, 0, 0, 0},
	"a container each":           {0, 1, 2, 3},
	"a host and two containers":  {0, 1, 0, 2},
	"two in one, two in another": {0, 1, 1, 0},
}

func TestTheQueue(t *testing.T) {
	for name, places := range queuePlaces {
		for faults, m := range map[string]queue{
			"killed, stopped, frozen, lost": {kills: true, stops: true, freezes: true, lost: true},
			"killed, lost, without answers": {kills: true, lost: true, hangs: true},
		} {
			t.Run(name+"/"+faults, func(t *testing.T) {
				m.places = places
				r := explore(&m, true, limit())
				t.Log(r)
				holds(t, r)
			})
		}
	}
}

func TestEachRuleOfTheQueueIsNeeded(t *testing.T) {
	host, apart := queuePlaces["one host"], queuePlaces["a container each"]
	for name, e := range map[string]struct {
		queue queue
		found violation // or else stuck
	}{
		"tickets of the dead are rested on":      {queue{places: host, kills: true, ticketsGuard: true}, 0},
		"who is passed keeps its ticket":         {queue{places: apart, kills: true, keepsTickets: true}, paysAgain},
		"each of the dead is waited for":         {queue{places: apart, kills: true, oneByOne: true}, paysTwice},
		"who is passed does not learn of it":     {queue{places: apart, freezes: true, passesInSleep: true}, 0},
		"the release of a lost lock is silent":   {queue{places: host, lost: true, wakesNobody: true}, unwoken},
		"a release wakes the first ticket":       {queue{places: host, kills: true, wakesFirst: true}, unwoken},
		"a request without an answer is bounded": {queue{places: host, hangs: true, unbounded: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := explore(&e.queue, e.found == 0, limit())
			t.Log(r)
			if r.found != e.found || e.found == 0 && !r.stuck {
				t.Errorf("found: %v, stuck: %v; want the one: %v, or else the other", r.found, r.stuck, e.found)
			}
		})
	}
}
