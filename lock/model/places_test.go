package model

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// places models a lock that more than one may hold: slots, and readers beside writers, as
// places.go and share.go of package lock have them. All contenders follow the protocol of
// exclude.go for a slot; a writer then waits for the readers, a reader announces itself and
// gives its slot back. Contenders may disagree about the number of slots.
//
// A create is two steps, check and insert, or on new engines one; it may be given up and take
// effect later, and its contender may die at any moment, for good, with its insert still
// coming. Lists are snapshots. What else may fail is the subject of model: it is the same for
// each place.
type places struct {
	slots    []int // that each contender counts
	shares   []bool
	atomic   bool
	deaths   bool
	late     bool // creates that are given up take effect later; one at a time
	anywhere bool // a contender tries a slot that it has not seen free

	// Mutations.
	ranks       bool // all on one name; holds who has a rank below the number of slots
	looksFirst  bool // a reader finds no writer, then announces itself without a slot
	verifiesOne bool // the list that verifies shows the place alone
	givesFirst  bool // a reader gives its slot back, then announces itself
}

const (
	maxHolders = 4
	maxPlaced  = 7 // entries
	readers    = 3 // the place of readers, after the slots
)

type placing uint8

const (
	placingIdle     placing = iota // look
	placingCreate                  // its create is on the way
	placingInsert                  // checked, not yet inserted
	placingVerify                  // list: may mine hold beside the others?
	placingDrain                   // a writer waits for readers
	placingAnnounce                // a reader creates its entry
	placingGiveBack                // a reader gives its slot back
	placingHeld
	placingYield
	placingRefused // for good
	placingDead
)

// placed is an entry, in the order of IDs.
type placed struct {
	owner, place uint8 // the owner from 1; 0: there is none
	reader       bool
	gone         bool // its owner gave it up or is dead
}

type placesState struct {
	is      [maxHolders]placing
	at      [maxHolders]uint8 // the slot that it tries or has
	entries [maxPlaced]placed
	coming  placed // a create that was given up
	checked bool   // by an old engine
}

var _ system[placesState] = (*places)(nil)

func (m *places) initial() *placesState { return &placesState{} }
func (m *places) forbids() violation    { return overlap }

func (m *places) alive(s *placesState) bool {
	for i := range m.slots {
		if s.is[i] < placingRefused {
			return true
		}
	}
	return false
}

func (m *places) holds(s *placesState, i int) bool { return s.is[i] == placingHeld }

func (m *places) goal(s *placesState) bool {
	for i := range m.slots {
		if m.holds(s, i) {
			return true
		}
	}
	return false
}

// violated: readers hold beside readers, and of those who count N slots N, in slots of their own.
func (m *places) violated(s *placesState) violation {
	for i := range m.slots {
		together := 1
		for j := range m.slots {
			if i == j || !m.holds(s, i) || !m.holds(s, j) || m.shares[i] && m.shares[j] {
				continue
			}
			if together++; m.slots[i] != m.slots[j] || m.shares[i] || m.shares[j] || !m.ranks && s.at[i] == s.at[j] {
				return overlap
			}
		}
		if together > m.slots[i] {
			return overlap
		}
	}
	return 0
}

func (m *places) encode(s *placesState, code []byte) []byte {
	for i := range s.is {
		code = append(code, byte(s.is[i])<<4|s.at[i])
	}
	for _, e := range append(s.entries[:], s.coming) {
		b := e.owner | e.place<<3
		if e.reader {
			b |= 1 << 6
		}
		if e.gone {
			b |= 1 << 7
		}
		code = append(code, b)
	}
	if s.checked {
		return append(code, 1)
	}
	return append(code, 0)
}

func (m *places) decode(s *placesState, code []byte) {
	*s = placesState{}
	for i := range s.is {
		s.is[i], s.at[i] = placing(code[i]>>4), code[i]&15
	}
	for i := range maxPlaced + 1 {
		b := code[maxHolders+i]
		e := placed{owner: b & 7, place: b >> 3 & 7, reader: b>>6&1 == 1, gone: b>>7 == 1}
		if i < maxPlaced {
			s.entries[i] = e
		} else {
			s.coming = e
		}
	}
	s.checked = code[maxHolders+maxPlaced+1] == 1
}

func (m *places) describe(_, after *placesState, what step) string {
	var line strings.Builder
	fmt.Fprintf(&line, "%c (%d slots, share %t) %s ", 'A'+what.who, m.slots[what.who], m.shares[what.who], what.what)
	for _, e := range after.list() {
		fmt.Fprintf(&line, " %c@%d", 'A'+e.owner-1, e.place)
	}
	return line.String()
}

func (s *placesState) list() []placed {
	return s.entries[:slices.IndexFunc(append(s.entries[:], placed{}), func(e placed) bool { return e.owner == 0 })]
}

func (s *placesState) remove(which func(placed) bool) {
	left := slices.DeleteFunc(s.list(), which)
	clear(s.entries[len(left):])
}

