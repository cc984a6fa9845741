package lock

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var engines = map[string]bool{"below API 1.44": false, "API 1.44": true}

// inside counts who believes to hold the lock.
type inside struct {
	now, most, times atomic.Int32

	apart *inside // of others, none of whom may hold meanwhile; nil where there are none
	met   atomic.Int32
}

func (i *inside) enter() {
	i.most.Store(max(i.most.Load(), i.now.Add(1)))
	i.times.Add(1)
	if i.apart != nil && i.apart.now.Load() > 0 {
		i.met.Add(1)
	}
}

func (i *inside) leave() { i.now.Add(-1) }

// contend runs n processes, one after another in each of n places, that take
// and give back the lock until it was held a number of times, while somebody
// rings all of them for nothing. acquire returns how to give back.
func contend(t *testing.T, s *store, n, times int, queueless bool, acquire func(*Mutex) (func(), bool)) *inside {
	in := &inside{}
	host := newMachine()
	bell := newBell()
	stop := bell.noise()
	defer stop()
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			for int(in.times.Load()) < times {
				done := make(chan struct{})
				go func() { // a process, which may crash
					defer close(done)
					p := &process{inside: in}
					m := host.contender(mortal{s, p, queueless})
					m.space.Bell = bell
					p.end = func() { host.end(m.space.Self.Process); bell.unhook(m.space.Self.Nonce) }
					release, ok := acquire(m)
					if ok {
						p.enter()
						time.Sleep(time.Duration(rand.Int64N(int64(20 * time.Millisecond))))
						p.leave()
						release()
					}
					p.end()
				}()
				<-done
			}
		})
	}
	group.Wait()
	if in.times.Load() < int32(times) {
		t.Errorf("the lock was held %d times, want %d", in.times.Load(), times)
	}
	return in
}

func announceAndVerify(m *Mutex) (func(), bool) {
	held, err := m.Acquire(context.Background())
	if err != nil {
		return nil, false
	}
	return func() { _ = m.Release(context.Background(), held.ID) }, true
}

func TestAtMostOneHoldsWhateverFails(t *testing.T) {
	for engine, exclusive := range engines {
		for name, f := range map[string]faults{
			"nothing fails":          {},
			"processes crash":        {crash: 0.02},
			"replies get lost":       {lost: 0.1},
			"requests fail":          {fails: 0.1},
			"requests come late":     {late: 0.1},
			"all of these":           {crash: 0.01, lost: 0.05, fails: 0.05, late: 0.05},
			"nearly nothing arrives": {lost: 0.3, fails: 0.2, late: 0.2},
		} {
			t.Run(engine+"/"+name, func(t *testing.T) {
				for seed := range uint64(4) {
					synctest.Test(t, func(t *testing.T) {
						s := newStore(exclusive, f, seed)
						in := contend(t, s, 8, 60, seed%2 == 0, announceAndVerify)
						if most := in.most.Load(); most > 1 {
							t.Errorf("seed %d: %d held the lock at once", seed, most)
						}
						time.Sleep(5 * time.Second) // late requests land
						for _, e := range s.named("build") {
							if h, _ := e.Claim(); f.crash == 0 && f.late == 0 {
								t.Errorf("seed %d: process %d left its entry behind", seed, h.Process.PID)
							}
						}
					})
				}
			})
		}
	}
}

// A check that cannot fail is no check: without the verify it must see several
// holders on an engine that lets several creators win.
func TestTheCheckSeesThatCreateAloneIsNoMutex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := contend(t, newStore(false, faults{}, 1), 8, 100, true, func(m *Mutex) (func(), bool) {
			for {
				id, err := m.space.Engine.Create(t.Context(), m.name, m.space.Self.labels(kindLock))
				if err == nil {
					return func() { _ = m.space.Engine.Remove(t.Context(), id) }, true
				}
				time.Sleep(time.Millisecond)
			}
		})
		if in.most.Load() < 2 {
			t.Error("8 contenders that only create were never seen to hold together")
		}
	})
}

func TestInterruptedWhileWaitingNothingIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		if _, err := host.contender(s).Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped")
		time.AfterFunc(3*time.Second, func() { cancel(stopped) })
		if _, err := host.contender(s).Acquire(ctx); !errors.Is(err, stopped) {
			t.Errorf("Acquire = %v, want the cause", err)
		}
		if all := s.named(""); len(all) != 1 {
			t.Errorf("left behind: %v", all)
		}
	})
}

