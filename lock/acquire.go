package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

const (
	poll         = time.Second      // a crash or a plain "docker network rm" wakes nobody
	recount      = 45 * time.Second // to report the position; each count reads every ticket
	glance       = 10 * time.Millisecond
	withdrawTime = 15 * time.Second // to give back what was half taken
	lateEffect   = 3 * time.Second  // how long a create with unknown fate is looked for
)

// acquisition is one process's attempt to get the lock.
type acquisition struct {
	*Mutex
	ids       []string        // of every entry it ever created or found to be its own
	unknown   map[string]bool // nonces of creates whose fate is unknown
	queued    bool
	ticket    ticket
	ahead     []ticket        // of those before this process, as last counted
	gone      []Entry         // what the dead left in the queue, as last counted
	wakes     <-chan struct{} // by a marker
	rings     <-chan struct{} // by the bell
	tried     bool            // once, without a ticket, for nobody waited
	woken     bool            // by a release that found this process at the head
	wokenAt   time.Time
	freeSince time.Time
	freeFor   string // the first ticket, whose owner has not acted since then
	waiting   Wait   // as last reported
	counted   time.Time
	contested string // the entry that a note was left about
	held      Held
}

// Acquire waits until it holds the lock or ctx ends, and returns the cause of
// that end. On every way out but holding it takes its entries along; if that
// fails too, the error says so.
func (m *Mutex) Acquire(ctx context.Context) (Held, error) {
	a := &acquisition{Mutex: m, unknown: map[string]bool{}}
	m.slow = func(err error) { a.report(ctx, err) }
	waiting, stop := context.WithCancel(ctx)
	err := a.run(waiting)
	stop()                              // nobody has to wake this process any more
	if err == nil && ctx.Err() != nil { // interrupted in the very last moment
		err = context.Cause(ctx)
	}
	m.slow = nil
	cleanup := context.WithoutCancel(ctx)
	if err != nil {
		return Held{}, errors.Join(err, a.withdraw(cleanup))
	}
	if a.ticket.ID != "" { // it has served; its removal would come on top of every hand-off
		m.leaving.Go(func() {
			// If it fails the ticket dies with this process.
			_ = m.store().Remove(cleanup, a.ticket.ID)
			m.removeAll(cleanup, a.gone)
		})
	}
	return a.held, nil
}

// Finish waits until Acquire has left the queue. Call it before the process ends:
// the ticket would be in the way of the others until they see that it is dead.
func (m *Mutex) Finish() { m.leaving.Wait() }

