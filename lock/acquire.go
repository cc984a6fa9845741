package lock

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"hostguard/internal/actrunner"
)

const (
	poll             = time.Second      // a crash or a plain "docker network rm" wakes nobody
	countEvery       = 45 * time.Second // to report the position; each count reads every ticket
	shortPause       = 10 * time.Millisecond
	wokenRetry       = 20 * time.Millisecond // of one that was woken: see wokenTime
	crowdRetry       = 100 * time.Millisecond
	longestRetry     = 250 * time.Millisecond
	looking          = 128              // who wait here look for the process ahead twice a second
	noticing         = 16               // who notice when it waits no more, and look whether it is stopped
	watching         = 2                // of a crowd, the first so many watch the store for their markers
	maxDoublings     = 4                // of the pause after a request that timed out: to 16 s
	withdrawTime     = 15 * time.Second // to remove the entries of an acquire that failed
	lateCreateWindow = 3 * time.Second  // during which a create with unknown fate is looked for
)

// acquisition is one process's attempt to get the lock: a contender that takes its
// turn. Whatever the order, only the contender decides who holds.
type acquisition struct {
	contender
	id   string   // of the entry by which it holds the lock
	slot string   // of that entry, unless it is a reader's
	free []string // slots, at the last look

	tried       bool // it has tried once without a ticket, because nobody waits
	woken       bool // by a release that found this process at the head of the queue
	wokenAt     time.Time
	due         bool              // it has been woken, and has tried for as long as it may
	wakes       <-chan struct{}   // by a marker
	rings       <-chan Successors // by the bell
	predecessor predecessor       // in the queue

	queued    bool // the last count found its ticket
	ticket    ticket
	taken     []string // IDs of all tickets that it has taken
	ahead     []ticket // of those before this process, at the last count
	of        int      // how many each of these stands for
	processes int      // that these are of: a forger's may have many
	position  int      // at the last count; 1 is next
	waiters   int      // at the last count
	onHost    int      // that wait here for any lock, at the last count
	gone      []Entry  // left in the queue by the dead, at the last count
	counted   time.Time
	moved     bool      // a holder has just ended: in a crowd no time to count
	rested    bool      // at least once while others held the lock
	freed     bool      // it has just removed what a dead holder left
	shut      time.Time // since then another one of the crowd looks, each time
	freeFrom  time.Time // since then every look has found the lock free
	freeSince time.Time
	freeFor   string   // ID of the first ticket; its owner has not acted since then
	passed    []ticket // and not removed yet
	joined    time.Time
	looks     budget // for being woken
	tries     budget // at once, when woken
	waiting   Wait   // as last reported
	noted     string // ID of the entry about which there is a note
}

// Acquire waits until it holds the lock or ctx ends, and returns the cause of
// that end. On every way out but holding it removes its entries; if that fails
// too, the error includes why.
func (m *Mutex) Acquire(ctx context.Context) (Acquired, error) {
	a := &acquisition{contender: contender{Mutex: m, unknown: map[string]bool{}},
		looks: budget{burst: 4, every: poll}, tries: budget{burst: 2, every: 5 * poll}}
	m.space.slow = func(err error) { a.report(ctx, err) }
	waiting, stop := context.WithCancel(ctx)
	err := a.take(waiting)
	stop()                              // nobody has to wake this process any more
	if err == nil && ctx.Err() != nil { // interrupted at the very last moment
		err = context.Cause(ctx)
	}
	m.space.slow = nil
	cleanup := context.WithoutCancel(ctx)
	if err != nil {
		err = errors.Join(err, a.withdraw(cleanup))
		if a.id != "" { // others may have waited for that
			m.handOn(cleanup)
		}
		return Acquired{}, err
	}
	m.place, m.crowded = a.slot, a.inCrowd()
	if a.ticket.ID != "" { // no longer needed; removing it now would slow down every hand-off
		m.leaving.Go(func() {
			a.leaveQueue(cleanup)
			if len(m.vacant(a.verified)) > 0 { // two that gave back at once have woken one
				m.handOn(cleanup)
			}
		})
		if m.mayLookAhead() {
			var work context.Context
			work, m.worked = context.WithCancel(cleanup)
			m.reading.Go(func() { m.lookAhead(work) })
		}
	}
	held := Acquired{ID: a.id, Name: a.slot, TookOverFrom: a.tookOver}
	if !m.Share && m.slots() == 1 {
		held.Fence = a.fence
	}
	if !m.Share {
		held.Slot = Entry{Name: a.slot}.Slot()
	}
	return held, nil
}

