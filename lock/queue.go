package lock

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostguard/internal/hexid"
)

// The queue decides who tries first; exclusion never depends on it. A waiter
// leaves a ticket, an entry under a prefix of the lock's queue, which counts as
// long as its process lives. A release wakes the head of the queue: see wake.go.
const (
	PriorityHigh   = "high"
	PriorityNormal = "normal"

	queueNames = "hg-"            // begin all names of all queues
	ageing     = 30 * time.Minute // after that a normal ticket counts as high

	maxRemovals = 32              // of what the dead left, in one look: 2,000 removals took 20 s
	askingTime  = 2 * time.Second // for asking about containers, in one look

	// headPatience is how long a free lock is left to those ahead: with the look
	// before it, less than 3 s.
	headPatience = 1250 * time.Millisecond
	// movingOn is how long one of a crowd leaves it to those who are woken, with looks that may
	// each find it free between two holders.
	movingOn = poll / 2
	// longestRest is that of waiters far behind. Those who see nobody ahead make
	// maxLooks a second together: 256 who looked each second took half a core.
	longestRest = 30 * poll
	maxLooks    = 10
	// A look costs the daemon 16 us for each waiter of the host, whatever lock it waits
	// for. So with the square of their number grow the rests of those that are woken: that of
	// the first in a queue is 180 s where 1,000 wait. The rest of those far behind grows with the
	// third power, 600 s there, and is no longer than the first one's where fewWaiters wait.
	firstRest   = 180 * time.Microsecond
	fewWaiters  = 300
	manyWaiters = 1000

	crowd = 128 // waiters: see inCrowd
	// Of a crowd in its own queue each counts one of so many only: to read 1,000 tickets
	// takes a waiter 50 ms, and 1,000 read them.
	samples = 16
	// countPause is, for each waiter, the least time between two counts.
	countPause = 20 * time.Millisecond
	// maxTidied is how many entries of queues are judged at once: 1,000 who looked up each
	// other's processes when they joined took a core for 10 s.
	maxTidied = 4 * maxRemovals

	// A ticket's number is the host's boot-time clock, which nobody sets, in ticks, so that
	// the order needs no look at all others.
	tick      = time.Millisecond
	maxNumber = 1 << 36 // two years
	// passingTime is for the removal of tickets that were passed.
	passingTime = 2 * time.Second
)

// queuePrefix begins all names of a lock's queue. It does not contain the lock's
// name, which "docker network ls --filter name=" of others would match.
func queuePrefix(lock string) string {
	sum := sha256.Sum256([]byte(lock))
	return queueNames + hex.EncodeToString(sum[:8]) + "-"
}

func isQueueName(name string) bool {
	rest, found := strings.CutPrefix(name, queueNames)
	return found && len(rest) > 16 && hexid.Is(rest[:16], 16) && rest[16] == '-'
}

func ticketName(lock, nonce string) string { return queuePrefix(lock) + "t-" + nonce }

// ticket is a waiter's entry, which gives it a position in the queue.
type ticket struct {
	Entry
	nonce  string
	high   bool
	number int
}

// claim reads the labels: 10 us, which a look at a thousand tickets spends on few of them.
func (t ticket) claim() Claim {
	c, _ := t.Claim()
	return c
}