func TestACreateThatLandsAfterItsErrorIsTakenBack(t *testing.T) {
	gaveUp := 0
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(false, faults{slow: 1}, seed)
			ctx, cancel := context.WithTimeoutCause(t.Context(), 4*time.Second, ErrTimeout)
			defer cancel()
			m := newMachine().contender(s)
			defer m.Finish()
			if held, err := m.Acquire(ctx); err == nil { // landed just in time to be seen
				if err := m.Release(t.Context(), held.ID); err != nil {
					t.Error(err)
				}
				time.Sleep(3 * time.Second) // the others land, and die with this process
				return
			}
			gaveUp++
			time.Sleep(10 * time.Second)
			if all := s.named(""); len(all) != 0 {
				t.Errorf("seed %d: %d entries left behind", seed, len(all))
			}
		})
	}
	if gaveUp == 0 {
		t.Error("no contender gave up")
	}
}

func TestTheJobIsGoneMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for asked := range 2 { // before the create, after holding
			s := newStore(true, faults{}, 1)
			m := newMachine().contender(s)
			defer m.Finish()
			calls := 0
			m.JobGone = func() bool { calls++; return calls > asked }
			if _, err := m.Acquire(t.Context()); !errors.Is(err, ErrJobGone) {
				t.Errorf("Acquire = %v, want ErrJobGone", err)
			}
			if all := s.named(""); len(all) != 0 {
				t.Errorf("left behind: %v", all)
			}
		}
	})
}

func TestPlainLocksAreWaitedForAndTakenOverByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		s.insert(s.newID(), "build", nil)
		m := newMachine().contender(s)
		defer m.Finish()
		m.space.Self.StaleAfter = time.Hour
		var took []Verdict
		m.OnTakeover = func(j Judged) { took = append(took, j.Verdict) }
		start := time.Now()
		held, err := m.Acquire(t.Context())
		if err != nil || len(took) != 1 || took[0].Life != Stale || len(held.TookOverFrom) != 1 {
			t.Errorf("Acquire = %v, %v; took over %v", held, err, took)
		}
		if waited := time.Since(start); waited < time.Hour || waited > time.Hour+time.Minute {
			t.Errorf("waited %v for a plain lock, want an hour", waited)
		}
	})
}

func TestAJobDoesNotWaitForWhatItsOwnKilledAcquireLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		job := func(dir string) *Mutex {
			m := host.contender(s)
			m.space.Self.Command, m.space.Self.JobDir = false, dir
			t.Cleanup(m.Finish)
			return m
		}
		killed := job("/p/0123456789abcdef")
		if _, err := killed.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		soon := func() context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			t.Cleanup(cancel)
			return ctx
		}
		if _, err := job("/p/0123456789abcdef").Acquire(soon()); err == nil {
			t.Error("taken while the other process of the job lives")
		}
		host.end(killed.space.Self.Process)
		if _, err := job("/p/fedcba9876543210").Acquire(soon()); err == nil {
			t.Error("taken by another job")
		}
		recorded := job("/p/0123456789abcdef")
		recorded.Recorded = func(Entry) bool { return true }
		if _, err := recorded.Acquire(soon()); err == nil {
			t.Error("taken although another step of the job holds it")
		}
		if held, err := job("/p/0123456789abcdef").Acquire(soon()); err != nil || len(held.TookOverFrom) != 1 {
			t.Errorf("Acquire = %v, %v", held, err)
		}
	})
}

func TestSettleYieldsToAPlainRival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(false, faults{}, 1)
		m := newMachine().contender(s)
		defer m.Finish()
		m.Settle = 500 * time.Millisecond
		// The rival checked the name before ours was there and inserts after.
		time.AfterFunc(200*time.Millisecond, func() { s.insert("plain", "build", nil) })
		time.AfterFunc(10*time.Second, func() { s.drop("plain") })
		start := time.Now()
		if _, err := m.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < 10*time.Second {
			t.Errorf("held after %v beside a plain rival", waited)
		}
	})
}