// take returns without an error only when it holds the lock.
func (a *acquisition) take(ctx context.Context) error {
	for {
		if err := a.run(ctx); err != nil {
			return err
		}
		beside := slices.DeleteFunc(slices.Clone(a.verified), func(e Entry) bool { return e.ID == a.id })
		a.contest(ctx, beside)
		held, err := true, error(nil)
		switch {
		case a.Share:
			held, err = a.share(ctx)
		case slices.ContainsFunc(a.verified, Entry.reader):
			held, err = a.drain(ctx)
		}
		if held || err != nil {
			return err
		}
	}
}

// leaveQueue removes this process's ticket, and any that it took because it missed that one:
// a store that refuses no name has both. What cannot be removed dies with this process.
func (a *acquisition) leaveQueue(ctx context.Context) {
	if a.ticket.ID == "" {
		return
	}
	for _, id := range slices.Compact(append(a.taken, a.ticket.ID)) {
		_ = a.space.store().Remove(ctx, id)
	}
	a.taken, a.ticket.ID, a.queued = nil, "", false
	a.space.removeAll(ctx, a.gone)
	a.gone = nil
	a.removePassed(ctx)
}

// Finish waits until Acquire has left the queue. Call it before the process ends:
// the ticket would delay the others until they see that its process is dead.
func (m *Mutex) Finish() {
	m.leaving.Wait()
	m.stopWaiting()
	m.reading.Wait()
}