func (t ticket) compare(other ticket) int {
	if t.high != other.high {
		if t.high {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(t.number, other.number), t.Created.Compare(other.Created), cmp.Compare(t.ID, other.ID))
}

// queue returns, of any entries, the lock's tickets, in order, and apart from them what the
// dead left: their tickets, and wake markers whose maker died before removing them. Of a
// crowd's tickets it judges the first only: who is behind them finds out about those just
// ahead of it. The store is not asked about containers here; see acting.
func (m *Mutex) queue(entries []Entry) (waiting []ticket, gone []Entry) {
	waiting = m.tickets(entries)
	for _, e := range entries {
		if isQueueName(e.Name) && e.label("kind") != kindTicket && m.space.abandoned(e) {
			gone = append(gone, e)
		}
	}
	for i, t := range waiting[:min(len(waiting), maxTidied)] {
		if m.space.abandoned(t.Entry) {
			gone = append(gone, t.Entry)
			waiting[i].ID = "" // see below
		}
	}
	return slices.DeleteFunc(waiting, func(t ticket) bool { return t.ID == "" }), gone
}

func (m *Mutex) listQueue(ctx context.Context, prefixes ...string) ([]Entry, error) {
	entries, err := m.space.store().List(ctx, prefixes...)
	if err != nil {
		return nil, fmt.Errorf("list the queue of lock %q: %w", m.name, err)
	}
	return entries, nil
}

// tickets returns, of any entries, the tickets in order, those of the dead too. An
// entry whose name is not that of its nonce is no ticket: it could wake no waiter.
func (m *Mutex) tickets(entries []Entry) []ticket {
	var tickets []ticket
	prefix := ticketName(m.name, "")
	for _, e := range entries {
		nonce, found := strings.CutPrefix(e.Name, prefix)
		if !found || nonce != e.label("nonce") || e.label("kind") != kindTicket {
			continue
		}
		number, _ := strconv.Atoi(e.label("number"))
		number = min(max(number, 1), maxNumber)
		high := e.label("priority") == PriorityHigh || m.space.age(e) > ageing
		tickets = append(tickets, ticket{e, nonce, high, number})
	}
	slices.SortFunc(tickets, ticket.compare)
	return tickets
}

// head returns the nonce of the first in the queue who may act, if any. It looks up
// no more than it has to: a release waits for it.
func (m *Mutex) head(ctx context.Context, entries []Entry) (nonce string) {
	for _, t := range m.tickets(entries) {
		if m.space.abandoned(t.Entry) {
			continue
		}
		if acting, _ := m.space.acting(ctx, []ticket{t}); len(acting) > 0 {
			return t.nonce
		}
	}
	return ""
}

// living returns those tickets whose container has not ended, as far as the store
// answers in a moment, and apart from them those whose container has.
func (s *Space) living(ctx context.Context, tickets []ticket) (living []ticket, ended []Entry) {
	ctx, cancel := context.WithTimeout(ctx, askingTime)
	defer cancel()
	gone := map[string]bool{} // by container, as it was started
	for _, t := range tickets {
		claim := t.claim()
		id := claim.Container + claim.Started
		if _, asked := gone[id]; !asked {
			gone[id] = s.containerLife(ctx, claim) == Dead
		}
		if gone[id] {
			ended = append(ended, t.Entry)
		} else {
			living = append(living, t)
		}
	}
	return living, ended
}

// acting returns the living who may act. A stopped waiter keeps its ticket, and so does
// a process that is no waiter, and nobody waits for them.
func (s *Space) acting(ctx context.Context, tickets []ticket) (acting []ticket, ended []Entry) {
	living, ended := s.living(ctx, tickets)
	return slices.DeleteFunc(living, func(t ticket) bool {
		may, _ := s.canAct(t)
		return !may
	}), ended
}

// canAct reports whether a waiter may be able to act, and whether that is seen here: its
// process lives and hears its bell. One that hears none in this network is no waiter:
// anybody can name any process in a ticket.
func (s *Space) canAct(t ticket) (may, seen bool) {
	claim := t.claim()
	switch s.sight(claim) {
	case Unknown:
		return true, false
	case Dead:
		return false, false
	}
	if s.Host.Stopped(claim.Process.PID) {
		return false, false
	}
	if network := claim.Place.Network; network == "" || network != s.Self.Place.Network {
		return true, false
	}
	heard := s.hears(t.nonce)
	return heard, heard
}

// sight returns what this process itself sees of a waiter, without a request.
func (s *Space) sight(waiter Claim) Life {
	if !s.inSight(waiter) {
		return Unknown
	}
	return s.alive(waiter.Process)
}

// inSight reports whether this process sees those of a waiter's place.
func (s *Space) inSight(waiter Claim) bool {
	return s.Self.Place.same(waiter.Place) && waiter.Process.known()
}

// containerLife returns what the store knows of the container of a waiter.
func (s *Space) containerLife(ctx context.Context, waiter Claim) Life {
	store, ok := s.Engine.(Containers)
	if !ok || !hexid.Is(waiter.Container, 64) {
		return Unknown
	}
	life, _ := store.Container(ctx, waiter.Container, waiter.Started)
	return life
}

// abandoned reports whether e is a wake marker older than a minute, a note about an
// entry that must be gone, or a ticket whose process is gone or must have ended long
// ago by its own timeout.
func (s *Space) abandoned(e Entry) bool {
	switch e.label("kind") {
	case kindWake:
		return s.age(e) > markerLife
	case kindNote:
		return s.age(e) > noteLife
	case kindTicket:
		if timeout, err := time.ParseDuration(e.label("timeout")); err == nil && s.age(e) > timeout+time.Minute {
			return true
		}
		c, _ := e.Claim()
		return s.byReboot(context.Background(), c, false).Life == Dead || s.sight(c) == Dead
	}
	return false
}

// removeAll removes what the dead left, a few only: a look has to end soon, and
// others look as well. What fails is tried again by the next one.
func (s *Space) removeAll(ctx context.Context, entries []Entry) {
	for _, e := range entries[:min(len(entries), maxRemovals)] {
		_ = s.store().Remove(ctx, e.ID)
	}
}

// tidy removes what the dead left in any lock's queue: nobody may ever ask for
// that lock again. Where there is much, each release looks at some of it.
func (s *Space) tidy(ctx context.Context, entries []Entry) {
	entries = slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return !isQueueName(e.Name) || e.plain() })
	rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	entries = entries[:min(len(entries), maxTidied)]
	var gone []Entry
	var asked []ticket
	for _, e := range entries {
		if s.abandoned(e) {
			gone = append(gone, e)
		} else if c, _ := e.Claim(); e.label("kind") == kindTicket && c.Container != "" && len(asked) < maxRemovals {
			asked = append(asked, ticket{Entry: e})
		}
	}
	_, ended := s.living(ctx, asked)
	s.removeAll(ctx, append(gone, ended...))
}