func TestReleaseWakesTheHeadOnlyInOrderOfPriorityAndArrival(t *testing.T) {
	for name, deaf := range map[string]bool{ // waiters that cannot be rung, as in containers
		"by a marker":   true,
		"by their bell": false,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { releaseWakesTheHeadOnly(t, deaf) })
		})
	}
}

func releaseWakesTheHeadOnly(t *testing.T, deaf bool) {
	s := newStore(true, faults{}, 1)
	host := newMachine()
	bell := newBell()
	bell.deaf = deaf
	contender := func() *Mutex {
		m := host.contender(s)
		m.space.Bell = bell
		return m
	}
	first := contender()
	held, err := first.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []string
	var released time.Time
	var group sync.WaitGroup
	for i, priority := range []string{PriorityNormal, PriorityNormal, PriorityHigh, PriorityNormal, PriorityHigh} {
		m := contender()
		m.space.Self.Priority = priority
		group.Go(func() {
			held, err := m.Acquire(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, fmt.Sprint(i, priority))
			if handOff := time.Since(released); handOff > poll/4 {
				t.Errorf("the hand-off took %v: by the poll, not by the wake", handOff)
			}
			mu.Unlock()
			released = time.Now()
			if err := m.Release(t.Context(), held.ID); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(100 * time.Millisecond)
	}
	released = time.Now()
	if err := first.Release(t.Context(), held.ID); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	// Who happens to poll in the moment between wakes the head once more.
	if woken := s.wakes(); deaf && (woken < 5 || woken > 6) || !deaf && woken != 0 {
		t.Errorf("6 releases woke %d of 5 waiters by markers", woken)
	}
	if rung := len(bell.rung); deaf && rung != 0 || !deaf && rung != 5 {
		t.Errorf("6 releases rang %d of 5 waiters", rung)
	}
	if got, want := strings.Join(order, ", "), "2high, 4high, 0normal, 1normal, 3normal"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
	if left := s.named(queuePrefix("build")); len(left) != 0 {
		t.Errorf("left in the queue: %v", left)
	}
}

// bell rings the processes of one test.
type bell struct {
	deaf   bool
	fickle bool // who is awaited seems to have ended at once

	mu    sync.Mutex
	hears map[string]chan Successors
	rung  map[string]bool // nonces

	passed  map[string]Successors
	awaited map[string][]chan struct{}
}

func newBell() *bell {
	return &bell{hears: map[string]chan Successors{}, rung: map[string]bool{}, passed: map[string]Successors{},
		awaited: map[string][]chan struct{}{}}
}

func (b *bell) Hear(ctx context.Context, _, nonce string) (<-chan Successors, error) {
	if b.deaf {
		return nil, errors.New("no sockets here")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hears[nonce] = make(chan Successors, 1)
	context.AfterFunc(ctx, func() { b.unhook(nonce) })
	return b.hears[nonce], nil
}

func (b *bell) Ring(nonce string, next Successors) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hears[nonce] == nil {
		return false
	}
	b.rung[nonce] = true
	if passed := b.passed[nonce]; passed.Read > next.Read {
		next = passed
	}
	select {
	case b.hears[nonce] <- next:
	default:
	}
	return true
}

func (b *bell) Pass(nonce string, next Successors) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.passed[nonce] = next
}

func (b *bell) Hears(nonce string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hears[nonce] != nil
}

func (b *bell) Await(ctx context.Context, nonce string) (<-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hears[nonce] == nil {
		return nil, errors.New("nobody there")
	}
	over := make(chan struct{}, 1)
	if b.fickle {
		over <- struct{}{}
		return over, nil
	}
	b.awaited[nonce] = append(b.awaited[nonce], over)
	return over, nil
}

func (b *bell) Hearing(string) (here, all int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.hears), len(b.hears)
}

// unhook ends the hearing of a process that has ended.
func (b *bell) unhook(nonce string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.hears, nonce)
	for _, over := range b.awaited[nonce] {
		over <- struct{}{}
	}
	delete(b.awaited, nonce)
}

// noise rings everybody, whoever holds the lock, until it is stopped.
func (b *bell) noise() (stop func()) {
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(poll):
			}
			b.mu.Lock()
			nonces := slices.Collect(maps.Keys(b.hears))
			b.mu.Unlock()
			for _, nonce := range nonces {
				b.Ring(nonce, Successors{})
			}
		}
	}()
	return func() { close(done) }
}