// run returns without an error only when it holds a slot.
func (a *acquisition) run(ctx context.Context) error {
	for looked := false; ctx.Err() == nil; looked = true {
		if a.woken { // the lock is free or about to be: a look would only cost time
			if held, err := a.follows(ctx); held || err != nil {
				return err
			}
			continue
		}
		if a.rung() {
			continue
		}
		leave, may := a.enter(ctx)
		if !may {
			a.sleep(ctx, shortPause+rand.N(shortPause+min(time.Since(a.shut)/2, 8*shortPause)))
			continue
		}
		seen, err := a.see(ctx)
		leave()
		if a.rung() { // which is newer
			continue
		}
		if errors.Is(err, ErrRefused) && !looked { // later it may be a daemon that restarts
			return err
		}
		if err != nil {
			a.unreachable(ctx, err)
			continue
		}
		a.timeouts = 0
		if a.removeOwn(ctx, seen) { // never wait for oneself
			continue
		}
		living, dropped := a.dropDead(ctx, a.concerning(seen))
		if dropped {
			a.freed = true
			continue
		}
		if err := a.disagreement(living); err != nil {
			return err
		}
		a.contest(ctx, seen)
		a.free = a.vacant(seen)
		free, due, freed := len(a.free) > 0, a.due, a.freed
		a.due, a.freed = false, false
		if !free {
			a.freeSince, a.freeFrom = time.Time{}, time.Time{}
		}
		if !a.queued && (a.tried || !free || a.anyoneWaits(ctx)) {
			err := a.takeTicket(ctx)
			if errors.Is(err, ErrRefused) {
				return err
			}
			if err != nil {
				a.unreachable(ctx, err)
			}
			if err != nil || !a.inCrowd() {
				continue
			}
		}
		if err := a.disagreementAhead(); err != nil {
			return err
		}
		if !free || a.queued && !due && !a.myTurn(ctx, freed) {
			if free {
				living = nil // they are not in the way
			}
			a.wait(ctx, living)
			continue
		}
		a.tried = true
		if held, err := a.attempt(ctx); held || err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// follows tries to get the lock for as long as it may take the one that has woken this process to
// give it back. Of a crowd nobody looks meanwhile: a list takes the daemon as long as a hand-off.
func (a *acquisition) follows(ctx context.Context) (held bool, err error) {
	if door := a.space.Turnstile; door != nil && a.inCrowd() {
		defer door.Shut()()
	}
	for !held && err == nil && a.woken && ctx.Err() == nil {
		if held, err = a.attempt(ctx); !held {
			a.woken = time.Since(a.wokenAt) < a.space.wokenTime(a.inCrowd())
			a.due = !a.woken
		}
	}
	return held, err
}

// attempt tries to get the lock for a job that still exists. Its error ends the
// acquire; otherwise, if it is not held, the caller looks again.
func (a *acquisition) attempt(ctx context.Context) (held bool, err error) {
	if a.jobGone() {
		return false, ErrJobGone
	}
	slots := a.free
	if a.woken {
		slots = a.vacant(nil)
	}
	rand.Shuffle(len(slots), func(i, j int) { slots[i], slots[j] = slots[j], slots[i] })
	for _, a.slot = range slots {
		if a.id, err = a.try(ctx, a.slot); !errors.Is(err, ErrConflict) {
			break
		}
	}
	switch {
	case errors.Is(err, ErrRefused):
		return false, err
	case errors.Is(err, ErrConflict) && a.woken:
		pause(ctx, max(shortPause/20, time.Since(a.wokenAt)/16)) // the waker is giving the lock back
	case errors.Is(err, ErrConflict):
		pause(ctx, rand.N(5*shortPause)) // a rival may not be listed yet
	case err != nil:
		a.unreachable(ctx, err)
	case a.id != "" && a.jobGone(): // its release may have run already
		return false, ErrJobGone
	}
	return a.id != "", nil
}

func (m *Mutex) jobGone() bool { return m.JobGone != nil && m.JobGone() }

// dropDead takes over from dead holders, and from stale ones. It returns those who may live.
func (a *acquisition) dropDead(ctx context.Context, seen []Entry) (living []Judged, dropped bool) {
	for _, e := range seen {
		j := Judged{e, a.space.judge(ctx, e, false)}
		if a.leftByThisJob(e) {
			j.Verdict = Verdict{Dead, "an earlier acquire of this same job was killed and left it"}
		}
		switch j.Verdict.Life {
		case Dead, Stale:
			a.takeOver(ctx, j)
			dropped = true
		default:
			living = append(living, j)
		}
	}
	return living, dropped
}

// leftByThisJob reports whether a killed acquire of the same job left e: a job must
// not wait for itself. A lock that this job holds has a record.
func (m *Mutex) leftByThisJob(e Entry) bool {
	c, ours := e.Claim()
	self := m.space.Self
	return ours && (m.Recorded == nil || !m.Recorded(e)) && !c.Command && c.SameJob(self) && self.Place.same(c.Place) &&
		c.Process.known() && m.space.alive(c.Process) == Dead
}

// yieldTime returns how long a rival gets to yield. A fixed 300 ms made the lowest
// give up too often on a loaded daemon.
func (m *Mutex) yieldTime() time.Duration {
	return min(max(300*time.Millisecond, 20*m.space.slowestRequest()), 5*time.Second)
}

// wait returns when this process is woken, after a rest, when nobody ahead is
// left, or at once after the watch began: what happened before the watch has to be
// looked at. The holders are in the way; without any only the queue is.
func (a *acquisition) wait(ctx context.Context, holders []Judged) {
	var inTheWay Judged
	if len(holders) > 0 {
		inTheWay = holders[len(holders)-1]
	}
	if inTheWay.ID != a.waiting.Holder.ID {
		recount := max(poll/4, time.Duration(a.waiters)*countPause)
		if !a.inCrowd() && !a.called() && time.Since(a.counted) > recount {
			_ = a.count(ctx, false) // else it reports the last one
		}
	}
	if len(a.gone) > 0 && !slices.ContainsFunc(a.ahead, a.seesAlive) {
		a.space.removeAll(ctx, a.gone)
	}
	a.gone = nil
	if !a.queued { // others took its ticket away: first it takes a new one
		return
	}
	a.waiting = Wait{Holder: inTheWay, Position: a.position, Waiters: a.waiters}
	a.notify(a.waiting)
	if a.called() {
		return
	}
	if (a.rings == nil || len(a.ahead) < watching || !a.inCrowd()) && a.watch(ctx) && !a.inCrowd() {
		return
	}
	switch {
	case inTheWay.ID == "" && a.freeSince.IsZero() && a.inCrowd():
		a.sleep(ctx, poll/4+rand.N(poll/4))
		return
	case inTheWay.ID == "" && a.freeSince.IsZero():
		a.sleep(ctx, poll/8)
		return
	case inTheWay.ID == "":
		a.sleep(ctx, min(max(a.patience()-time.Since(a.freeSince), poll/8), poll/2))
		return
	}
	a.outwait(ctx, holders)
}

// watch begins to watch for markers, unless this process does already.
func (a *acquisition) watch(ctx context.Context) (begun bool) {
	if a.wakes != nil || a.space.Unwatched {
		return false
	}
	wakes, err := a.space.store().Watch(ctx, markerPrefix(a.name, a.space.Self.Nonce))
	if err == nil {
		a.wakes = wakes
	}
	return err == nil
}

// outwait returns when this process is woken, after a rest, or soon after one of the holders
// has ended.
func (a *acquisition) outwait(ctx context.Context, holders []Judged) {
	over := a.space.over(holders) // what is left of them may live
	jitter, spread := rand.N(poll/4), rand.Float64()/2-0.25
	if !a.rested && !a.space.Shared { // who came at once would look at once
		a.rested, spread = true, rand.Float64()*5/4-1
	}
	for begin, listed := time.Now(), time.Now(); ; {
		rest := a.rest(ctx, holders)
		if rest > longestRest { // so many who came at once would look at once later too
			rest += time.Duration(spread * float64(rest))
		}
		left, step := rest+jitter-time.Since(begin), poll+jitter
		switch n := len(a.ahead); { // to see a process end asks nothing of the store
		case n == 0:
			step = min(a.step(looking)/2, poll)
		case a.space.inSight(a.ahead[n-1].claim()):
			step = a.step(looking)
			if a.notices(ctx, a.ahead[n-1].nonce) {
				step = a.step(noticing)
			}
		case a.space.Shared: // most of those ahead are out of sight: to go through them all shows little
			step = max(step, left/8)
		}
		if left <= 0 && a.moreWait() {
			continue
		}
		if left <= 0 && a.stillHeld(ctx, holders, listed) {
			begin = time.Now()
			continue
		}
		if left <= 0 || a.sleep(ctx, min(left, step)) {
			return
		}
		if len(a.ahead) == 0 && a.space.over(holders) > over {
			if a.inCrowd() { // most likely it has given back, and this process or another is being woken
				a.sleep(ctx, a.aMoment())
				a.moved = true
			}
			return
		}
	}
}

// step returns the time between two looks of one at a process, where so many look twice a second and
// more not more often together.
func (a *acquisition) step(together int) time.Duration {
	return poll / 2 * time.Duration(max(1, a.onHost/together))
}

// aMoment returns how long one of a crowd that sees nobody ahead leaves a lock that goes from hand
// to hand to those who are woken. By a sample there are sixteen such, of which fifteen would look,
// and count, in vain each time. A killed holder has woken nobody: it is followed within 3 s.
func (a *acquisition) aMoment() time.Duration {
	if a.of > 1 {
		return poll + rand.N(poll)
	}
	return poll/2 + rand.N(poll/2)
}

// over returns how many of the holders have ended, as far as that is seen without a request.
func (s *Space) over(holders []Judged) (n int) {
	for _, j := range holders {
		if c, _ := j.Claim(); len(s.ends(c)) > 0 {
			n++
		}
	}
	return n
}

// moreWait reports whether many more have come to wait here since the last count, so that
// a rest that is over has become longer: 1,000 who come within seconds do not know that.
func (a *acquisition) moreWait() bool {
	now := a.space.crowd(a.name)
	if now < crowd || now < a.onHost*5/4 {
		return false
	}
	a.onHost = now
	return true
}

// seesAlive reports whether this process sees a waiter's process alive. A waiter that sees
// none ahead of it removes what the dead left. When every waiter did, 40 killed of 256 kept
// the daemon busy with the same removals for 7 s while the lock was free.
func (a *acquisition) seesAlive(t ticket) bool { return a.space.sight(t.claim()) == Alive }

// rest returns how long this process may leave the lock to those ahead. As long as
// it sees one of their processes, that one looks sooner; the nearest ahead that have
// gone are dropped. Where it sees none, as from a container, it looks as often as all
// waiters together may, and at least every two seconds where nothing shows that the
// nearest lives: that one may be an invention, and on one host there are few such places.
// The first looks each second, or more seldom if it sees the holders, whose release rings, or
// among several machines; see pace.go.
func (a *acquisition) rest(ctx context.Context, holders []Judged) time.Duration {
	held := a.heldFor(holders)
	for i, unknown := len(a.ahead)-1, false; i >= 0; i-- {
		switch may, seen := a.space.canAct(a.ahead[i]); {
		case seen:
			return a.turns(held)
		case may:
			unknown = true
		case !unknown:
			a.ahead = a.ahead[:i]
		}
	}
	life := Dead
	for len(a.ahead) > 0 && life == Dead {
		if life = a.space.containerLife(ctx, a.ahead[len(a.ahead)-1].claim()); life == Dead {
			a.ahead = a.ahead[:len(a.ahead)-1]
		}
	}
	if len(a.ahead) == 0 {
		unseen := func(j Judged) bool { c, _ := j.Claim(); return !a.space.sees(c) }
		if a.rings != nil && !slices.ContainsFunc(holders, unseen) {
			return max(a.calm(), a.pace(held))
		}
		return a.pace(held)
	}
	together := max(time.Duration(a.waiters)*time.Second/maxLooks, poll)
	switch {
	case a.space.Shared: // each machine has such places
		return a.among(held, a.far())
	case life == Unknown:
		together = min(together, 2*poll)
	}
	return min(a.turns(held), together)
}

// turns returns how long a process may rest that sees one ahead which looks sooner.
func (a *acquisition) turns(held time.Duration) time.Duration {
	if a.space.Shared {
		return max(a.among(held, lastPace), restBehind(a.onHost))
	}
	ahead := time.Duration(min(len(a.ahead), a.processes) * a.of)
	return min(ahead*a.calm(), max(longestRest, restBehind(a.onHost)))
}

// calm returns the time between two looks of one that would be woken: the longer, the
// more wait on this host. 400 waiters of a hundred locks that each looked every few
// seconds kept the daemon busy with nothing else (172 % of a core).
func (a *acquisition) calm() time.Duration { return max(poll, restOf(a.onHost)) }

// restOf returns the rest of the first of a queue where so many wait on this host, with the square
// of which it grows. Who forges them makes others rest no longer than where manyWaiters wait.
func restOf(waiters int) time.Duration {
	n := time.Duration(min(waiters, manyWaiters))
	return n * n * firstRest
}

// restBehind returns the rest of those far behind. A few hundred forged waiters must not make it longer.
func restBehind(waiters int) time.Duration {
	return restOf(waiters) * time.Duration(min(waiters, manyWaiters)) / fewWaiters
}

// sees reports whether this process sees the job or the command of a holder, so that it
// notices its end without a request, and hears its release.
func (s *Space) sees(holder Claim) bool {
	here := s.Self.Place
	return here.same(holder.Place) && here.Network != "" && here.Network == holder.Place.Network &&
		len(s.ends(holder)) == 0 && (holder.Command && holder.Process.known() ||
		actrunner.IsJobDir(holder.JobDir) && here.Mounts != "" && here.Mounts == holder.Place.Mounts ||
		holder.Runner.known())
}

// sleep reports whether something woke this process early, or its watch has ended.
// Anybody can wake it, as often as they like. A wake is worth a look, of which it has a
// few, and then one a second. Seldom woken, it tries the lock without a look.
func (a *acquisition) sleep(ctx context.Context, d time.Duration) (early bool) {
	timer, end := time.NewTimer(d), time.Now().Add(d)
	defer timer.Stop()
	for late := false; ; {
		select {
		case <-ctx.Done():
			return true
		case <-timer.C:
			if late {
				a.looks.take()
			}
			return late
		case next, open := <-a.rings:
			if !open {
				a.rings = nil
				return true
			}
			a.follow(next)
		case <-a.predecessor.over: // so the rest may be over
			a.predecessor.over = nil
			if !late { // most likely it has the lock
				timer.Reset(min(time.Until(end), rand.N(a.step(looking))))
			}
			continue
		case _, open := <-a.wakes:
			if !open { // the daemon went away
				a.wakes = nil
				pause(ctx, 10*shortPause+rand.N(poll))
				return true
			}
		}
		if wait := a.looks.take(); wait == 0 {
			a.woken, a.wokenAt = a.tries.take() == 0, time.Now()
			return true
		} else if !late {
			late = true
			timer.Reset(wait)
		}
	}
}

// called reports whether a ring waits to be heard.
func (a *acquisition) called() bool { return len(a.rings) > 0 }

// rung reports whether this process has been woken while it did something else than sleep, which
// takes the longer the more wait.
func (a *acquisition) rung() bool {
	select {
	case next, open := <-a.rings:
		if !open {
			a.rings = nil
			return false
		}
		a.follow(next)
	default:
		return false
	}
	if a.looks.take() == 0 {
		a.woken, a.wokenAt = a.tries.take() == 0, time.Now()
	}
	return a.woken
}

// follow keeps what a ring has carried, where others wait so many that to read them costs. Who
// hands on more than it needs itself has seen so many.
func (a *acquisition) follow(next Successors) {
	if len(next.Nonces) > fewSuccessors {
		a.onHost = max(a.onHost, crowd)
	}
	if a.inCrowd() {
		a.successors.Store(&next)
	}
}

// A budget is for some events at once, and one more each time that an interval is over.
type budget struct {
	burst int
	every time.Duration
	spent time.Time // until then something is missing
}

// take takes one and returns 0, or returns how long it takes until there is one.
func (b *budget) take() time.Duration {
	now := time.Now()
	if ready := b.spent.Add(-time.Duration(b.burst-1) * b.every); now.Before(ready) {
		return ready.Sub(now)
	}
	if b.spent.Before(now) {
		b.spent = now
	}
	b.spent = b.spent.Add(b.every)
	return 0
}

// unreachable reports that the store did not answer, and pauses: the longer the more
// requests in a row were not answered in time. A thousand that repeat them at once keep
// the daemon from answering any.
func (m *Mutex) unreachable(ctx context.Context, err error) {
	m.report(ctx, err)
	longest := poll
	if errors.Is(err, context.DeadlineExceeded) {
		longest <<= min(m.timeouts, maxDoublings)
		m.timeouts++
	}
	pause(ctx, longest/2+rand.N(longest/2))
}

func (m *Mutex) report(ctx context.Context, err error) {
	if ctx.Err() == nil {
		m.notify(Wait{Err: err})
	}
}

func (m *Mutex) notify(w Wait) {
	if m.OnWait != nil {
		m.OnWait(w)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
