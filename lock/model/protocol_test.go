package model

// violation is what must not happen.
type violation uint16

const (
	overlap      violation = 1 << iota // two living contenders hold
	plainOverlap                       // one of ours and a plain client hold
	selfWait                           // waits though its own entry is the only one
	leak                               // gave up, an entry of its own is left and it reports no error
	foreign                            // removed an entry of another living process
	falseAlarm                         // a release reports a lost lock; nobody took it away

	// Of a queue.
	paysAgain // waits again for one that let a free lock pass
	paysTwice // waits twice in one hand-off
	unwoken   // a release wakes nobody who could act

	anything = overlap | plainOverlap | selfWait | leak | foreign | falseAlarm
)

func (v violation) String() string {
	names := map[violation]string{
		overlap: "two hold", plainOverlap: "one of ours and a plain client hold", selfWait: "waits for itself",
		leak: "an entry is left behind", foreign: "the entry of a living process removed", falseAlarm: "false alarm",
		paysAgain: "waits again for one that let it pass", paysTwice: "waits twice in one hand-off",
		unwoken: "nobody is woken",
	}
	for flag, name := range names {
		if v&flag != 0 {
			return name
		}
	}
	return "nothing"
}

// model is one system: who contends, on what engine, what may go wrong, and
// how the protocol differs from the real one. The zero value of each field is
// the real protocol in a world without faults.
type model struct {
	ours, plain int
	atomic      bool // the engine checks and inserts in one step, as 25 and later
	repeats     bool // the engine never refuses a create, as a Gitea, whose comments have no names
	forbidden   violation

	// What may go wrong.
	deaths      bool // of a process, at any moment
	lost        bool // a create's reply, or the create; lists fail
	late        bool // a create fails for its client and takes effect later
	removeFails bool // a remove fails, done or not
	removeLate  bool // a remove fails for its client and takes effect later
	weak        bool // a list shows what was there throughout, and any of what came or went during it
	giveUps     bool // a contender's time is up
	outstanding int  // late requests at any one moment

	// What others may do, and what is not promised.
	stray       bool // anybody: network rm NAME
	stale       bool // a living holder may be judged stale (T4)
	stalePlain  bool // a living plain holder may be judged stale (T8)
	settles     bool // plain inserts follow their check within the settle
	jobs        bool // who ended is judged living, for its job goes on
	lookOutEnds bool // a create may land after its process has stopped looking for it (L5)

	// The protocol as first written: entries of one's own are waited for.
	asWritten bool
	// Mutations.
	noVerify      bool // created is held (T1)
	lowestWins    bool // the lowest ID holds at once (T2)
	adoptOnSight  bool // an entry with my nonce is mine, whatever I tried to do to it (T3)
	adoptAtOnce   bool // the list that finds the entry also verifies it (T5)
	byName        bool // the dead are removed by name (T7)
	hiding        bool // the creator sees its entry first, others later
	forgets       bool // an own entry that a list showed is not remembered when its removal fails
	forgetsTries  bool // a release that gets "not found" forgets that it tried before
	releaseByName bool
}

// step is one transition, described for a trace.
type step struct {
	who      int8 // contender, or -1: the engine
	what     string
	seen     mask // the list that it follows from
	listed   bool // there was one
	progress bool // no fault, death or giving up, and no late request
	bad      violation
}

const engine = -1

type emitter = func(*state, step)

func (m *model) n() int { return m.ours + m.plain }

func (m *model) initial() *state {
	s := &state{}
	for i := range m.n() {
		s.contenders[i].mine = none
		if i >= m.ours {
			s.contenders[i].pc = plainIdle
		}
	}
	return s
}

// next emits every state that can follow s.
func (m *model) next(s *state, emit emitter) {
	tidied := func(t *state, what step) {
		t.tidy(m.n())
		emit(t, what)
	}
	for i := range m.n() {
		m.act(s, i, tidied)
		if m.deaths && s.contenders[i].pc < dead {
			m.die(s, i, tidied)
		}
	}
	m.lateEffects(s, tidied)
}