// run ends without an error only when a.held is the lock.
func (a *acquisition) run(ctx context.Context) error {
	for looked := false; ctx.Err() == nil; looked = true {
		if a.woken { // the lock is free or about to be: a look would only cost
			if held, err := a.try(ctx); held || err != nil {
				return err
			}
			a.woken = time.Since(a.wokenAt) < eager
			continue
		}
		seen, err := a.look(ctx)
		if errors.Is(err, ErrRefused) && !looked { // later it may be a daemon that restarts
			return err
		}
		if err != nil {
			a.unreachable(ctx, err)
			continue
		}
		if a.removeOwn(ctx, seen) { // never wait for oneself
			continue
		}
		inTheWay, dropped := a.dropDead(ctx, seen)
		if dropped {
			continue
		}
		free := len(seen) == 0
		if !free {
			a.freeSince = time.Time{}
		}
		if !a.queued && (a.tried || !free || a.anyoneWaits(ctx)) {
			err := a.takeTicket(ctx)
			if errors.Is(err, ErrRefused) {
				return err
			}
			if err != nil {
				a.unreachable(ctx, err)
			}
			continue
		}
		if !free || a.queued && !a.myTurn(ctx) {
			a.wait(ctx, inTheWay)
			continue
		}
		a.tried = true
		if held, err := a.try(ctx); held || err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// try announces this process and verifies. Its error ends the acquire; false
// means to look again.
func (a *acquisition) try(ctx context.Context) (held bool, err error) {
	if a.JobGone != nil && a.JobGone() {
		return false, ErrJobGone
	}
	mine, err := a.announce(ctx)
	switch {
	case errors.Is(err, ErrRefused):
		return false, err
	case errors.Is(err, ErrConflict) && a.woken:
		pause(ctx, glance/20) // who woke this process is giving the lock back
		return false, nil
	case errors.Is(err, ErrConflict):
		pause(ctx, rand.N(5*glance)) // a rival may not be listed yet
		return false, nil
	case err != nil:
		a.unreachable(ctx, err)
		return false, nil
	case mine == "":
		return false, nil
	}
	if !a.settle(ctx, mine) || !a.verify(ctx, mine) {
		a.remove(ctx, mine)
		pause(ctx, glance+rand.N(10*glance))
		return false, nil
	}
	a.held.ID = mine
	if a.JobGone != nil && a.JobGone() {
		return false, ErrJobGone
	}
	return true, nil
}

// look lists the lock's entries, oldest first. Its failure is no answer.
func (a *acquisition) look(ctx context.Context) ([]Entry, error) {
	seen, err := list(ctx, a.store(), a.Name)
	slices.SortFunc(seen, func(x, y Entry) int { return strings.Compare(x.ID, y.ID) })
	return seen, err
}

// removeOwn removes this process's entries: ones that a failed removal left, or
// a create that took effect after its error. They are never adopted: a removal
// that was tried may still take effect (trace T3 of the model: two holders).
func (a *acquisition) removeOwn(ctx context.Context, seen []Entry) (found bool) {
	for _, e := range seen {
		if e.label("nonce") == a.Self.Nonce {
			found = true
			delete(a.unknown, e.label("create"))
			if !a.remove(ctx, e.ID) {
				a.ids = append(a.ids, e.ID) // for withdraw, if the time ends now
				pause(ctx, 10*glance)
			}
		}
	}
	return found
}

// dropDead removes, by ID, what dead holders left and what went stale. Any
// number of waiters may do so at once: who comes second gets ErrNotFound.
func (a *acquisition) dropDead(ctx context.Context, seen []Entry) (inTheWay Wait, dropped bool) {
	for _, e := range seen {
		v := a.judge(ctx, e, false)
		if a.leftByThisJob(e) {
			v = Verdict{Dead, "an earlier acquire of this same job was killed and left it"}
		}
		switch v.Life {
		case Dead, Stale:
			a.takeAway(ctx, e, v)
			dropped = true
		default:
			inTheWay = Wait{Holder: e, Verdict: v}
			a.contest(ctx, e)
		}
	}
	return inTheWay, dropped
}

// leftByThisJob finds what a killed acquire of the same job left: nobody waits
// for himself. A lock that this job holds has a record.
func (a *acquisition) leftByThisJob(e Entry) bool {
	h, ours := e.Holder()
	return ours && (a.Recorded == nil || !a.Recorded(e)) && !h.Command && h.SameJob(a.Self) && a.Self.Place.same(h.Place) &&
		h.Process.known() && a.alive(h.Process) == Dead
}

func (a *acquisition) takeAway(ctx context.Context, e Entry, v Verdict) {
	err := a.store().Remove(ctx, e.ID)
	switch {
	case err == nil:
		a.held.TookOverFrom = append(a.held.TookOverFrom, Judged{e, v})
		if a.OnTakeover != nil {
			a.OnTakeover(e, v)
		}
	case !errors.Is(err, ErrNotFound):
		a.unreachable(ctx, err)
	}
}

// announce creates this process's entry and returns its ID; "" when it is not
// known whether there is one, and a look will tell.
func (a *acquisition) announce(ctx context.Context) (string, error) {
	h := a.Self
	h.Create = NewNonce()
	h.Uptime = a.Host.Uptime()
	id, err := a.create(ctx, a.Name, h.labels(kindLock), h.Create)
	if err == nil || errors.Is(err, ErrConflict) || errors.Is(err, ErrRefused) {
		return id, err
	}
	seen, listErr := a.look(ctx)
	if listErr != nil {
		return "", err
	}
	for _, e := range seen {
		if e.label("create") == h.Create { // only the reply was lost
			delete(a.unknown, h.Create)
			a.ids = append(a.ids, e.ID)
			return e.ID, nil
		}
	}
	pause(ctx, poll/2+rand.N(poll/2)) // if it lands now, removeOwn finds it
	return "", nil
}

// create adds an entry. The request outlives ctx for a moment: a create whose
// client went away takes effect all the same (20 of 20 on Engine 20.10 and
// 26.1), so its reply is worth waiting for.
func (a *acquisition) create(ctx context.Context, name string, labels map[string]string, nonce string) (id string, err error) {
	outlive, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(2*time.Second, cancel) })
	defer stop()
	id, err = a.store().Create(outlive, name, labels)
	switch {
	case err == nil:
		a.ids = append(a.ids, id)
	case !errors.Is(err, ErrConflict) && !errors.Is(err, ErrRefused):
		a.unknown[nonce] = true
		a.uncertain = true
	}
	return id, err
}