// The removal of a ticket may get lost with a hand-off, and its process has ended
// by then: without the release it would stay until somebody wants the lock again.
func TestReleaseRemovesTheTicketsOfTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		m := host.contender(s)
		held, err := m.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, nonce := range []string{"dead", "living"} {
			h := m.space.Self
			h.Nonce, h.Process = nonce, host.start()
			s.insert(s.newID(), ticketName("build", nonce), with(h.labels(kindTicket), "number", fmt.Sprint(i+1)))
			if nonce == "dead" {
				host.end(h.Process)
			}
		}
		if err := m.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		if left := s.named(queuePrefix("build")); len(left) != 1 || left[0].Name != ticketName("build", "living") {
			t.Errorf("left in the queue: %v", left)
		}
	})
}

func TestAnOldNormalTicketIsNotStarvedByHighOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		m := host.contender(s)
		h := m.space.Self
		h.Nonce, h.Uptime = "old", host.Uptime()
		s.insert(s.newID(), ticketName("build", "old"), with(h.labels(kindTicket), "number", "7"))
		time.Sleep(ageing + time.Second)
		h.Nonce, h.Uptime, h.Priority = "new", host.Uptime(), PriorityHigh
		s.insert(s.newID(), ticketName("build", "new"), with(h.labels(kindTicket), "number", "8"))
		tickets, _ := m.queue(s.named(queueNames))
		if len(tickets) != 2 || tickets[0].nonce != "old" {
			t.Errorf("queue = %v", tickets)
		}
	})
}

func TestTheQueueForgetsTheDeadAndOldMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		dead, living, elsewhere := host.contender(s), host.contender(s), host.contender(s)
		host.end(dead.space.Self.Process)
		elsewhere.space.Self.Place.PIDs = "another"
		for _, m := range []*Mutex{dead, living, elsewhere} {
			h := m.space.Self
			h.Uptime = host.Uptime()
			labels := with(with(h.labels(kindTicket), "number", "1"), "timeout", "1h0m0s")
			s.insert(s.newID(), ticketName("build", h.Nonce), labels)
		}
		s.insert(s.newID(), markerPrefix("build", "x")+"1", Claim{Place: host.place, Uptime: host.Uptime()}.labels(kindWake))
		count := func() int {
			entries, err := living.listQueue(t.Context(), queueNames)
			if err != nil {
				t.Error(err)
			}
			living.space.tidy(t.Context(), entries)
			return len(s.named(queuePrefix("build")))
		}
		if n := count(); n != 3 { // the living, one that nothing is known of, the marker
			t.Errorf("%d entries in the queue, want 3", n)
		}
		time.Sleep(markerLife + time.Second)
		if n := count(); n != 2 {
			t.Errorf("%d entries after a minute, want 2", n)
		}
		time.Sleep(time.Hour + time.Minute) // longer than the ticket's timeout
		if n := count(); n != 0 {
			t.Errorf("%d entries after the tickets' timeout, want 0", n)
		}
	})
}

func TestALookRemovesAFewOfTheDeadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		m, dead := host.contender(s), host.contender(s)
		host.end(dead.space.Self.Process)
		const tickets = 1000
		for i := range tickets {
			h := dead.space.Self
			h.Nonce = fmt.Sprint(i)
			s.insert(s.newID(), ticketName("build", h.Nonce), h.labels(kindTicket))
		}
		a := &acquisition{contender: contender{Mutex: m}}
		if _, err := a.see(t.Context()); err != nil || a.anyoneWaits(t.Context()) {
			t.Errorf("somebody waits, or %v", err)
		}
		if left := len(s.named(queuePrefix("build"))); left != tickets-maxRemovals {
			t.Errorf("%d tickets are left, want %d", left, tickets-maxRemovals)
		}
	})
}

func TestATicketOfAnotherNameIsNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		m := host.contender(s)
		h := m.space.Self
		h.Nonce = "x\x1b[2J"
		s.insert(s.newID(), ticketName("build", "x"), h.labels(kindTicket))
		if waiting, _ := m.queue(s.named(queueNames)); len(waiting) != 0 {
			t.Errorf("they wait: %v", waiting)
		}
	})
}