// act emits what contender i may do next.
func (m *model) act(s *state, i int, emit emitter) {
	c := &s.contenders[i]
	switch c.pc {
	case look:
		m.list(s, i, emit, m.looked)
		m.giveUp(s, i, emit)
	case dropThenVerify:
		m.removeNext(s, i, emit)
		t := *s
		t.contenders[i].pc = dropThenYield
		emit(&t, step{who: int8(i), what: "reaches its limit during a request", progress: true})
	case drop, dropThenYield, sweep:
		m.removeNext(s, i, emit)
	case dropByName:
		t := *s
		t.contenders[i].pc = look
		bad := m.removeByName(&t, i)
		emit(&t, step{who: int8(i), what: "runs rm NAME to drop a dead one", progress: true, bad: bad})
	case create:
		m.create(s, i, emit)
	case insert:
		m.insert(s, i, emit)
		m.createFails(s, i, 2, emit)
	case lost:
		m.list(s, i, emit, m.adopt)
		if !c.listing {
			t := *s
			m.forget(&t, i)
			emit(&t, step{who: int8(i), what: "gets no list and goes again"})
		}
	case settle:
		m.settle(s, i, emit)
		m.giveUp(s, i, emit)
	case verify:
		m.list(s, i, emit, m.verified)
		m.giveUp(s, i, emit)
		if m.lost && !c.listing {
			t := *s
			t.contenders[i].pc = yield
			emit(&t, step{who: int8(i), what: "gets no list until the limit"})
		}
	case yield:
		m.remove(s, i, c.mine, emit, func(t *state, _ bool) {
			t.contenders[i].pc, t.contenders[i].mine = look, none
		})
	case held, release:
		m.release(s, i, emit)
	case sweepLook:
		m.list(s, i, emit, m.swept)
	case withdraw:
		m.withdraw(s, i, emit)
	case withdrawLook:
		m.list(s, i, emit, m.withdrawn)
	case plainIdle, plainInsert, plainHeld:
		m.plainly(s, i, emit)
	}
}

// giveUp begins the withdrawal. In the code it may also come in the midst of a
// request, whose end is then the first thing that happens; and right after the
// list that would have been HELD, which is no different from right before.
func (m *model) giveUp(s *state, i int, emit emitter) {
	if !m.giveUps || s.contenders[i].listing {
		return
	}
	t := *s
	c := &t.contenders[i]
	c.pc, c.mine, c.todo = withdraw, none, c.ids
	emit(&t, step{who: int8(i), what: "gives up"})
}

// list calls then with what a list shows contender i: a snapshot in one step,
// or, where the engine's list is weak, in two.
func (m *model) list(s *state, i int, emit emitter, then func(*state, int, mask, emitter)) {
	visible := s.listed&^s.hidden | s.listed&s.contenders[i].own
	if !m.weak {
		then(s, i, visible, emit)
		return
	}
	c := &s.contenders[i]
	if !c.listing {
		t := *s
		t.contenders[i].listing, t.contenders[i].must = true, visible
		emit(&t, step{who: int8(i), what: "starts a list", progress: true})
		return
	}
	t := *s
	u := &t.contenders[i]
	u.listing, u.ghost, u.must, u.may = false, false, 0, 0
	if c.ghost {
		t := t
		t.contenders[i].pc = yield
		emit(&t, step{who: int8(i), what: "lists one that is gone by now, and yields", progress: true})
	}
	for some := c.may; ; some = (some - 1) & c.may {
		then(&t, i, c.must|some, emit)
		if some == 0 {
			return
		}
	}
}

// looked follows the list that begins each round of acquisition.run.
func (m *model) looked(s *state, i int, seen mask, emit emitter) {
	c := &s.contenders[i]
	outcome := func(t *state, what string, bad violation) {
		emit(t, step{who: int8(i), what: what, seen: seen, listed: true, progress: true, bad: bad})
	}
	own := seen & c.own
	t := *s
	u := &t.contenders[i]
	switch {
	case own != 0 && m.adoptOnSight:
		u.pc, u.mine = verify, own.lowest()
		u.ids, u.unk = u.ids|bit(u.mine), u.unk&^bit(u.mine)
		outcome(&t, "adopts what carries its nonce", 0)
		return
	case own != 0 && !m.asWritten: // never wait for oneself
		u.pc, u.todo, u.unk = drop, own, u.unk&^own
		if !m.forgets {
			u.ids |= own
		}
		outcome(&t, "finds its own, to be removed", 0)
		return
	}
	dropped := seen & s.orphan
	if m.stalePlain && seen&s.plain != 0 {
		t := *s
		t.contenders[i].pc, t.contenders[i].todo = drop, dropped|seen&s.plain
		outcome(&t, "judges a plain one stale", 0)
	}
	if living := seen &^ (dropped | own | s.plain | s.forsaken); m.stale && living != 0 {
		t := *s
		t.contenders[i].pc, t.contenders[i].todo = drop, dropped|living
		outcome(&t, "judges a living one stale", 0)
	}
	switch {
	case dropped != 0 && m.byName:
		u.pc = dropByName
		outcome(&t, "finds a dead one", 0)
	case dropped != 0:
		u.pc, u.todo = drop, dropped
		outcome(&t, "finds a dead one", 0)
	case seen == 0:
		u.pc = create
		outcome(&t, "finds it free and sends a create", 0)
	case seen == own:
		outcome(&t, "waits", selfWait)
	default:
		outcome(&t, "waits", 0)
	}
}