// settle looks out for a plain "docker network create NAME" that slipped in
// before ours was listed, as engines below API 1.44 allow. It is false when
// there is one: that rival does not know how to yield.
func (a *acquisition) settle(ctx context.Context, mine string) bool {
	for end := time.Now().Add(a.Settle); time.Now().Before(end); {
		pause(ctx, min(5*glance, time.Until(end)))
		if ctx.Err() != nil {
			return false
		}
		if seen, err := a.look(ctx); err == nil && slices.ContainsFunc(seen, plain) {
			return false
		}
	}
	return true
}

// verify is true when a list showed this process's entry and no other. That is
// the only way to hold the lock: an entry once listed stays listed, and later
// contenders verify too. The order of IDs says who yields, never who holds.
func (a *acquisition) verify(ctx context.Context, mine string) bool {
	var rivals string
	end := time.Now().Add(a.limit())
	for ctx.Err() == nil && time.Now().Before(end) {
		seen, err := a.look(ctx)
		if err != nil {
			pause(ctx, 10*glance)
			continue
		}
		i := slices.IndexFunc(seen, func(e Entry) bool { return e.ID == mine })
		if i < 0 {
			return false // somebody took it away
		}
		others := slices.Delete(seen, i, i+1)
		if len(others) == 0 {
			return true
		}
		if now := ids(others); now != rivals {
			rivals, end = now, time.Now().Add(a.limit())
		}
		for _, e := range others {
			if e.label("nonce") == a.Self.Nonce {
				a.remove(ctx, e.ID)
			} else if v := a.judge(ctx, e, false); v.Life == Dead {
				a.takeAway(ctx, e, v)
			} else if plain(e) || e.ID < mine {
				return false
			}
		}
		pause(ctx, glance)
	}
	return false
}

// limit is how long a rival gets to yield. A fixed 300 ms made the lowest give
// up too often on a loaded daemon.
func (a *acquisition) limit() time.Duration {
	return min(max(300*time.Millisecond, 20*time.Duration(a.slowest.Load())), 5*time.Second)
}

func plain(e Entry) bool { _, ours := e.Holder(); return !ours }

func ids(entries []Entry) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(e.ID)
	}
	return b.String()
}

// anyoneWaits tells whether there is a queue to join. Where there is none a
// ticket would only cost: it is half of the time of an uncontended acquire.
func (a *acquisition) anyoneWaits(ctx context.Context) bool {
	waiting, gone, err := a.queue(ctx)
	if err != nil {
		return true
	}
	acting, ended := a.acting(ctx, waiting)
	a.removeAll(ctx, append(gone, ended...))
	return len(acting) > 0
}

// takeTicket enters the queue, or enters it again with the same number.
func (a *acquisition) takeTicket(ctx context.Context) error {
	entries, err := a.listQueue(ctx, queuePrefix(a.Name))
	if err != nil {
		return err
	}
	tickets := a.tickets(entries)
	if a.Bell != nil && a.rings == nil { // before anybody can see the ticket
		a.rings, _ = a.Bell.Hear(ctx, a.Self.Nonce) // nil blocks: markers wake us
	}
	t := ticket{nonce: a.Self.Nonce, high: a.Self.Priority == PriorityHigh, number: a.ticket.number}
	if t.number == 0 {
		t.number = 1
		for _, other := range tickets {
			t.number = max(t.number, other.number+1)
		}
	}
	h := a.Self.waiter()
	h.Create = NewNonce()
	h.Uptime = a.Host.Uptime()
	labels := with(h.labels(kindTicket), "number", fmt.Sprint(t.number))
	if a.Timeout > 0 {
		labels = with(labels, "timeout", a.Timeout.String())
	}
	t.ID, err = a.create(ctx, ticketName(a.Name, a.Self.Nonce), labels, h.Create)
	if errors.Is(err, ErrConflict) { // with our own try, whose reply was lost
		err = nil
		for _, own := range tickets {
			if own.nonce == t.nonce {
				t = own
			}
		}
	}
	if err != nil {
		return fmt.Errorf("take a ticket for lock %q: %w", a.Name, err)
	}
	a.ticket, a.queued, a.counted = t, true, time.Time{}
	return nil
}