func TestALabelLongerThanAnyOfOursIsUnreadable(t *testing.T) {
	claim := Claim{Reason: strings.Repeat("x", maxText+1), Workspace: strings.Repeat("x", maxText)}
	e := Entry{Labels: claim.labels(kindLock)}
	if h, ours := e.Claim(); !ours || h.Reason != "" || len(h.Workspace) != maxText {
		t.Errorf("read %d and %d bytes", len(h.Reason), len(h.Workspace))
	}
}

func TestADeadHeadDoesNotKeepTheLockFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		h := host.contender(s).space.Self
		h.Place.PIDs, h.Uptime = "another container", host.Uptime() // nobody can see that it is dead
		s.insert(s.newID(), ticketName("build", h.Nonce), with(h.labels(kindTicket), "number", "1"))
		start := time.Now()
		m := host.contender(s)
		defer m.Finish()
		if _, err := m.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < headPatience || waited > headPatience+2*poll {
			t.Errorf("waited %v behind a head that never tries, want %v", waited, headPatience)
		}
	})
}

func TestWhoFindsAKilledHoldersLockWakesTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		killed := host.contender(s)
		if _, err := killed.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		var ended time.Time
		for i := range 16 {
			m := host.contender(s)
			group.Go(func() {
				held, err := m.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if waited := time.Since(ended); i == 0 && waited > 2*poll {
					t.Errorf("the head held %v after the holder was killed", waited)
				}
				if err := m.Release(t.Context(), held.ID); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(70 * time.Millisecond)
		}
		ended = time.Now()
		host.end(killed.space.Self.Process)
		group.Wait()
	})
}

func TestReleaseReportsALostLockAndLeavesTheNextHolderAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		m := host.contender(s)
		held, err := m.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.drop(held.ID) // docker network rm NAME
		next, err := host.contender(s).Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Release(t.Context(), held.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("Release = %v, want ErrNotFound", err)
		}
		if !m.Lost(t.Context(), held.ID) || m.Lost(t.Context(), next.ID) {
			t.Error("Lost does not distinguish the lost lock from the held one")
		}
	})
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"awoooi-cd-docker-build-lock", "a1", "A_b.c-d"} {
		if err := CheckName(name); err != nil {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
	for _, name := range []string{
		"", "a", "-a", ".a", "a b", "a\nb", "a;b", "a$(x)", "a/b", "ä1", "bridge", "host", "none",
		strings.Repeat("a", 129), strings.Repeat("0", 64), ticketName("x1", "n"),
	} {
		if CheckName(name) == nil {
			t.Errorf("CheckName(%q) accepts it", name)
		}
	}
}

func TestQueueNamesDoNotContainTheLocksName(t *testing.T) {
	for _, lock := range []string{"awoooi-cd-docker-build-lock", "build", "hostguard", "queue", "lock", "ticket", "wake"} {
		for _, name := range []string{ticketName(lock, NewNonce()), markerPrefix(lock, NewNonce())} {
			if strings.Contains(name, lock) {
				t.Errorf("%q contains %q", name, lock)
			}
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(Record{strings.Repeat("a", 64), strings.Repeat("b", 32)}.String())
	f.Add("x:y")
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := ParseRecord(s); ok && r.String() != s {
			t.Errorf("ParseRecord(%q) = %v", s, r)
		}
	})
}

func FuzzLabelsRoundTrip(f *testing.F) {
	f.Add("::set-env name=BASH_ENV::x", "a\r\nb\x1b[31m", "/x/0123456789abcdef", int64(7), uint64(9), 42, true)
	f.Fuzz(func(t *testing.T, repository, reason, dir string, age int64, start uint64, pid int, command bool) {
		if max(len(repository), len(reason), len(dir)) > maxText {
			return
		}
		want := Claim{Reason: reason, JobDir: dir, Command: command, Job: Job{Repository: repository}}
		if pid > 0 {
			want.Process = Process{pid, start}
		}
		if age > 0 {
			want.StaleAfter = time.Duration(age)
		}
		e := Entry{Labels: want.labels(kindLock)}
		got, ours := e.Claim()
		if !ours || got != want {
			t.Errorf("labels %q read as %+v, want %+v", e.Labels, got, want)
		}
		if !slices.Equal(slices.Sorted(mapKeys(e.Labels)), slices.Sorted(mapKeys(got.labels(kindLock)))) {
			t.Error("written again, the labels differ")
		}
	})
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