// create is the engine's check of the name, and on new engines all of it.
func (m *model) create(s *state, i int, emit emitter) {
	t := *s
	if s.listed&^s.hidden != 0 && !m.repeats {
		t.contenders[i].pc = look
		emit(&t, step{who: int8(i), what: "is refused: conflict", progress: true})
	} else if m.atomic {
		m.insert(s, i, emit)
	} else {
		t.contenders[i].pc = insert
		emit(&t, step{who: int8(i), what: "create: the engine finds no entry", progress: true})
	}
	m.createFails(s, i, 1, emit)
}

// createFails emits the ways in which a create fails without having an effect
// by now. stage is what still comes: 1 the check, 2 only the insert.
func (m *model) createFails(s *state, i int, stage uint8, emit emitter) {
	if m.lost {
		t := *s
		t.contenders[i].pc = lost
		emit(&t, step{who: int8(i), what: "create fails, nothing is done"})
	}
	if m.late && m.room(s) {
		t := *s
		t.contenders[i].pc, t.contenders[i].current = lost, stage
		emit(&t, step{who: int8(i), what: "create fails, it may come late"})
	}
}

// room reports whether one more request may be late.
func (m *model) room(s *state) bool {
	n := s.lateRemove.len() + int(s.queued+s.checked)
	for i := range m.n() {
		n += s.contenders[i].late()
	}
	return n < m.outstanding
}

// insert adds an entry, with any ID among those that exist.
func (m *model) insert(s *state, i int, emit emitter) {
	for p := range s.entries + 1 {
		t := *s
		m.add(&t, p)
		c := &t.contenders[i]
		c.own |= bit(p)
		c.mine = p
		if m.lost {
			t := t
			c := &t.contenders[i]
			c.unk |= bit(p)
			c.pc = lost
			emit(&t, step{who: int8(i), what: "create is done, its reply lost"})
		}
		c.ids |= bit(p)
		c.pc = m.afterCreate()
		if m.noVerify {
			c.pc = held
		}
		emit(&t, step{who: int8(i), what: "create is done", progress: true})
	}
}

func (m *model) afterCreate() pc {
	if m.settles {
		return settle
	}
	return verify
}

func (m *model) add(s *state, p uint8) {
	s.open(m.n(), p)
	s.listed |= bit(p)
	if m.hiding {
		s.hidden |= bit(p)
	}
	for i := range m.n() {
		if c := &s.contenders[i]; c.listing {
			c.may |= bit(p)
		}
	}
}

// adopt follows the list after a create with an unknown fate. An entry with the
// nonce of this very create is this contender's, for nothing can have tried to
// remove it yet; but it counts only after another list.
func (m *model) adopt(s *state, i int, seen mask, emit emitter) {
	t := *s
	c := &t.contenders[i]
	move := step{who: int8(i), what: "finds nothing of its create and goes again", seen: seen, listed: true,
		progress: true}
	if seen.has(c.mine) {
		c.ids, c.unk = c.ids|bit(c.mine), c.unk&^bit(c.mine)
		c.pc = m.afterCreate()
		move.what = "finds the entry of its create"
		if m.adoptAtOnce && seen == bit(c.mine) {
			c.pc = held
		}
	} else {
		m.forget(&t, i)
	}
	emit(&t, move)
}

// forget leaves a create of unknown fate alone: if it ever shows, it is removed.
func (m *model) forget(s *state, i int) {
	c := &s.contenders[i]
	switch c.current {
	case 1:
		c.queued++
	case 2:
		c.checked++
	}
	c.current, c.mine, c.pc = 0, none, look
}