// count finds this process's place in the queue: who is ahead as far as can be
// seen without asking the store after each, and how many wait. Who finds that its
// own ticket was taken away let a free lock pass, and has to take a new one.
func (a *acquisition) count(ctx context.Context) (waiters int, err error) {
	waiting, gone, err := a.queue(ctx)
	if err != nil {
		return 0, err
	}
	me := a.ticket
	a.queued = false
	for _, t := range waiting {
		if t.nonce == me.nonce {
			me, a.queued = t, true // the store knows whether it has aged
		}
	}
	a.ahead = slices.DeleteFunc(slices.Clone(waiting), func(t ticket) bool {
		return t.nonce == me.nonce || t.compare(me) > 0
	})
	a.gone = gone
	a.counted = time.Now()
	return len(waiting), nil
}

// myTurn is asked while the lock is free: true when nobody ahead can act, or when
// those ahead, whom nobody here can judge, have left it free for too long. Who
// finds the lock free before its turn wakes the head: a killed holder did not.
func (a *acquisition) myTurn(ctx context.Context) bool {
	if _, err := a.count(ctx); err != nil {
		return true // the order is lost, no more
	}
	acting, ended := a.acting(ctx, a.ahead)
	a.ahead, a.gone = acting, append(a.gone, ended...)
	if len(acting) == 0 {
		return true
	}
	if head := acting[0].ID; a.freeSince.IsZero() || a.freeFor != head { // else somebody has acted
		a.freeSince, a.freeFor = time.Now(), head
		a.wake(ctx, acting[:1])
		return false
	}
	if time.Since(a.freeSince) < a.patience() {
		return false
	}
	a.pass(ctx, acting)
	return true
}

// pass takes the tickets from those ahead, all at once, and wakes them. So who is
// dead costs one wait, once; who lives tries before this process does, and else
// takes a ticket of the same number again.
func (a *acquisition) pass(ctx context.Context, ahead []ticket) {
	for _, t := range ahead {
		_ = a.store().Remove(ctx, t.ID)
	}
	a.wake(ctx, ahead)
	pause(ctx, 2*glance)
}

// patience is how long this process leaves a free lock to those ahead. Later
// ones wait a little longer, so that not all try at once.
func (a *acquisition) patience() time.Duration {
	slow := min(20*time.Duration(a.slowest.Load()), 2*headPatience)
	return max(headPatience, slow) + min(time.Duration(len(a.ahead))*glance/2, 20*glance)
}

// wait returns when this process is woken, after a rest, when nobody ahead is
// left, or at once after the watch began: what happened before it has to be
// looked at.
func (a *acquisition) wait(ctx context.Context, w Wait) {
	w.Position, w.Waiters = a.waiting.Position, a.waiting.Waiters
	if w.Holder.ID != a.waiting.Holder.ID || time.Since(a.counted) > recount {
		if waiters, err := a.count(ctx); err == nil {
			a.removeAll(ctx, a.gone)
			a.gone = nil
			w.Position, w.Waiters = len(a.ahead)+1, waiters
		}
	}
	if !a.queued { // others went past it: first it takes a new ticket
		return
	}
	a.waiting = w
	a.tell(w)
	if a.wakes == nil {
		wakes, err := a.store().Watch(ctx, markerPrefix(a.Name, a.Self.Nonce))
		if err == nil {
			a.wakes = wakes
			return
		}
	}
	if w.Holder.ID == "" {
		a.sleep(ctx, min(max(a.patience()-time.Since(a.freeSince), poll/8), poll/2))
		return
	}
	holder, _ := w.Holder.Holder()
	over := len(a.ends(holder)) > 0 // what is left of it may live
	jitter := rand.N(poll / 4)
	for begin := time.Now(); ; {
		left, step := a.rest(ctx)+jitter-time.Since(begin), poll+jitter
		switch n := len(a.ahead); { // to see a process end asks nothing of the store
		case n == 0:
			step = poll / 4
		case a.sight(a.ahead[n-1]) != Unknown:
			step = poll / 2
		}
		if left <= 0 || a.sleep(ctx, min(left, step)) || !over && len(a.ahead) == 0 && len(a.ends(holder)) > 0 {
			return
		}
	}
}