func (s *placesState) insert(e placed, at int) {
	copy(s.entries[at+1:], s.entries[at:maxPlaced-1])
	s.entries[at] = e
}

func (s *placesState) taken(place uint8) bool {
	return slices.ContainsFunc(s.list(), func(e placed) bool { return e.place == place })
}

// rivals returns the entries of others beside which contender i does not hold a slot.
func (m *places) rivals(s *placesState, i int, slot uint8) (all []placed) {
	for _, e := range s.list() {
		if e.owner == uint8(i+1) && !e.gone {
			continue
		}
		other := int(e.owner - 1)
		disagrees := m.slots[other] != m.slots[i] || e.reader && m.slots[i] > 1
		if e.place == slot || disagrees && !m.verifiesOne {
			all = append(all, e)
		}
	}
	return all
}

func (m *places) next(s *placesState, emit func(*placesState, step)) {
	for i := range m.slots {
		to := func(next placing, what string, change func(*placesState)) {
			t := *s
			t.is[i] = next
			if change != nil {
				change(&t)
			}
			emit(&t, step{who: int8(i), what: what, progress: true})
		}
		m.act(s, i, to)
		if m.deaths && s.is[i] < placingRefused {
			m.die(s, i, emit)
		}
	}
	if s.coming.owner != 0 {
		m.land(s, emit)
	}
}

// act follows contender i. What the dead left, and what one gave up, is removed on sight.
func (m *places) act(s *placesState, i int, to func(placing, string, func(*placesState))) {
	own := func(e placed) bool { return e.owner == uint8(i+1) && !e.gone }
	ownReader := func(e placed) bool { return own(e) && e.reader }
	ownSlot := func(e placed) bool { return own(e) && !e.reader }
	drop := func(t *placesState) { t.remove(func(e placed) bool { return e.gone }) }
	gone := slices.ContainsFunc(s.list(), func(e placed) bool { return e.gone })
	switch s.is[i] {
	case placingIdle:
		m.look(s, i, gone, to)
	case placingCreate:
		switch {
		case s.taken(s.at[i]) && !m.ranks:
			to(placingIdle, "is refused: conflict", nil)
		case m.atomic:
			m.inserts(s, i, to)
		default:
			to(placingInsert, "create: the engine finds no entry", nil)
		}
	case placingInsert:
		m.inserts(s, i, to)
	case placingVerify:
		rivals := m.rivals(s, i, s.at[i])
		if m.ranks {
			rivals = rivals[:min(len(rivals), m.ahead(s, i))]
			if len(rivals) < m.slots[i] {
				rivals = nil
			}
		}
		switch {
		case gone && !m.verifiesOne:
			to(placingVerify, "removes what the dead left", drop)
		case len(rivals) > 0:
			to(placingYield, "yields, or reaches its limit", nil)
		case m.shares[i] && m.givesFirst:
			to(placingAnnounce, "has its slot, and gives it back", func(t *placesState) { t.remove(ownSlot) })
		case m.shares[i]:
			to(placingAnnounce, "has its slot", nil)
		case slices.ContainsFunc(s.list(), func(e placed) bool { return e.reader }):
			to(placingDrain, "has its slot, and waits for readers", nil)
		default:
			to(placingHeld, "HELD", nil)
		}
	case placingDrain:
		switch {
		case gone:
			to(placingDrain, "removes what the dead left", drop)
		case !slices.ContainsFunc(s.list(), func(e placed) bool { return e.reader }):
			to(placingHeld, "sees no reader: HELD", nil)
		}
	case placingAnnounce:
		next := placingGiveBack
		if m.givesFirst || m.looksFirst {
			next = placingHeld
		}
		to(next, "announces itself as a reader", func(t *placesState) {
			t.insert(placed{owner: uint8(i + 1), place: readers, reader: true}, 0)
		})
	case placingGiveBack:
		to(placingHeld, "gives its slot back: HELD", func(t *placesState) { t.remove(ownSlot) })
	case placingHeld:
		to(placingIdle, "releases", func(t *placesState) {
			t.remove(func(e placed) bool { return ownSlot(e) || ownReader(e) })
		})
	case placingYield:
		to(placingIdle, "removes its entry", func(t *placesState) { t.remove(own) })
	}
}

// ahead is how many of its place have lower IDs than contender i.
func (m *places) ahead(s *placesState, i int) int {
	return slices.IndexFunc(s.list(), func(e placed) bool { return e.owner == uint8(i+1) && !e.gone })
}

