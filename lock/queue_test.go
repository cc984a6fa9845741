package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// waiters are processes that wait for one lock and hold it one after another.
type waiters struct {
	t     *testing.T
	store *store
	host  *machine
	bell  *bell
	group sync.WaitGroup

	joined int
	holds  chan hold
}

// hold is that one of them got the lock.
type hold struct {
	who int
	at  time.Time
}

// waiter is one of them, which can be killed or stopped.
type waiter struct {
	*Mutex
	process *process
	frozen  *frozen
}

// frozen is a store as a process sees it that may be stopped at any request.
type frozen struct {
	Engine
	stopped  atomic.Bool
	goOn     chan struct{}
	removals atomic.Int32
}

func (f *frozen) pass() {
	if f.stopped.Load() {
		<-f.goOn
	}
}

func (f *frozen) Create(ctx context.Context, name string, labels map[string]string) (string, error) {
	f.pass()
	return f.Engine.Create(ctx, name, labels)
}

func (f *frozen) List(ctx context.Context, prefixes ...string) ([]Entry, error) {
	f.pass()
	return f.Engine.List(ctx, prefixes...)
}

func (f *frozen) Remove(ctx context.Context, id string) error {
	f.pass()
	f.removals.Add(1)
	return f.Engine.Remove(ctx, id)
}

func newWaiters(t *testing.T) *waiters {
	return &waiters{
		t: t, store: newStore(true, faults{}, 1),
		host: newMachine(), bell: newBell(), holds: make(chan hold, 1000),
	}
}

// process is one that has not asked for the lock yet.
func (w *waiters) process() *waiter {
	p := &process{inside: &inside{}}
	f := &frozen{Engine: mortal{w.store, p, false}, goOn: make(chan struct{})}
	m := w.host.contender(f)
	m.space.Bell = w.bell
	p.end = func() { w.host.end(m.space.Self.Process); w.bell.unhook(m.space.Self.Nonce) }
	return &waiter{m, p, f}
}

// holder is one that holds the lock, and that all see living.
func (w *waiters) holder() (m *waiter, held Acquired) {
	m = w.process()
	m.space.Self.Command = true
	held, err := m.Acquire(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return m, held
}

// heldFor is how long each of those that wait holds the lock.
const heldFor = 50 * time.Millisecond

// join starts n processes, each of which waits, holds for a moment and gives
// back. prepare may change one first.
func (w *waiters) join(n int, prepare func(i int, m *waiter)) (all []*waiter) {
	for range n {
		i := w.joined
		w.joined++
		m := w.process()
		if prepare != nil {
			prepare(i, m)
		}
		all = append(all, m)
		w.group.Go(func() {
			done := make(chan struct{})
			go func() {
				defer close(done)
				held, err := m.Acquire(context.Background())
				if err != nil {
					w.t.Error(err)
					return
				}
				w.holds <- hold{i, time.Now()}
				time.Sleep(heldFor)
				if err := m.Release(context.Background(), held.ID); err != nil {
					w.t.Error(err)
				}
				m.process.end()
			}()
			<-done
		})
		time.Sleep(5 * latency) // who comes next sees the ticket
	}
	time.Sleep(longestRest) // all wait, the last ones as rarely as ever
	return all
}

func (w *waiter) kill() {
	w.process.mu.Lock()
	defer w.process.mu.Unlock()
	w.process.dead = true
	w.process.end()
}

func (w *waiter) stop(host *machine) {
	w.frozen.stopped.Store(true)
	if host != nil {
		host.stop(w.space.Self.Process)
	}
}

// next waits until somebody holds.
func (w *waiters) next() hold {
	w.t.Helper()
	select {
	case h := <-w.holds:
		return h
	case <-time.After(time.Hour):
		w.t.Fatal("nobody holds within an hour")
		return hold{}
	}
}

const recovery = 3 * time.Second

// killing is a set of processes of a queue that are killed at once.
type killing struct {
	waiters int
	killed  func(i int) bool
	holder  bool // killed too; else it gives back
}

func TestAnySetOfKilledProcessesCostsAtMostThreeSeconds(t *testing.T) {
	for name, k := range map[string]killing{
		"the holder alone":            {32, func(int) bool { return false }, true},
		"the first 24 of 32":          {32, func(i int) bool { return i < 24 }, false},
		"the holder and 24 of 32":     {32, func(i int) bool { return i < 24 }, true},
		"the holder and the first 40": {256, func(i int) bool { return i < 40 }, true},
		"all but the last of 256":     {256, func(i int) bool { return i < 255 }, true},
		"every second of 256":         {256, func(i int) bool { return i%2 == 0 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { costsAtMostThreeSeconds(t, k) })
		})
	}
}