// rest is how long this process may leave the lock to those ahead. As long as it
// sees one of their processes, that one looks sooner; whoever is nearest ahead
// and has gone is forgotten. Where it sees none, as from a container, it looks as
// often as all who wait may together.
func (a *acquisition) rest(ctx context.Context) time.Duration {
	for i, unknown := len(a.ahead)-1, false; i >= 0; i-- {
		switch life := a.sight(a.ahead[i]); {
		case life == Unknown:
			unknown = true
		case life == Alive && !a.stopped(a.ahead[i]):
			return min(poll*time.Duration(len(a.ahead)), longestRest)
		case !unknown:
			a.ahead = a.ahead[:i]
		}
	}
	for len(a.ahead) > 0 && a.containerGone(ctx, a.ahead[len(a.ahead)-1]) {
		a.ahead = a.ahead[:len(a.ahead)-1]
	}
	if len(a.ahead) == 0 {
		return poll
	}
	together := max(time.Duration(a.waiting.Waiters)*time.Second/maxLooks, poll)
	return min(poll*time.Duration(len(a.ahead)), together, longestRest)
}

// sleep is true when something woke this process early, or its watch has ended.
func (a *acquisition) sleep(ctx context.Context, d time.Duration) (early bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-timer.C:
		return false
	case _, a.woken = <-a.rings:
		if !a.woken {
			a.rings = nil
		}
	case _, a.woken = <-a.wakes:
		if !a.woken { // the daemon went away
			a.wakes = nil
			pause(ctx, 10*glance+rand.N(poll))
		}
	}
	a.wokenAt = time.Now()
	return true
}

// unreachable reports that the store did not answer, and gives it time.
func (a *acquisition) unreachable(ctx context.Context, err error) {
	a.report(ctx, err)
	pause(ctx, poll/2+rand.N(poll/2))
}

func (a *acquisition) report(ctx context.Context, err error) {
	if ctx.Err() == nil {
		a.tell(Wait{Err: err})
	}
}

func (a *acquisition) tell(w Wait) {
	if a.OnWait != nil {
		a.OnWait(w)
	}
}

// remove takes away an entry of this process and tells whether it is gone. It
// does not end with ctx: a cancelled job must still give back.
func (a *acquisition) remove(ctx context.Context, id string) bool {
	err := a.store().Remove(context.WithoutCancel(ctx), id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false
	}
	a.ids = slices.DeleteFunc(a.ids, func(own string) bool { return own == id })
	return true
}

// withdraw removes all that this process left in the store: what it knows by
// ID until that is gone, and for a few seconds what may still land. That may
// take longer than the caller wanted to wait, and is reported.
func (a *acquisition) withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, withdrawTime)
	defer cancel()
	pending := slices.Clone(a.ids)
	until := time.Now()
	if len(a.unknown) > 0 {
		until = until.Add(lateEffect)
	}
	for {
		var failed error
		pending = slices.DeleteFunc(pending, func(id string) bool {
			err := a.store().Remove(ctx, id)
			if err != nil && !errors.Is(err, ErrNotFound) {
				failed = err
				return false
			}
			return true
		})
		left, err := a.left(ctx)
		pending = append(pending, left...)
		if len(pending) == 0 && err == nil && !time.Now().Before(until) {
			return nil
		}
		failed = errors.Join(failed, err)
		if ctx.Err() != nil {
			return fmt.Errorf("could not give back what was half taken of lock %q (%v); it is in the way until it counts as orphan or stale",
				a.Name, errors.Join(failed, ctx.Err()))
		}
		a.tell(Wait{Leaving: true, Err: failed})
		if len(left) == 0 {
			pause(ctx, 10*glance)
		}
	}
}

// left lists this process's entries, of the lock and of its queue, if some may
// have been created without an answer.
func (a *acquisition) left(ctx context.Context) ([]string, error) {
	if len(a.unknown) == 0 {
		return nil, nil
	}
	var own []string
	for _, prefix := range []string{a.Name, queuePrefix(a.Name)} {
		entries, err := a.store().List(ctx, prefix)
		if err != nil {
			return own, err
		}
		for _, e := range entries {
			if e.label("nonce") == a.Self.Nonce {
				own = append(own, e.ID)
			}
		}
	}
	return own, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