// enter reports whether this process may look now. Who comes waits until few others do. Of a
// crowd one at a time looks, as every list beside it makes the hand-offs slower: four held one up
// for 200 ms. Those do not wait here, where they would not hear a ring.
func (a *acquisition) enter(ctx context.Context) (leave func(), may bool) {
	door := a.space.Turnstile
	switch {
	case door == nil, a.due, a.queued && !a.inCrowd():
		return func() {}, true
	case !a.queued:
		return door.Enter(ctx), true
	}
	leave, may = door.TryAlone()
	switch {
	case may:
		a.shut = time.Time{}
	case a.shut.IsZero():
		a.shut = time.Now()
	case time.Since(a.shut) > 2*poll: // the other one may be stopped
		return func() {}, true
	}
	return leave, may
}

// see lists the lock's entries, and with them the queue when the position in it is to be
// counted: one list costs the daemon as much as the other.
func (a *acquisition) see(ctx context.Context) (seen []Entry, err error) {
	recount := countEvery
	if a.moved {
		recount = time.Duration(a.waiters) * countPause
	}
	a.moved = false
	if time.Since(a.counted) < recount {
		return a.look(ctx)
	}
	queue, of := a.countable()
	entries, err := a.space.store().List(ctx, a.name, a.places, queue)
	if err != nil {
		return nil, fmt.Errorf("list lock %q and its queue: %w", a.name, err)
	}
	a.arrange(entries, of)
	return a.inPlaces(entries), nil
}

// countable returns the prefix of the tickets by which to count the queue, and of how many
// each of them is one.
func (a *acquisition) countable() (prefix string, of int) {
	var here int
	if a.space.Bell != nil {
		here, a.onHost = a.space.Bell.Hearing(queuePrefix(a.name))
	}
	if here < crowd {
		return queuePrefix(a.name), 1
	}
	return ticketName(a.name, a.space.Self.Nonce[:1]), samples // hex digits, and this process's own ticket
}

