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
	callTimeout  = 10 * time.Second // for one request: a hung daemon answers nothing
	poll         = time.Second      // a crash or a plain "docker network rm" wakes nobody
	recount      = 10 * time.Second // to tell the position; each count looks at every ticket's process
	longestRest  = 30 * poll        // of those far behind
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
	wakes     <-chan struct{} // by a marker
	rings     <-chan struct{} // by the bell
	tried     bool            // once, without a ticket, for nobody waited
	woken     bool            // by a release that found this process at the head
	wokenAt   time.Time
	freeSince time.Time
	waiting   Wait // as last reported
	counted   time.Time
	slowest   time.Duration // own call
	contested string        // the entry that a note was left about
	held      Held
}

// Acquire waits until it holds the lock or ctx ends, and returns the cause of
// that end. On every way out but holding it takes its entries along; if that
// fails too, the error says so.
func (m *Mutex) Acquire(ctx context.Context) (Held, error) {
	a := &acquisition{Mutex: m, unknown: map[string]bool{}}
	waiting, stop := context.WithCancel(ctx)
	err := a.run(waiting)
	stop()                              // nobody has to wake this process any more
	if err == nil && ctx.Err() != nil { // interrupted in the very last moment
		err = context.Cause(ctx)
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	if err != nil {
		return Held{}, errors.Join(err, a.withdraw(cleanup))
	}
	if a.ticket.ID != "" { // it has served; its removal would come on top of every hand-off
		m.leaving.Go(func() {
			// If it fails the ticket dies with this process.
			_ = bounded(context.WithoutCancel(ctx), func(ctx context.Context) error { return m.Engine.Remove(ctx, a.ticket.ID) })
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
	var seen []Entry
	err := a.call(ctx, func(ctx context.Context) (err error) {
		seen, err = list(ctx, a.Engine, a.Name)
		return err
	})
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
	err := a.call(ctx, func(ctx context.Context) error { return a.Engine.Remove(ctx, e.ID) })
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
	err = a.call(outlive, func(ctx context.Context) (err error) {
		id, err = a.Engine.Create(ctx, name, labels)
		return err
	})
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
	return min(max(300*time.Millisecond, 20*a.slowest), 5*time.Second)
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
	var tickets []ticket
	err := a.call(ctx, func(ctx context.Context) (err error) {
		tickets, err = a.queue(ctx)
		return err
	})
	return err != nil || len(tickets) > 0
}

// takeTicket enters the queue.
func (a *acquisition) takeTicket(ctx context.Context) error {
	var tickets []ticket
	err := a.call(ctx, func(ctx context.Context) (err error) {
		tickets, err = a.queue(ctx)
		return err
	})
	if err != nil {
		return err
	}
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
	a.ticket, a.queued = t, true
	return nil
}

// place returns how many tickets are ahead of this process's, and all of them.
func (a *acquisition) place(ctx context.Context) (ahead int, tickets []ticket) {
	tickets, err := a.queue(ctx)
	if err != nil {
		return 0, nil
	}
	me := a.ticket
	for _, t := range tickets {
		if t.nonce == me.nonce {
			me = t // the store knows whether it has aged
		}
	}
	for _, t := range tickets {
		if t.nonce != me.nonce && t.compare(me) < 0 {
			ahead++
		}
	}
	return ahead, tickets
}

// myTurn is asked while the lock is free: true for the head of the queue, and
// for the others when those ahead have left it free for too long. Who finds it
// free before its turn wakes the head: a killed holder did not.
func (a *acquisition) myTurn(ctx context.Context) bool {
	if a.freeSince.IsZero() {
		a.freeSince = time.Now()
	}
	ahead, tickets := a.place(ctx)
	if time.Since(a.freeSince) >= time.Duration(ahead)*headPatience {
		return true
	}
	a.wake(ctx, tickets[0].nonce)
	return false
}

// wait returns when a marker wakes this process, after a rest, or at once after
// the watch began: what happened before it has to be looked at.
func (a *acquisition) wait(ctx context.Context, w Wait) {
	w.Position, w.Waiters = a.waiting.Position, a.waiting.Waiters
	if w.Holder.ID != a.waiting.Holder.ID || time.Since(a.counted) > recount {
		ahead, tickets := a.place(ctx)
		w.Position, w.Waiters = ahead+1, len(tickets)
		a.counted = time.Now()
	}
	a.waiting = w
	if a.OnWait != nil {
		a.OnWait(w)
	}
	if a.wakes == nil {
		wakes, err := a.Engine.Watch(ctx, markerPrefix(a.Name, a.Self.Nonce))
		if err == nil {
			a.wakes = wakes
			return
		}
	}
	// Nobody far behind has his turn soon, and 256 who looked every second would
	// cost the daemon a fifth of a core.
	rest := min(poll*time.Duration(max(a.waiting.Position, 1)), longestRest)
	if w.Holder.ID == "" && !a.freeSince.IsZero() { // but those ahead may never try
		ahead := time.Duration(max(a.waiting.Position-1, 0))
		rest = min(rest, max(time.Until(a.freeSince.Add(ahead*headPatience)), poll/4))
	}
	timer := time.NewTimer(rest + rand.N(rest/4))
	defer timer.Stop()
	defer func() { a.wokenAt = time.Now() }()
	select {
	case <-ctx.Done():
	case <-timer.C:
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
}

// unreachable reports that the store did not answer, and gives it time.
func (a *acquisition) unreachable(ctx context.Context, err error) {
	if a.OnWait != nil && ctx.Err() == nil {
		a.OnWait(Wait{Err: err})
	}
	pause(ctx, poll/2+rand.N(poll/2))
}

// remove takes away an entry of this process and tells whether it is gone. It
// does not end with ctx: a cancelled job must still give back.
func (a *acquisition) remove(ctx context.Context, id string) bool {
	err := a.call(context.WithoutCancel(ctx), func(ctx context.Context) error { return a.Engine.Remove(ctx, id) })
	return err == nil || errors.Is(err, ErrNotFound)
}

// withdraw removes all that this process left in the store: what it knows by
// ID until that is gone, and for a few seconds what may still land.
func (a *acquisition) withdraw(ctx context.Context) error {
	pending := slices.Clone(a.ids)
	until := time.Now()
	if len(a.unknown) > 0 {
		until = until.Add(lateEffect)
	}
	for {
		pending = slices.DeleteFunc(pending, func(id string) bool { return a.remove(ctx, id) })
		left, err := a.left(ctx)
		pending = append(pending, left...)
		if len(pending) == 0 && err == nil && !time.Now().Before(until) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("could not give back what was half taken of lock %q (%v); it is in the way until it counts as orphan or stale", a.Name, errors.Join(err, ctx.Err()))
		}
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
		err := a.call(ctx, func(ctx context.Context) error {
			entries, err := a.Engine.List(ctx, prefix)
			for _, e := range entries {
				if e.label("nonce") == a.Self.Nonce {
					own = append(own, e.ID)
				}
			}
			return err
		})
		if err != nil {
			return own, err
		}
	}
	return own, nil
}

// call runs one request under its own timeout and remembers the slowest.
func (a *acquisition) call(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	start := time.Now()
	err := request(ctx)
	a.slowest = max(a.slowest, time.Since(start))
	return err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
