package model

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strings"
)

// system is what can be explored.
type system[S any] interface {
	initial() *S
	next(*S, func(*S, step))
	encode(*S, []byte) []byte // of fixed length; equal for states that are alike
	decode(*S, []byte)
	violated(*S) violation // that a state itself is
	forbids() violation
	goal(*S) bool  // from every state with a
	alive(*S) bool // living contender the goal must be in reach
	describe(before, after *S, what step) string
}

// result is what an exploration found.
type result struct {
	states    int
	truncated bool      // at the limit of states
	found     violation // the first, with the shortest trace
	stuck     bool      // from the last state of the trace no goal is in reach
	trace     []string
}

// explore visits every state, nearest first. With progress it also checks that
// from each of them the goal can be reached without a death, without giving up
// and without another fault, and whether or not late requests take effect.
func explore[S any](sys system[S], progress bool, limit int) result {
	e := &explorer[S]{system: sys}
	e.run(progress, limit)
	return e.result
}

type explorer[S any] struct {
	system[S]
	result
	seen   visited
	parent []uint32 // of each state
	goals  []bool
	first  []uint32 // where each state's successors begin
	after  []uint32 // by progress only
}

func (e *explorer[S]) run(progress bool, limit int) {
	code := e.encode(e.initial(), nil)
	e.seen.width = len(code)
	e.seen.add(code)
	e.parent = append(e.parent, 0)
	var s S
	var now uint32
	var isGoal bool
	visit := func(t *S, what step) {
		if e.found != 0 {
			return
		}
		code = e.encode(t, code[:0])
		at, isNew := e.seen.add(code)
		if isNew {
			e.parent = append(e.parent, now)
		}
		if progress && what.progress && !isGoal {
			e.after = append(e.after, at)
		}
		bad := what.bad
		if isNew {
			bad |= e.violated(t)
		}
		if bad &= e.forbids(); bad != 0 {
			e.found = bad
			e.trace = append(e.traceTo(now), e.last(now, bytes.Clone(code), bad))
		}
	}
	for now = 0; int(now) < e.seen.count && e.found == 0; now++ {
		if e.seen.count > limit {
			e.truncated = true
			break
		}
		e.decode(&s, e.seen.code(now))
		if progress {
			isGoal = e.goal(&s)
			e.goals = append(e.goals, isGoal || !e.alive(&s))
			e.first = append(e.first, uint32(len(e.after)))
		}
		e.next(&s, visit)
	}
	e.states = e.seen.count
	if progress && e.found == 0 && !e.truncated {
		e.first = append(e.first, uint32(len(e.after)))
		e.checkProgress()
	}
}

// checkProgress spreads "a goal can be reached" backwards until nothing changes.
func (e *explorer[S]) checkProgress() {
	for changed := true; changed; {
		changed = false
		for i := len(e.goals) - 1; i >= 0; i-- {
			if e.goals[i] {
				continue
			}
			for _, to := range e.after[e.first[i]:e.first[i+1]] {
				if e.goals[to] {
					e.goals[i], changed = true, true
					break
				}
			}
		}
	}
	for i, reached := range e.goals {
		if !reached {
			e.stuck, e.trace = true, e.traceTo(uint32(i))
			return
		}
	}
}

// traceTo returns how a state is reached. Codes have lost which contender is
// which, so the way is walked again with their names.
func (e *explorer[S]) traceTo(to uint32) []string {
	lines, _ := e.walk(to)
	return lines
}

func (e *explorer[S]) walk(to uint32) ([]string, *S) {
	var path []uint32
	for ; to != 0; to = e.parent[to] {
		path = append(path, to)
	}
	s := e.initial()
	var lines []string
	for i := len(path) - 1; i >= 0; i-- {
		line, t := e.follow(s, e.seen.code(path[i]), 0)
		lines = append(lines, line)
		s = t
	}
	return lines, s
}

func (e *explorer[S]) last(from uint32, code []byte, bad violation) string {
	_, s := e.walk(from)
	line, _ := e.follow(s, code, bad)
	return line + "  <- " + bad.String()
}

// follow finds the step from s to the state with a code.
func (e *explorer[S]) follow(s *S, code []byte, bad violation) (line string, to *S) {
	e.next(s, func(t *S, what step) {
		if to == nil && bytes.Equal(e.encode(t, nil), code) && (bad == 0 || (what.bad|e.violated(t))&bad != 0) {
			u := *t
			line, to = e.describe(s, &u, what), &u
		}
	})
	return line, to
}

// visited is a set of codes, numbered in the order in which they came. It is an
// open hash table beside one array: a map of millions of codes would spend most
// of its time in the garbage collector.
type visited struct {
	width int
	codes []byte
	table []uint64 // half of a code's hash, and its number + 1
	count int
}

var seed = maphash.MakeSeed()

func (v *visited) code(i uint32) []byte { return v.codes[int(i)*v.width:][:v.width] }

func (v *visited) add(code []byte) (number uint32, isNew bool) {
	if 2*v.count >= len(v.table) {
		v.grow()
	}
	hash := maphash.Bytes(seed, code)
	tag := hash &^ (1<<32 - 1)
	at := v.first(hash)
	for ; v.table[at] != 0; at = v.second(at) {
		number := uint32(v.table[at]) - 1
		if v.table[at]&^(1<<32-1) == tag && bytes.Equal(v.code(number), code) {
			return number, false
		}
	}
	v.codes = append(v.codes, code...)
	v.count++
	v.table[at] = tag | uint64(v.count)
	return uint32(v.count - 1), true
}

// first is where to look for a hash, second where to look on.
func (v *visited) first(hash uint64) int { return int(hash) & (len(v.table) - 1) }
func (v *visited) second(at int) int     { return (at + 1) & (len(v.table) - 1) }

func (v *visited) grow() {
	v.table = make([]uint64, max(1<<10, 2*len(v.table)))
	for i := range v.count {
		hash := maphash.Bytes(seed, v.code(uint32(i)))
		at := v.first(hash)
		for v.table[at] != 0 {
			at = v.second(at)
		}
		v.table[at] = hash&^(1<<32-1) | uint64(i+1)
	}
}

// walkAtRandom walks through a system too large to be explored, and counts how
// often the goal is reached. Faults are rare, and where nobody lives it ends.
func walkAtRandom[S any](sys system[S], random *rand.Rand, steps int) (goals int, found violation, trace []string) {
	s := sys.initial()
	for range steps {
		var choice S
		var chosen step
		weights := 0
		sys.next(s, func(t *S, what step) {
			weight := 1
			if what.progress {
				weight = 50
			}
			if weights += weight; random.IntN(weights) < weight {
				choice, chosen = *t, what
			}
		})
		if weights == 0 || !sys.alive(s) {
			break
		}
		trace = append(trace, sys.describe(s, &choice, chosen))
		if !sys.goal(s) && sys.goal(&choice) {
			goals++
		}
		if bad := (chosen.bad | sys.violated(&choice)) & sys.forbids(); bad != 0 {
			return goals, bad, trace
		}
		s = &choice
	}
	return goals, 0, nil
}

func (r result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d states", r.states)
	if r.truncated {
		b.WriteString(", truncated")
	}
	if r.found != 0 {
		fmt.Fprintf(&b, ", %v after %d steps:", r.found, len(r.trace))
	}
	if r.stuck {
		fmt.Fprintf(&b, ", stuck after %d steps:", len(r.trace))
	}
	for i, line := range r.trace {
		fmt.Fprintf(&b, "\n  %2d %s", i+1, line)
	}
	return b.String()
}