// settle ends when every plain client that had checked the name before has
// inserted its entry; that this is so is an assumption about time.
func (m *model) settle(s *state, i int, emit emitter) {
	m.list(s, i, emit, func(s *state, i int, seen mask, emit emitter) {
		if seen&s.plain != 0 {
			t := *s
			t.contenders[i].pc = yield
			emit(&t, step{who: int8(i), what: "finds a plain rival", seen: seen, listed: true, progress: true})
		}
	})
	for j := range m.n() {
		if s.contenders[j].pc == plainInsert {
			return
		}
	}
	t := *s
	t.contenders[i].pc = verify
	emit(&t, step{who: int8(i), what: "has settled", progress: true})
}

// verified follows a list of contender.verify.
func (m *model) verified(s *state, i int, seen mask, emit emitter) {
	t := *s
	c := &t.contenders[i]
	move := step{who: int8(i), seen: seen, listed: true, progress: true}
	others := seen &^ bit(c.mine)
	switch {
	case !seen.has(c.mine):
		move.what = "finds its own gone"
		c.pc = yield
		emit(&t, move)
		return
	case others == 0, m.lowestWins && others&(bit(c.mine)-1) == 0:
		move.what = "verifies: HELD"
		c.pc = held
		emit(&t, move)
		return
	}
	yields := false
	for ; others != 0 && !yields; others &^= bit(others.lowest()) { // in the order of IDs
		p := others.lowest()
		switch {
		case !m.asWritten && (c.own | s.orphan).has(p):
			c.todo |= bit(p)
		case s.plain.has(p) || p < c.mine:
			yields = true
		}
	}
	switch {
	case yields && c.todo != 0:
		c.pc, move.what = dropThenYield, "has to remove one, and to yield"
	case yields:
		c.pc, move.what = yield, "has to yield"
	case c.todo != 0:
		c.pc, move.what = dropThenVerify, "has to remove one"
	default: // those above will yield; if they do not until the limit:
		c.pc, move.what = yield, "is lowest, but has reached its limit"
	}
	emit(&t, move)
}

// release is held while its first request is on the way: later than in truth,
// which can only show more overlaps.
func (m *model) release(s *state, i int, emit emitter) {
	c := s.contenders[i]
	after := func(t *state) {
		u := &t.contenders[i]
		if u.own&^u.ids != 0 || u.late() > 0 {
			u.pc, u.mine = sweepLook, none
			return
		}
		m.end(t, i, look)
	}
	t := *s
	switch {
	case m.releaseByName:
		m.removeByName(&t, i)
		m.end(&t, i, look)
		emit(&t, step{who: int8(i), what: "runs rm NAME to release", progress: true})
		return
	case !s.listed.has(c.mine) && c.pc == release && !m.forgetsTries:
		after(&t)
		emit(&t, step{who: int8(i), what: "gets not found: an earlier try was done", progress: true})
		return
	case !s.listed.has(c.mine):
		after(&t)
		move := step{who: int8(i), what: "gets not found: its lock was taken away", progress: true}
		if !m.stray && !m.stale && !m.stalePlain {
			move.bad = falseAlarm
		}
		emit(&t, move)
		return
	}
	m.remove(s, i, c.mine, emit, func(t *state, done bool) {
		if done {
			after(t)
		} else {
			t.contenders[i].pc = release
		}
	})
	if m.removeFails {
		m.takeAway(&t, c.mine)
		t.contenders[i].pc = release
		emit(&t, step{who: int8(i), what: "remove is done, its reply lost"})
	}
}

// swept follows the list after a release.
func (m *model) swept(s *state, i int, seen mask, emit emitter) {
	t := *s
	c := &t.contenders[i]
	move := step{who: int8(i), what: "finds nothing that landed late, and ends", seen: seen, listed: true, progress: true}
	if c.todo = seen & c.own; c.todo != 0 {
		move.what = "finds what landed late"
		c.pc = sweep
	} else {
		m.end(&t, i, look)
	}
	emit(&t, move)
}

