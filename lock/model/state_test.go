package model

import (
	"bytes"
	"math/bits"
)

// mask is a set of entries, each one a bit at its place in the order of IDs.
// So a comparison of IDs is one of places, and a new ID, which may be lower or
// higher than any other, is a new place between the old ones.
type mask uint16

func bit(place uint8) mask      { return 1 << place }
func (m mask) lowest() uint8    { return uint8(bits.TrailingZeros16(uint16(m))) }
func (m mask) len() int         { return bits.OnesCount16(uint16(m)) }
func (m mask) has(p uint8) bool { return p < maxEntries && m&bit(p) != 0 }

// opened and closed are m after a place was added or taken away.
func (m mask) opened(p uint8) mask { return m&(bit(p)-1) | m&^(bit(p)-1)<<1 }
func (m mask) closed(p uint8) mask { return m&(bit(p)-1) | m>>1&^(bit(p)-1) }

const (
	maxContenders = 8
	maxEntries    = 14
	gone          = maxEntries // in place of an entry: it was removed
	none          = maxEntries + 1
)

// pc is what a contender does next.
type pc uint8

const (
	look           pc = iota // list: is the lock free?
	drop                     // remove todo, then look
	dropByName               // only as a mutation: rm NAME, then look
	create                   // its create is on the way to the engine
	insert                   // old engines: checked, not yet inserted
	lost                     // the create's fate is unknown: list for its nonce
	settle                   // look out for plain rivals
	verify                   // list: is mine the only one?
	dropThenVerify           // remove todo, then verify
	dropThenYield            // remove todo, then yield
	yield                    // remove mine, then look
	held                     // HELD; its next step is the release
	release                  // the release was not answered: again
	sweepLook                // after the release: list for creates that landed late
	sweep                    // remove todo, each once
	withdraw                 // gave up: remove todo, each until it is gone
	withdrawLook             // gave up with creates of unknown fate: list for them
	dead

	plainIdle // a client that runs network create NAME, network rm NAME
	plainInsert
	plainHeld
)

// contender is one process, or one place where processes follow one another.
type contender struct {
	pc   pc
	mine uint8 // the entry it verifies, yields or holds; when lost, the one it looks for

	// Creates that were given up and may still take effect.
	current uint8 // 1: the one that lost looks for; 2: the same, checked already
	queued  uint8
	checked uint8

	own  mask // entries with its nonce, whether it knows of them or not
	ids  mask // those whose IDs it keeps
	unk  mask // those of creates whose fate it does not know
	todo mask // that it is about to remove, of whomever

	listing   bool // a list that is no snapshot has begun
	must, may mask // it shows these, and any of those
	ghost     bool // it may show a rival's that is gone by now
}

func (c *contender) late() int {
	n := int(c.queued + c.checked)
	if c.current != 0 {
		n++
	}
	return n
}

// state is everything at one moment.
type state struct {
	entries    uint8 // places in use
	listed     mask
	hidden     mask  // only as a mutation: seen by the creator, not yet by others
	orphan     mask  // of processes that ended, and that evidence shows so
	forsaken   mask  // of processes that ended, but their job goes on (L5)
	plain      mask  // of plain clients: without labels
	lateRemove mask  // removals that were given up and may still take effect
	queued     uint8 // creates of processes that ended, still coming
	checked    uint8

	contenders [maxContenders]contender
}

// open makes room for an entry, close forgets one.
func (s *state) open(n int, p uint8) {
	s.entries++
	if s.entries > maxEntries {
		panic("more entries than the model has room for")
	}
	s.listed, s.hidden, s.orphan = s.listed.opened(p), s.hidden.opened(p), s.orphan.opened(p)
	s.forsaken, s.plain, s.lateRemove = s.forsaken.opened(p), s.plain.opened(p), s.lateRemove.opened(p)
	for i := range n {
		c := &s.contenders[i]
		c.own, c.ids, c.unk, c.todo = c.own.opened(p), c.ids.opened(p), c.unk.opened(p), c.todo.opened(p)
		c.must, c.may = c.must.opened(p), c.may.opened(p)
		if c.mine < gone && c.mine >= p {
			c.mine++
		}
	}
}