func (m *places) look(s *placesState, i int, gone bool, to func(placing, string, func(*placesState))) {
	if gone {
		to(placingIdle, "removes what the dead left", func(t *placesState) {
			t.remove(func(e placed) bool { return e.gone })
		})
		return
	}
	if m.looksFirst && m.shares[i] {
		if !s.taken(0) {
			to(placingAnnounce, "finds no writer", nil)
		}
		return
	}
	for _, e := range s.list() {
		if m.slots[e.owner-1] != m.slots[i] {
			to(placingRefused, "is refused: it counts other slots", nil)
			return
		}
	}
	for slot := range uint8(m.slots[i]) {
		if m.ranks && slot > 0 {
			return
		}
		if len(m.rivals(s, i, slot)) < 1 || m.anywhere || m.ranks && len(s.list()) < m.slots[i] {
			to(placingCreate, fmt.Sprintf("sends a create in slot %d", slot), func(t *placesState) { t.at[i] = slot })
		}
	}
}

// inserts adds the entry of contender i, with any ID. Its client may have given up before.
func (m *places) inserts(s *placesState, i int, to func(placing, string, func(*placesState))) {
	e := placed{owner: uint8(i + 1), place: s.at[i]}
	for p := range len(s.list()) + 1 {
		to(placingVerify, "create is done", func(t *placesState) { t.insert(e, p) })
	}
	if m.late && s.coming.owner == 0 {
		checked := s.is[i] == placingInsert || m.atomic
		to(placingIdle, "create fails, it may come late", func(t *placesState) {
			e.gone = true // its client removes it on sight, as it would what the dead left
			t.coming, t.checked = e, checked
		})
	}
}

func (m *places) land(s *placesState, emit func(*placesState, step)) {
	who := int8(s.coming.owner - 1)
	t := *s
	t.coming, t.checked = placed{}, false
	if s.taken(s.coming.place) && (m.atomic || !s.checked) {
		emit(&t, step{who: who, what: "late create: conflict"})
		return
	}
	if !s.checked && !m.atomic {
		t := *s
		t.checked = true
		emit(&t, step{who: who, what: "late create: the engine finds no entry"})
		return
	}
	if len(s.list()) == maxPlaced {
		return
	}
	for p := range len(s.list()) + 1 {
		t := t
		t.insert(s.coming, p)
		emit(&t, step{who: who, what: "late create is done"})
	}
}

func (m *places) die(s *placesState, i int, emit func(*placesState, step)) {
	t := *s
	t.is[i], t.at[i] = placingDead, 0
	for k := range t.entries {
		if t.entries[k].owner == uint8(i+1) {
			t.entries[k].gone = true
		}
	}
	emit(&t, step{who: int8(i), what: "dies"})
	if (s.is[i] == placingCreate || s.is[i] == placingInsert) && s.coming.owner == 0 {
		t.coming = placed{owner: uint8(i + 1), place: s.at[i], gone: true}
		t.checked = s.is[i] == placingInsert
		emit(&t, step{who: int8(i), what: "dies, its create may come late"})
	}
}

func TestPlacesHold(t *testing.T) {
	for _, row := range []struct {
		name string
		m    places
	}{
		{"2 slots, 2 contenders", places{slots: []int{2, 2}}},
		{"2 slots, 3 contenders", places{slots: []int{2, 2, 2}}},
		{"2 writers, 2 readers", places{slots: []int{1, 1, 1, 1}, shares: []bool{false, false, true, true}}},
		{"1 writer, 2 readers", places{slots: []int{1, 1, 1}, shares: []bool{false, true, true}}},
		{"1 and 2 slots", places{slots: []int{1, 2, 2}}},
		{"2 and 3 slots", places{slots: []int{2, 3}}},
		{"a writer, a reader, 2 slots", places{slots: []int{1, 1, 2}, shares: []bool{false, true, false}}},
	} {
		for _, atomic := range []bool{false, true} {
			for _, faulty := range []bool{false, true} {
				m := row.m
				m.atomic, m.deaths, m.late = atomic, faulty, faulty
				m.anywhere = len(m.slots) < 4
				if len(m.slots) == 4 && !atomic {
					m.late = faulty && soak // 2 million states
				}
				if m.shares == nil {
					m.shares = make([]bool, len(m.slots))
				}
				t.Run(fmt.Sprintf("%s/%s/faults %t", row.name, engineName(atomic), faulty), func(t *testing.T) {
					r := explore(&m, true, limit())
					t.Log(r)
					holds(t, r)
				})
			}
		}
	}
}

func TestMutationsOfPlacesAreCaught(t *testing.T) {
	secondShares := []bool{false, true}
	for name, m := range map[string]places{
		"ranks below the number of slots on one name": {slots: []int{2, 2, 2}, ranks: true},
		"a reader that looks first":                   {slots: []int{1, 1}, shares: secondShares, looksFirst: true},
		"a reader that gives its slot back first":     {slots: []int{1, 1}, shares: secondShares, givesFirst: true},
		"a list that shows one place only":            {slots: []int{1, 2}, verifiesOne: true},
	} {
		t.Run(name, func(t *testing.T) {
			if m.shares == nil {
				m.shares = make([]bool, len(m.slots))
			}
			r := explore(&m, false, limit())
			t.Log(r)
			if r.found != overlap {
				t.Error("it was not caught")
			}
		})
	}
}