// withdraw removes what its contender knows by ID until that is gone.
func (m *model) withdraw(s *state, i int, emit emitter) {
	c := &s.contenders[i]
	t := *s
	u := &t.contenders[i]
	switch {
	case c.todo == 0 && c.unk == 0 && c.late() == 0:
		move := step{who: int8(i), what: "ends without the lock", progress: true}
		if c.own&s.listed != 0 {
			move.bad = leak
		}
		m.end(&t, i, look)
		emit(&t, move)
	case c.todo == 0:
		u.pc = withdrawLook
		emit(&t, step{who: int8(i), what: "has removed all that it knows of", progress: true})
	default:
		p := c.todo.lowest()
		m.remove(s, i, p, emit, func(t *state, done bool) {
			if done {
				t.contenders[i].todo &^= bit(p)
			}
		})
		if m.removeFails || m.removeLate {
			m.end(&t, i, look)
			emit(&t, step{who: int8(i), what: "reports that it could not give back"})
		}
	}
}

// withdrawn follows the list of one that looks out for what may still land. It
// does so for longer than requests take; lookOutEnds drops that assumption.
func (m *model) withdrawn(s *state, i int, seen mask, emit emitter) {
	t := *s
	c := &t.contenders[i]
	move := step{who: int8(i), what: "finds nothing more and ends without the lock", seen: seen, listed: true,
		progress: true}
	if c.todo = seen & c.own; c.todo != 0 {
		move.what = "finds what landed late"
		c.pc = withdraw
	} else {
		if !m.lookOutEnds {
			if c.own&s.listed != 0 {
				return // it landed during this list, so this was not the last one
			}
			c.queued, c.checked, c.current = 0, 0, 0
		}
		m.end(&t, i, look)
	}
	emit(&t, move)
}

// removeNext removes the first entry of todo, and goes on whatever the answer.
func (m *model) removeNext(s *state, i int, emit emitter) {
	c := &s.contenders[i]
	if c.todo == 0 { // only after a sweep; tidy has moved the others on
		t := *s
		m.end(&t, i, look)
		emit(&t, step{who: int8(i), what: "ends", progress: true})
		return
	}
	p := c.todo.lowest()
	m.remove(s, i, p, emit, func(t *state, _ bool) { t.contenders[i].todo &^= bit(p) })
}

// end lets a process end and another take its place. What it left is an orphan,
// or, if its job goes on, something that nobody may touch.
func (m *model) end(s *state, i int, next pc) {
	c := &s.contenders[i]
	if m.jobs {
		s.forsaken |= c.own & s.listed
		if !m.lookOutEnds {
			c.current, c.queued, c.checked = 0, 0, 0
		}
	} else {
		s.orphan |= c.own
	}
	m.forget(s, i)
	s.queued += c.queued
	s.checked += c.checked
	*c = contender{pc: next, mine: none}
}

// die ends a process for good, at any moment. A request that was on the way
// may still take effect.
func (m *model) die(s *state, i int, emit emitter) {
	c := &s.contenders[i]
	target := c.mine
	switch c.pc {
	case drop, dropThenVerify, dropThenYield, sweep, withdraw:
		target = c.todo.lowest()
	case yield, held, release:
	default:
		target = none
	}
	if s.listed.has(target) && m.room(s) {
		t := *s
		t.lateRemove |= bit(target)
		m.end(&t, i, dead)
		emit(&t, step{who: int8(i), what: "dies, its remove may come late"})
	}
	t := *s
	u := &t.contenders[i]
	what := "dies"
	if (c.pc == create || c.pc == insert) && m.room(s) {
		what = "dies, its create may come late"
		if u.current = 1; c.pc == insert {
			u.current = 2
		}
	}
	m.end(&t, i, dead)
	emit(&t, step{who: int8(i), what: what})
}

// plainly is what workflows did before: create is the lock, rm NAME gives back.
func (m *model) plainly(s *state, i int, emit emitter) {
	t := *s
	c := &t.contenders[i]
	move := step{who: int8(i), progress: true}
	switch {
	case c.pc == plainIdle && s.listed&^s.hidden != 0:
		return // refused, it tries again
	case c.pc == plainIdle && !m.atomic:
		c.pc, move.what = plainInsert, "plain create: the engine finds no entry"
		emit(&t, move)
	case c.pc == plainHeld:
		c.pc, move.what = plainIdle, "plain rm NAME"
		if s.listed.len() > 1 {
			move.what = "plain rm NAME: ambiguous"
		}
		m.removeByName(&t, i)
		emit(&t, move)
	default:
		for p := range s.entries + 1 {
			t := *s
			m.add(&t, p)
			t.plain |= bit(p)
			t.contenders[i].pc = plainHeld
			move.what = "plain create is done: holds"
			emit(&t, move)
		}
	}
}