func costsAtMostThreeSeconds(t *testing.T, k killing) {
	w := newWaiters(t)
	first := w.process()
	held, err := first.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := w.join(k.waiters, nil)
	before := w.store.requests()
	time.Sleep(time.Minute)
	perSecond := float64(w.store.requests()-before) / 60
	start := time.Now()
	var survivors []int
	for i, m := range all {
		if k.killed(i) {
			m.kill()
		} else {
			survivors = append(survivors, i)
		}
	}
	if k.holder {
		first.kill()
	} else if err := first.Release(t.Context(), held.ID); err != nil {
		t.Fatal(err)
	}
	var order []int
	for range min(len(survivors), 8) {
		h := w.next()
		if len(order) == 0 {
			took := h.at.Sub(start)
			t.Logf("the next one held after %s; %d waiters make %.1f requests a second", took, k.waiters, perSecond)
			if took > recovery {
				t.Errorf("the next one held after %s, want at most %s", took, recovery)
			}
		}
		order = append(order, h.who)
	}
	if !slices.Equal(order, survivors[:len(order)]) {
		t.Errorf("they held in the order %v, want %v", order, survivors[:len(order)])
	}
	if limit := 20.0; perSecond > limit {
		t.Errorf("%d waiters make %.1f requests a second, want at most %.1f", k.waiters, perSecond, limit)
	}
	for _, m := range all {
		m.kill()
	}
	w.group.Wait()
}

// A removal occupies the daemon for milliseconds, in which no one can take the lock.
func TestOneWaiterRemovesWhatTheDeadLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		if _, err := w.process().Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := w.join(16, nil)
		time.Sleep(countEvery - longestRest + 2*poll) // the first has just counted, the last ones will
		for _, m := range all[4:12] {
			m.kill()
		}
		time.Sleep(2 * countEvery)
		for i, m := range all {
			if got, want := m.frozen.removals.Load(), map[int]int32{0: 8}[i]; got != want {
				t.Errorf("waiter %d removed %d tickets, want %d", i, got, want)
			}
			m.kill()
		}
		if left := len(w.store.named(ticketName("build", ""))); left != 8 {
			t.Errorf("%d tickets are left, want 8", left)
		}
		w.group.Wait()
	})
}

// Who is stopped, killed where nobody sees it, or too slow lets a free lock pass
// once. All of them together cost the others one wait.
func TestWhoDoesNotActCostsTheOthersOneWaitOnce(t *testing.T) {
	elsewhere := func(_ int, m *waiter) { m.space.Self.Place.PIDs = m.space.Self.Nonce } // as in a container of its own
	for name, tt := range map[string]struct {
		idle    int
		prepare func(int, *waiter)
		idles   func(*waiters, *waiter)
		seen    bool // that it does not act
	}{
		"one is stopped":                      {1, nil, func(w *waiters, m *waiter) { m.stop(w.host) }, true},
		"twenty are stopped":                  {20, nil, func(w *waiters, m *waiter) { m.stop(w.host) }, true},
		"one is killed in its container":      {1, elsewhere, func(_ *waiters, m *waiter) { m.kill() }, false},
		"eight are killed in their container": {8, elsewhere, func(_ *waiters, m *waiter) { m.kill() }, false},
		"one is stopped in its container":     {1, elsewhere, func(_ *waiters, m *waiter) { m.stop(nil) }, false},
		"one is frozen":                       {1, nil, func(_ *waiters, m *waiter) { m.stop(nil) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWaiters(t)
				if tt.prepare != nil {
					w.bell.deaf = true
				}
				first := w.process()
				held, err := first.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				all := w.join(tt.idle+3, tt.prepare)
				for _, m := range all[:tt.idle] {
					tt.idles(w, m)
				}
				time.Sleep(5 * time.Second)
				start := time.Now()
				if err := first.Release(t.Context(), held.ID); err != nil {
					t.Fatal(err)
				}
				// The first of three hand-offs may wait for them, the others not again.
				limit := 700 * time.Millisecond // in one of 600 runs in a container it was 660
				if !tt.seen {
					limit += recovery
				}
				for range 3 {
					w.next()
				}
				if took := time.Since(start); took > limit {
					t.Errorf("three hand-offs took %s, want at most %s", took, limit)
				}
				for _, m := range all[:tt.idle] {
					close(m.frozen.goOn)
				}
				w.group.Wait()
			})
		})
	}
}