// anyoneWaits reports whether there is a queue to join. Where there is none a
// ticket would only cost: it is half of the time of an uncontended acquire.
func (a *acquisition) anyoneWaits(ctx context.Context) bool {
	acting, ended := a.space.acting(ctx, a.ahead)
	a.space.removeAll(ctx, append(a.gone, ended...))
	a.gone = nil
	return len(acting) > 0
}

// takeTicket joins the queue, or joins it again with the same number. The ticket
// expires with the deadline of ctx, whatever happens to this process.
func (a *acquisition) takeTicket(ctx context.Context) (err error) {
	pause(ctx, poll/4-time.Since(a.joined)) // others may take it away as often as they like
	if a.ticket.number == 0 && time.Since(a.counted) > poll/4 {
		if err := a.count(ctx, false); err != nil {
			return err
		}
	}
	self := a.space.Self
	if err := a.hear(ctx); err != nil { // before anybody can see the ticket
		self.Place.Network = ""
	}
	t := ticket{nonce: self.Nonce, high: self.Priority == PriorityHigh, number: a.ticket.number}
	t.Created = time.Now() // until a list shows the store's own time
	if t.number == 0 {
		t.number = a.nextNumber(t.Created)
	}
	claim := a.claim(self.ofWaiter())
	labels := with(claim.labels(kindTicket), "number", strconv.Itoa(t.number))
	if deadline, ok := ctx.Deadline(); ok {
		labels = with(labels, "timeout", time.Until(deadline).Round(time.Second).String())
	}
	t.ID, err = a.create(ctx, ticketName(a.name, self.Nonce), labels, claim.Create)
	if errors.Is(err, ErrConflict) { // with our own try, whose reply was lost
		a.ticket, a.joined = t, time.Now()
		err = a.count(ctx, true) // which finds it
		a.queued = true
		return err
	}
	if err != nil {
		return fmt.Errorf("take a ticket for lock %q: %w", a.name, err)
	}
	a.ticket, a.queued, a.joined = t, true, time.Now()
	a.taken = append(a.taken, t.ID)
	if a.inCrowd() { // who join together may be off by each other, and save 1,000 long lists
		a.ahead = before(a.ahead, t)
		a.processes = processes(a.ahead)
	} else {
		a.counted = time.Time{} // the next look counts
	}
	return nil
}

// hear begins to listen for rings, unless this process does already.
func (a *acquisition) hear(ctx context.Context) (err error) {
	if a.space.Bell != nil && a.rings == nil {
		a.rings, err = a.space.Bell.Hear(ctx, queuePrefix(a.name), a.space.Self.Nonce) // nil blocks: markers wake us
	}
	return err
}

// nextNumber returns a number that is after all that this process has seen, where it sees
// the whole queue: the store's clock, which orders those of one number, may be set back at
// any moment. Of a sample it is not before any, as each of a crowd would else count on from
// what it happens to see.
func (a *acquisition) nextNumber(now time.Time) int {
	number := max(int(a.space.Host.Uptime()/tick), 1)
	for _, other := range a.ahead { // all, since this process is none of them yet
		if other.number >= number {
			number = other.number
			if a.of == 1 || other.Created.After(now) {
				number++
			}
		}
	}
	return min(number, maxNumber)
}

// inCrowd reports whether so many wait for this lock, or here for any, that each does
// without what only makes it faster or more exact.
func (a *acquisition) inCrowd() bool { return max(a.waiters, a.onHost) >= crowd }

// count lists the queue to find this process's position, exactly if it has to be exact.
func (a *acquisition) count(ctx context.Context, exactly bool) error {
	queue, of := a.countable()
	if exactly {
		queue, of = queuePrefix(a.name), 1
	}
	entries, err := a.listQueue(ctx, queue)
	if err == nil {
		a.arrange(entries, of)
	}
	return err
}

