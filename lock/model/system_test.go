package model

import "strings"

var _ system[state] = (*model)(nil)

func (m *model) forbids() violation { return m.forbidden }

func (m *model) encode(s *state, code []byte) []byte { return s.encode(m.n(), code) }
func (m *model) decode(s *state, code []byte)        { s.decode(m.n(), code, m.hiding) }

func (m *model) violated(s *state) violation {
	ours, plain := 0, 0
	for i := range m.n() {
		switch s.contenders[i].pc {
		case held:
			ours++
		case plainHeld:
			plain++
		}
	}
	switch {
	case ours > 1:
		return overlap
	case ours > 0 && plain > 0:
		return plainOverlap
	}
	return 0
}

// goal is that one of ours holds.
func (m *model) goal(s *state) bool {
	for i := range m.n() {
		if s.contenders[i].pc == held {
			return true
		}
	}
	return false
}

// alive is that one of ours lives.
func (m *model) alive(s *state) bool {
	for i := range m.n() {
		if s.contenders[i].pc < dead {
			return true
		}
	}
	return false
}

func (m *model) name(i int) string {
	switch {
	case i == engine:
		return "engine"
	case i < m.ours:
		return string(rune('A' + i))
	}
	return "plain " + string(rune('P'+i-m.ours))
}

// owners names the owners of entries, in the order of IDs.
func (m *model) owners(s *state, entries mask) string {
	var names []string
	for ; entries != 0; entries &^= bit(entries.lowest()) {
		p := entries.lowest()
		name := "?"
		switch {
		case s.orphan.has(p):
			name = "dead"
		case s.forsaken.has(p):
			name = "ended"
		case s.plain.has(p):
			name = "plain"
		}
		for i := range m.n() {
			if s.contenders[i].own.has(p) {
				name = m.name(i)
			}
		}
		names = append(names, name)
	}
	return "[" + strings.Join(names, " ") + "]"
}

// describe returns the line of a trace for a step.
func (m *model) describe(before, after *state, what step) string {
	line := m.name(int(what.who)) + ": "
	if what.listed {
		line += "list " + m.owners(before, what.seen) + ", "
	}
	line += what.what
	if was, is := m.owners(before, before.listed), m.owners(after, after.listed); was != is {
		line += "  " + is
	}
	return line
}