func TestWhoWasPassedKeepsItsPlaceWhenItActsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		first := w.process()
		held, err := first.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all := w.join(2, nil)
		number := first.tickets(w.store.named(queueNames))[0].number
		all[0].stop(nil)
		if err := first.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		if h := w.next(); h.who != 1 {
			t.Errorf("%d holds, want the second", h.who)
		}
		again := w.process()
		if held, err = again.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if left := w.store.named(queueNames); len(left) != 0 {
			t.Errorf("left in the queue: %v", left)
		}
		close(all[0].frozen.goOn)
		time.Sleep(5 * time.Second)
		tickets := again.tickets(w.store.named(queueNames))
		if len(tickets) != 1 || tickets[0].nonce != all[0].space.Self.Nonce || tickets[0].number != number {
			t.Errorf("the queue: %v, want the one that was passed, with its number", tickets)
		}
		if err := again.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		if h := w.next(); h.who != 0 {
			t.Errorf("%d holds, want the one that was passed", h.who)
		}
		w.group.Wait()
	})
}

// The order is that in which they came, whatever the store's clock shows.
func TestAClockThatIsSetBackLeavesTheOrder(t *testing.T) {
	for name, created := range map[string]func(i int) time.Duration{
		"from the future": func(i int) time.Duration { return time.Duration(6-i) * time.Hour },
		"to the past":     func(i int) time.Duration { return time.Duration(-i) * time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(true, faults{}, 1)
				host := newMachine()
				var want []string
				for i := range 6 {
					m := host.contender(s)
					a := &acquisition{contender: contender{Mutex: m, unknown: map[string]bool{}}}
					if err := a.takeTicket(t.Context()); err != nil {
						t.Fatal(err)
					}
					nonce := m.space.Self.Nonce
					want = append(want, nonce)
					s.mu.Lock()
					for n := range s.entries {
						if s.entries[n].label("nonce") == nonce {
							s.entries[n].Created = s.entries[n].Created.Add(created(i))
						}
					}
					s.mu.Unlock()
					time.Sleep(time.Duration(i%2) * time.Second) // some come in one tick
				}
				var got []string
				for _, ticket := range host.contender(s).tickets(s.named(queueNames)) {
					got = append(got, ticket.nonce)
				}
				if !slices.Equal(got, want) {
					t.Errorf("order %v, want %v", got, want)
				}
			})
		})
	}
}

func TestATicketEndsWithTheDeadlineOfItsAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		m := host.contender(s)
		m.space.Self.Place.PIDs = "another" // nobody sees its process
		a := &acquisition{contender: contender{Mutex: m, unknown: map[string]bool{}}}
		if err := a.takeTicket(ctx); err != nil {
			t.Fatal(err)
		}
		ticket := s.named(queueNames)[0]
		time.Sleep(30 * time.Minute)
		if m.space.abandoned(ticket) {
			t.Error("abandoned before its acquire must have ended")
		}
		time.Sleep(2 * time.Minute)
		if !m.space.abandoned(ticket) {
			t.Error("not abandoned though its acquire must have ended")
		}
	})
}

// containerStore is a store that knows containers.
type containerStore struct {
	*store
	gone  map[string]bool
	asked atomic.Int64
}

func (c *containerStore) Container(_ context.Context, id, _ string) (Life, string) {
	c.asked.Add(1)
	if c.gone[id] {
		return Dead, "its container is gone"
	}
	return Alive, "its container runs"
}