// arrange finds this process's position in the queue: who is ahead as far as can be
// seen without asking the store about each, and how many wait. A process whose own
// ticket was taken away has left a free lock unused, and has to take a new one. Each of
// the tickets is one of so many.
func (a *acquisition) arrange(entries []Entry, of int) {
	var waiting []ticket
	waiting, a.gone = a.queue(entries)
	a.waiters, a.ahead, a.of, a.queued = len(waiting)*of, waiting, of, false
	if a.ticket.nonce != "" {
		me := a.ticket
		for _, t := range waiting {
			if t.nonce == me.nonce {
				a.ticket.ID = cmp.Or(me.ID, t.ID)
				me, a.queued = t, true // the store knows whether it has aged
			}
		}
		a.ahead = before(waiting, me)
	}
	a.position = len(a.ahead)*of + of/2 + 1
	a.processes = processes(a.ahead)
	a.counted = time.Now()
}

// before returns those of the tickets that come before t.
func before(tickets []ticket, t ticket) []ticket {
	return slices.DeleteFunc(slices.Clone(tickets), func(other ticket) bool {
		return other.nonce == t.nonce || other.compare(t) > 0
	})
}

func processes(tickets []ticket) int {
	type process struct {
		Place
		Process
	}
	of := map[process]bool{}
	for _, t := range tickets {
		claim := t.claim()
		of[process{claim.Place, claim.Process}] = true
	}
	return len(of)
}

// myTurn reports, while the lock is free, whether nobody ahead can act, or those
// ahead, whom nobody here can judge, have left it free for too long. A waiter that
// finds the lock free twice before its turn wakes the head: a killed holder has not.
// Of a crowd each leaves that to the release for a while before it reads the queue, unless it has
// freed the lock itself: one that is handed on ten times a second is free half of the time.
func (a *acquisition) myTurn(ctx context.Context, freed bool) bool {
	first := a.freeFrom.IsZero()
	if first {
		a.freeFrom = time.Now()
	}
	if a.inCrowd() && !freed && time.Since(a.freeFrom) < movingOn {
		return false
	}
	if err := a.count(ctx, true); err != nil {
		return true // the order is lost, no more
	}
	acting, ended := a.space.acting(ctx, a.ahead)
	a.ahead, a.gone = acting, append(a.gone, ended...)
	if len(acting) == 0 {
		return true
	}
	if first && !freed { // as in any hand-off, whose release wakes the head itself
		return false
	}
	patience := a.patience()
	if head := acting[0].ID; a.freeSince.IsZero() || a.freeFor != head { // else somebody has acted
		a.freeSince, a.freeFor = time.Now(), head
		a.wake(ctx, acting[:1])
		if time.Since(a.freeFrom) < 2*patience { // or somebody leaves one ticket after the other
			return false
		}
	}
	if time.Since(a.freeSince) < patience && time.Since(a.freeFrom) < 2*patience {
		return false
	}
	a.pass(ctx, acting)
	return true
}

// pass removes the tickets of those ahead, and wakes them. So the dead cost one wait,
// once; the living try before this process does, or take a ticket of the same number
// again. Where they are very many, most are removed once this process has the lock.
func (a *acquisition) pass(ctx context.Context, ahead []ticket) {
	now := min(len(ahead), maxRemovals)
	for _, t := range ahead[:now] {
		_ = a.space.store().Remove(ctx, t.ID)
	}
	a.passed = ahead[now:]
	a.wake(ctx, ahead)
	pause(ctx, 2*shortPause)
}

// removePassed removes the tickets that pass has left.
func (a *acquisition) removePassed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, passingTime)
	defer cancel()
	for _, t := range a.passed {
		if ctx.Err() != nil {
			return
		}
		_ = a.space.store().Remove(ctx, t.ID)
	}
}

// patience returns how long this process leaves a free lock to those ahead. Later
// waiters wait a little longer, so that not all try at once.
func (a *acquisition) patience() time.Duration {
	slow := min(20*a.space.slowestRequest(), 2*headPatience)
	return max(headPatience, slow) + min(time.Duration(len(a.ahead))*shortPause/2, 20*shortPause)
}
