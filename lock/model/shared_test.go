package model

import (
	"fmt"
	"slices"
	"testing"
)

// sharedLock models a lock that many readers or one writer may hold. hostguard
// has none yet; this is how it would have to be done. A writer takes the lock L
// as ever, keeps it, and holds once no reader is announced. A reader announces
// itself under a name of its own, which conflicts with nothing on any engine,
// and holds if L then is free, of candidates too; else it takes its entry away.
// Each side announces, then looks: the later one sees the earlier.
//
// There are no faults here, the engine is an old one, and lists are snapshots.
type sharedLock struct {
	writers, readers int
	looksFirst       bool // as a mutation: readers look, then announce
}

const maxSharers = 5

// sharer is what a reader or writer does next.
type sharer uint8

const (
	sharerIdle     sharer = iota // look at L; a reader: announce itself
	writerCreate                 // its create is on the way
	writerInsert                 // checked, not yet inserted
	writerVerify                 // list L: is mine the only one?
	writerDrain                  // has L, waits for the readers
	writerHeld                   //
	readerLook                   // announced; look at L
	readerAnnounce               // only as a mutation: has found L free
	readerHeld                   //
)

type sharedState struct {
	is [maxSharers]sharer // the writers come first
	l  [maxSharers]uint8  // L's entries in the order of IDs: 1 + the writer; 0 is none
}

var _ system[sharedState] = (*sharedLock)(nil)

func (m *sharedLock) initial() *sharedState   { return &sharedState{} }
func (m *sharedLock) forbids() violation      { return overlap }
func (m *sharedLock) alive(*sharedState) bool { return true }

func (m *sharedLock) goal(s *sharedState) bool { return s.count(writerHeld)+s.count(readerHeld) > 0 }

func (m *sharedLock) violated(s *sharedState) violation {
	if writers := s.count(writerHeld); writers > 1 || writers == 1 && s.count(readerHeld) > 0 {
		return overlap
	}
	return 0
}

func (m *sharedLock) encode(s *sharedState, code []byte) []byte {
	for _, is := range s.is {
		code = append(code, byte(is))
	}
	return append(code, s.l[:]...)
}

func (m *sharedLock) decode(s *sharedState, code []byte) {
	for i := range s.is {
		s.is[i] = sharer(code[i])
	}
	copy(s.l[:], code[maxSharers:])
}

func (m *sharedLock) describe(_, after *sharedState, what step) string {
	name := fmt.Sprintf("writer %d", what.who)
	if int(what.who) >= m.writers {
		name = fmt.Sprintf("reader %d", what.who)
	}
	return fmt.Sprintf("%s %s  L %v", name, what.what, after.l[:after.entries()])
}

func (s *sharedState) count(what sharer) (n int) {
	for _, is := range s.is {
		if is == what {
			n++
		}
	}
	return n
}

func (s *sharedState) entries() int { return slices.Index(append(s.l[:], 0), 0) }

func (s *sharedState) remove(writer int) {
	left := slices.DeleteFunc(s.l[:], func(owner uint8) bool { return owner == uint8(writer+1) })
	clear(s.l[len(left):])
}

func (m *sharedLock) next(s *sharedState, emit func(*sharedState, step)) {
	for i := range m.writers + m.readers {
		to := func(next sharer, what string, change func(*sharedState)) {
			t := *s
			t.is[i] = next
			if change != nil {
				change(&t)
			}
			emit(&t, step{who: int8(i), what: what, progress: true})
		}
		if i < m.writers {
			m.write(s, i, to)
		} else {
			m.read(s, i, to)
		}
	}
}

type transition = func(next sharer, what string, change func(*sharedState))

func (m *sharedLock) write(s *sharedState, i int, to transition) {
	n := s.entries()
	free := n == 0
	remove := func(t *sharedState) { t.remove(i) }
	switch s.is[i] {
	case sharerIdle:
		if free {
			to(writerCreate, "finds L free and sends a create", nil)
		}
	case writerCreate:
		if free {
			to(writerInsert, "create: the engine finds no entry", nil)
		} else {
			to(sharerIdle, "is refused: conflict", nil)
		}
	case writerInsert:
		for p := range n + 1 {
			to(writerVerify, "create is done", func(t *sharedState) {
				copy(t.l[p+1:], s.l[p:])
				t.l[p] = uint8(i + 1)
			})
		}
	case writerVerify:
		if n == 1 {
			to(writerDrain, "verifies: has L", nil)
		} else {
			to(sharerIdle, "yields, or reaches its limit", remove)
		}
	case writerDrain:
		if s.count(readerLook)+s.count(readerHeld) == 0 {
			to(writerHeld, "finds no reader: HELD", nil)
		}
	case writerHeld:
		to(sharerIdle, "releases", remove)
	}
}

func (m *sharedLock) read(s *sharedState, i int, to transition) {
	free := s.entries() == 0
	switch {
	case s.is[i] == sharerIdle && m.looksFirst:
		if free {
			to(readerAnnounce, "finds L free", nil)
		}
	case s.is[i] == readerAnnounce:
		to(readerHeld, "announces itself: HELD", nil)
	case s.is[i] == sharerIdle:
		to(readerLook, "announces itself", nil)
	case s.is[i] == readerLook && free:
		to(readerHeld, "finds L free: HELD", nil)
	case s.is[i] == readerLook:
		to(sharerIdle, "finds L taken and withdraws", nil)
	case s.is[i] == readerHeld:
		to(sharerIdle, "releases", nil)
	}
}

func TestSharedLock(t *testing.T) {
	for _, m := range []sharedLock{{writers: 2, readers: 2}, {writers: 3, readers: 2}} {
		t.Run(fmt.Sprintf("%d writers, %d readers", m.writers, m.readers), func(t *testing.T) {
			r := explore(&m, true, limit())
			t.Log(r)
			holds(t, r)
		})
	}
	t.Run("a reader that looks first is caught", func(t *testing.T) {
		r := explore(&sharedLock{writers: 1, readers: 1, looksFirst: true}, false, limit())
		t.Log(r)
		if r.found != overlap {
			t.Error("it was not caught")
		}
	})
}