// A job in a container that waits and is cancelled leaves its ticket.
func TestTheTicketOfAGoneContainerIsSkippedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := newMachine()
		id := strings.Repeat("c", 64)
		engine := &containerStore{store: newStore(true, faults{}, 1), gone: map[string]bool{id: true}}
		for i := range 40 {
			m := host.contender(engine)
			m.space.Self.Place.PIDs, m.space.Self.Place.Container, m.space.Self.Container = fmt.Sprint(i), true, id
			a := &acquisition{contender: contender{Mutex: m, unknown: map[string]bool{}}}
			if err := a.takeTicket(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		m := host.contender(engine)
		held, err := m.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 300*time.Millisecond {
			t.Errorf("a free lock took %s behind the tickets of a container that is gone", took)
		}
		if asked := engine.asked.Load(); asked > 3 {
			t.Errorf("the store was asked %d times after one container", asked)
		}
		if err := m.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		m.Finish()
		if left := engine.named(queueNames); len(left) != 0 {
			t.Errorf("left: %d entries", len(left))
		}
	})
}

func TestMoreThan256WaitersKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		first := w.process()
		held, err := first.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.join(320, nil)
		if err := first.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		var order []int
		for range 320 {
			order = append(order, w.next().who)
		}
		w.group.Wait()
		if !slices.IsSorted(order) {
			t.Errorf("order %v", order)
		}
	})
}

func TestTheReleaseOfALostLockWakesTheHead(t *testing.T) {
	for way, deaf := range map[string]bool{"by a marker": true, "by its bell": false} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWaiters(t)
				w.bell.deaf = deaf
				first := w.process()
				held, err := first.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				w.join(1, nil)
				start := time.Now()
				w.store.drop(held.ID) // docker network rm NAME
				if err := first.Release(t.Context(), held.ID); !errors.Is(err, ErrNotFound) {
					t.Errorf("Release = %v, want ErrNotFound", err)
				}
				if took := w.next().at.Sub(start); took > poll/4 {
					t.Errorf("the next one held after %s", took)
				}
				w.group.Wait()
			})
		})
	}
}

// A waiter in a network namespace of its own cannot be heard from outside.
func TestAWaiterOfAnotherNetworkKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		first := w.process()
		held, err := first.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.join(3, func(i int, m *waiter) {
			if i == 0 {
				m.space.Self.Place.Network, m.space.Bell = "another", newBell()
			}
		})
		start := time.Now()
		if err := first.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		if h := w.next(); h.who != 0 || h.at.Sub(start) > poll/4 {
			t.Errorf("waiter %d held after %s, want the first at once", h.who, h.at.Sub(start))
		}
		w.group.Wait()
	})
}

func TestWhatTheDeadLeftInOtherQueuesGoesWithAnyLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		dead, living := host.contender(s), host.contender(s)
		host.end(dead.space.Self.Process)
		for _, m := range []*Mutex{dead, living} {
			s.insert(s.newID(), ticketName("never used again", m.space.Self.Nonce), m.space.Self.labels(kindTicket))
		}
		s.insert(s.newID(),
			markerPrefix("never used again", dead.space.Self.Nonce)+"1",
			Claim{Place: host.place, Uptime: host.Uptime()}.labels(kindWake))
		foreign := map[string]string{labelPrefix + "kind": kindTicket, labelPrefix + "timeout": "1ns"}
		s.insert(s.newID(), "hg-network-of-somebody", foreign)
		time.Sleep(markerLife + time.Second)
		m := host.contender(s)
		held, err := m.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		left := s.named("")
		own := ticketName("never used again", living.space.Self.Nonce)
		if len(left) != 2 || left[0].Name != own || left[1].Name != "hg-network-of-somebody" {
			t.Errorf("left: %v", left)
		}
	})
}

// hung is a store that stops to answer some requests, as a daemon does whose disk
// is stuck.
type hung struct {
	*store
	hangs func(kind, name string) bool
}

