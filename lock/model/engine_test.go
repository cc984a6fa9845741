package model

// remove emits the outcomes of a request of contender i to remove an entry by
// its ID. then continues the contender; done is whether the reply confirms it. (That a
// reply is lost after the removal matters to a release only.)
func (m *model) remove(s *state, i int, p uint8, emit emitter, then func(t *state, done bool)) {
	bad := m.foreign(s, i, p)
	t := *s
	then(&t, true)
	m.takeAway(&t, p)
	emit(&t, step{who: int8(i), what: "removes one by ID", progress: true, bad: bad})
	if m.removeFails {
		t := *s
		then(&t, false)
		emit(&t, step{who: int8(i), what: "remove fails, nothing is done"})
	}
	if m.removeLate && m.room(s) {
		t := *s
		then(&t, false)
		t.lateRemove |= bit(p)
		emit(&t, step{who: int8(i), what: "remove fails, it may come late"})
	}
}

// foreign reports whether an entry is that of another living process of ours.
func (m *model) foreign(s *state, i int, p uint8) violation {
	allowed := s.orphan | s.contenders[i].own
	if m.stalePlain {
		allowed |= s.plain
	}
	if m.stale || allowed.has(p) {
		return 0
	}
	return foreign
}

func (m *model) takeAway(s *state, p uint8) {
	s.listed &^= bit(p)
	s.hidden &^= bit(p)
	s.lateRemove &^= bit(p)
	for i := range m.n() {
		// A list that is on its way may show the entry all the same. That matters
		// only to one that verifies: it may yield to a rival that is gone.
		// (Its own is not gone: nobody removes that.)
		if c := &s.contenders[i]; c.pc == verify && (c.must | c.may).has(p) && !(s.orphan | c.own).has(p) {
			c.ghost = true
		}
	}
}

// removeByName is rm NAME: below 25 it fails when two entries have the name.
func (m *model) removeByName(s *state, i int) violation {
	if s.listed.len() != 1 {
		return 0
	}
	p := s.listed.lowest()
	bad := m.foreign(s, i, p)
	m.takeAway(s, p)
	return bad
}

// lateEffects emits what the engine may do by itself: what clients have given up.
func (m *model) lateEffects(s *state, emit emitter) {
	for rest := s.lateRemove; rest != 0; rest &^= bit(rest.lowest()) {
		t := *s
		m.takeAway(&t, rest.lowest())
		emit(&t, step{who: engine, what: "a late remove takes effect"})
	}
	for rest := s.hidden; rest != 0; rest &^= bit(rest.lowest()) {
		t := *s
		t.hidden &^= bit(rest.lowest())
		emit(&t, step{who: engine, what: "an entry can be seen by all now", progress: true})
	}
	if m.stray && s.listed.len() == 1 {
		t := *s
		m.removeByName(&t, 0)
		emit(&t, step{who: engine, what: "somebody runs rm NAME"})
	}
	for i := engine; i < m.n(); i++ {
		m.landings(s, i, emit)
	}
}

// coming are the late creates of contender i, or of the processes that ended.
func (s *state) coming(i int) (current, queued, checked *uint8) {
	if i == engine {
		return new(uint8), &s.queued, &s.checked
	}
	c := &s.contenders[i]
	return &c.current, &c.queued, &c.checked
}

// landings emits the next step of each kind of late create.
func (m *model) landings(s *state, i int, emit emitter) {
	current, queued, checked := s.coming(i)
	if *current == 1 || *queued > 0 {
		t := *s
		current, queued, checked := t.coming(i)
		isCurrent := *current == 1
		if isCurrent {
			*current = 0
		} else {
			*queued--
		}
		switch {
		case s.listed&^s.hidden != 0 && !m.repeats:
			emit(&t, step{who: engine, what: "a late create is refused: conflict"})
		case m.atomic:
			m.land(&t, i, isCurrent, emit)
		default:
			if isCurrent {
				*current = 2
			} else {
				*checked++
			}
			emit(&t, step{who: engine, what: "a late create: the engine finds no entry"})
		}
	}
	if *current == 2 || *checked > 0 {
		t := *s
		current, _, checked := t.coming(i)
		isCurrent := *current == 2
		if isCurrent {
			*current = 0
		} else {
			*checked--
		}
		m.land(&t, i, isCurrent, emit)
	}
}

// land inserts the entry of a late create, with any ID.
func (m *model) land(s *state, i int, isCurrent bool, emit emitter) {
	for p := range s.entries + 1 {
		t := *s
		m.add(&t, p)
		switch {
		case i == engine && m.jobs:
			t.forsaken |= bit(p)
		case i == engine:
			t.orphan |= bit(p)
		default:
			c := &t.contenders[i]
			c.own |= bit(p)
			c.unk |= bit(p)
			if isCurrent {
				c.mine = p
			}
		}
		emit(&t, step{who: engine, what: "a late create takes effect"})
	}
}