func (s *state) close(n int, p uint8) {
	s.entries--
	s.listed, s.hidden, s.orphan = s.listed.closed(p), s.hidden.closed(p), s.orphan.closed(p)
	s.forsaken, s.plain, s.lateRemove = s.forsaken.closed(p), s.plain.closed(p), s.lateRemove.closed(p)
	for i := range n {
		c := &s.contenders[i]
		c.own, c.ids, c.unk, c.todo = c.own.closed(p), c.ids.closed(p), c.unk.closed(p), c.todo.closed(p)
		c.must, c.may = c.must.closed(p), c.may.closed(p)
		if c.mine < gone && c.mine == p {
			c.mine = gone
		} else if c.mine < gone && c.mine > p {
			c.mine--
		}
	}
}

// tidy brings a state into the one form that stands for all that differ only
// in what nobody can notice: removed entries are forgotten, and a removal of
// what is gone already, which changes nothing, is over.
func (s *state) tidy(n int) {
	for p := s.entries; p > 0; p-- {
		if !s.listed.has(p - 1) {
			s.close(n, p-1)
		}
	}
	for i := range n {
		c := &s.contenders[i]
		if c.todo == 0 {
			switch c.pc {
			case drop:
				c.pc = look
			case dropThenVerify:
				c.pc = verify
			case dropThenYield:
				c.pc = yield
			}
		}
		if c.pc == yield && c.mine == gone {
			c.pc, c.mine = look, none
		}
		if c.pc == lost && c.mine == gone {
			c.mine = none
		}
	}
}

const (
	globalBytes    = 8
	contenderBytes = 9
	maxEncoded     = 8 // entries in an encoded state
)

// encode appends the state's code: equal for states that only differ in which
// contender is which, for they all run the same program. Nothing in a contender
// refers to another one, only to entries, so sorting them is enough. (Hidden and
// forsaken entries share a byte: no system has both.)
func (s *state) encode(n int, code []byte) []byte {
	if s.entries > maxEncoded {
		panic("more entries than a code has room for")
	}
	code = append(code, s.entries, byte(s.listed), byte(s.hidden|s.forsaken), byte(s.orphan), byte(s.plain))
	code = append(code, byte(s.lateRemove), s.queued, s.checked)
	first := len(code)
	for i := range n {
		c := &s.contenders[i]
		kind := byte(c.pc)
		if c.listing {
			kind |= 0x80
		}
		if c.ghost {
			kind |= 0x40
		}
		block := [contenderBytes]byte{kind, c.mine, c.current | c.queued<<2 | c.checked<<5,
			byte(c.own), byte(c.ids), byte(c.unk), byte(c.todo), byte(c.must), byte(c.may)}
		code = append(code, block[:]...)
		for at := len(code) - contenderBytes; at > first; at -= contenderBytes {
			if bytes.Compare(code[at-contenderBytes:at], block[:]) <= 0 {
				break
			}
			copy(code[at:], code[at-contenderBytes:at])
			copy(code[at-contenderBytes:], block[:])
		}
	}
	return code
}

func (s *state) decode(n int, code []byte, hiding bool) {
	*s = state{
		entries: code[0], listed: mask(code[1]), orphan: mask(code[3]), plain: mask(code[4]),
		lateRemove: mask(code[5]), queued: code[6], checked: code[7],
	}
	if hiding {
		s.hidden = mask(code[2])
	} else {
		s.forsaken = mask(code[2])
	}
	for i := range n {
		b := code[globalBytes+i*contenderBytes:]
		s.contenders[i] = contender{
			pc: pc(b[0] & 0x3f), listing: b[0]&0x80 != 0, ghost: b[0]&0x40 != 0, mine: b[1],
			current: b[2] & 3, queued: b[2] >> 2 & 7, checked: b[2] >> 5,
			own: mask(b[3]), ids: mask(b[4]), unk: mask(b[5]), todo: mask(b[6]), must: mask(b[7]), may: mask(b[8]),
		}
	}
}