func (h hung) wait(ctx context.Context, kind, name string) error {
	if h.hangs(kind, name) {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (h hung) Create(ctx context.Context, name string, labels map[string]string) (string, error) {
	if err := h.wait(ctx, "create", name); err != nil {
		return "", err
	}
	return h.store.Create(ctx, name, labels)
}

func (h hung) List(ctx context.Context, prefixes ...string) ([]Entry, error) {
	for _, prefix := range prefixes {
		if err := h.wait(ctx, "list", prefix); err != nil {
			return nil, err
		}
	}
	return h.store.List(ctx, prefixes...)
}

func (h hung) Remove(ctx context.Context, id string) error {
	if err := h.wait(ctx, "remove", id); err != nil {
		return err
	}
	return h.store.Remove(ctx, id)
}

func (h hung) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	if err := h.wait(ctx, "watch", prefix); err != nil {
		return nil, err
	}
	return h.store.Watch(ctx, prefix)
}

// Each single request of a waiter, one that hangs too, costs it no more than its
// bound, and not the time it would have waited.
func TestOneRequestThatHangsCostsItsBound(t *testing.T) {
	for n := range 40 {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(true, faults{}, 1)
			host := newMachine()
			first := host.contender(s)
			held, err := first.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			at, what := 0, ""
			var mu sync.Mutex // what follows the last one is done at once
			m := host.contender(hung{s, func(kind, name string) bool {
				mu.Lock()
				defer mu.Unlock()
				at++
				if at == n+1 {
					what = kind + " " + name
				}
				return at == n+1
			}})
			released := make(chan struct{})
			time.AfterFunc(5*time.Second, func() {
				defer close(released)
				if err := first.Release(context.Background(), held.ID); err != nil {
					t.Error(err)
				}
			})
			ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Minute, ErrTimeout)
			defer cancel()
			start := time.Now()
			if _, err := m.Acquire(ctx); err != nil {
				t.Errorf("%s hangs: %v", what, err)
			}
			if took := time.Since(start); took > 5*time.Second+callTimeout+recovery {
				t.Errorf("%s hangs: it held after %s", what, took)
			}
			m.Finish()
			<-released
		})
	}
}

// silence is what a store does not answer while an acquire waits.
type silence struct {
	hangs   func(kind, name string) bool
	fails   bool
	leaving bool
}

// By its deadline and 3 s an acquire has ended that has nothing to give back; what
// takes longer is reported.
func TestTheDeadlineHolds(t *testing.T) {
	for name, c := range map[string]silence{
		"nothing is answered":         {hangs: func(string, string) bool { return true }},
		"creates and removes are not": {hangs: func(kind, _ string) bool { return kind != "list" }, leaving: true},
		"lists of the queue are not": {
			hangs: func(kind, name string) bool {
				return kind == "list" && isQueueName(name+"t-")
			},
		},
		"after the ticket nothing is":        {hangs: afterTicket(), leaving: true},
		"every request fails at once":        {fails: true},
		"the daemon fails after the ticket":  {hangs: nil, leaving: true},
		"all is answered and another has it": {hangs: func(string, string) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { theDeadlineHolds(t, c) })
		})
	}
}

func theDeadlineHolds(t *testing.T, c silence) {
	s := newStore(true, faults{}, 1)
	host := newMachine()
	if _, err := host.contender(s).Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	var engine Engine = hung{s, c.hangs}
	if c.hangs == nil {
		engine = s
		after := 2 * time.Second
		if c.fails {
			after = 0
		}
		time.AfterFunc(after, func() { s.mu.Lock(); s.faults.fails = 1; s.mu.Unlock() })
	}
	m := host.contender(engine)
	var reports []Wait
	var firstReport time.Time
	start := time.Now()
	m.OnWait = func(w Wait) {
		if len(reports) == 0 {
			firstReport = time.Now()
		}
		reports = append(reports, w)
	}
	const timeout = 8 * time.Second
	ctx, cancel := context.WithTimeoutCause(t.Context(), timeout, ErrTimeout)
	defer cancel()
	if _, err := m.Acquire(ctx); !errors.Is(err, ErrTimeout) {
		t.Errorf("Acquire = %v, want ErrTimeout", err)
	}
	took := time.Since(start)
	leaving := slices.ContainsFunc(reports, func(w Wait) bool { return w.Leaving })
	limit := timeout + recovery
	if c.leaving {
		limit += withdrawTime
	}
	if took > limit || leaving != c.leaving {
		t.Errorf("it took %s, want at most %s; reported that it gives back: %v", took, limit, leaving)
	}
	if firstReport.Sub(start) > slowAnswer+time.Second || firstReport.IsZero() {
		t.Errorf("the first report came after %s", firstReport.Sub(start))
	}
}

// afterTicket hangs every request after the first create of a ticket.
func afterTicket() func(kind, name string) bool {
	taken := false
	return func(kind, name string) bool {
		hangs := taken
		taken = taken || kind == "create" && isQueueName(name)
		return hangs
	}
}
