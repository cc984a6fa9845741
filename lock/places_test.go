package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// everyFault are the ways in which the store and processes fail, of which the last is rather
// too much.
var everyFault = map[string]faults{
	"nothing fails":          {},
	"processes crash":        {crash: 0.02},
	"requests come late":     {late: 0.1},
	"all of these":           {crash: 0.01, lost: 0.05, fails: 0.05, late: 0.05},
	"nearly nothing arrives": {lost: 0.3, fails: 0.2, late: 0.2},
}

// underFaults runs a test on both kinds of engine with each kind of fault.
func underFaults(t *testing.T, test func(t *testing.T, s *store, seed uint64)) {
	for engine, exclusive := range engines {
		for name, f := range everyFault {
			t.Run(engine+"/"+name, func(t *testing.T) {
				for seed := range uint64(2) {
					synctest.Test(t, func(t *testing.T) {
						test(t, newStore(exclusive, f, seed), seed)
						time.Sleep(5 * time.Second) // late requests land
					})
				}
			})
		}
	}
}

// groups are two kinds of contenders, none of which may hold beside one of the other kind.
type groups struct {
	once  sync.Once
	first *inside // of contend
	other inside
}

// join puts the process of a contender into the other group.
func (g *groups) join(m *Mutex, other bool) {
	p := m.space.Engine.(mortal).process
	g.once.Do(func() {
		g.first, g.other.apart = p.inside, p.inside
		p.inside.apart = &g.other
	})
	if other {
		p.inside = &g.other
	}
}

func (g *groups) check(t *testing.T, seed uint64, most, mostOther int32) {
	t.Helper()
	if n := g.first.met.Load() + g.other.met.Load(); n > 0 {
		t.Errorf("seed %d: %d times both held", seed, n)
	}
	if first, other := g.first.most.Load(), g.other.most.Load(); first > most || other > mostOther {
		t.Errorf("seed %d: %d and %d held at once, want at most %d and %d", seed, first, other, most, mostOther)
	}
}

func TestAtMostAsManyHoldAsThereAreSlots(t *testing.T) {
	var most atomic.Int32
	underFaults(t, func(t *testing.T, s *store, seed uint64) {
		const slots = 2
		in := contend(t, s, 6, 60, seed%2 == 0, func(m *Mutex) (func(), bool) {
			m.Slots = slots
			return announceAndVerify(m)
		})
		most.Store(max(most.Load(), in.most.Load()))
		if n := in.most.Load(); n > slots {
			t.Errorf("seed %d: %d held the lock at once", seed, n)
		}
	})
	if most.Load() < 2 {
		t.Error("two slots were never held at once")
	}
}

func TestWhoDisagreesAboutTheNumberOfSlotsNeverHoldsBesideOthers(t *testing.T) {
	var others atomic.Int32
	underFaults(t, func(t *testing.T, s *store, seed uint64) {
		var g groups
		contend(t, s, 6, 40, seed%2 == 0, func(m *Mutex) (func(), bool) {
			other := rand.N(4) == 0
			g.join(m, other)
			if other {
				m.Slots = 2
			}
			release, held := announceAndVerify(m)
			if !held { // refused, perhaps: else nobody ever finds the lock free of the others
				time.Sleep(rand.N(200 * time.Millisecond))
			}
			return release, held
		})
		g.check(t, seed, 1, 2)
		others.Add(g.other.times.Load())
	})
	if others.Load() < 100 {
		t.Errorf("of those who count two slots %d held", others.Load())
	}
}

// slotted is a contender for a lock of so many slots.
func (m *machine) slotted(s *store, slots int) *Mutex {
	c := m.contender(s)
	c.Slots = slots
	return c
}

func TestWhoCountsOtherSlotsIsRefusedWithBothNumbers(t *testing.T) {
	for _, tt := range []struct{ theirs, mine int }{{1, 2}, {2, 1}, {3, 2}, {2, 3}} {
		t.Run(fmt.Sprintf("%d and %d", tt.theirs, tt.mine), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, host := newStore(true, faults{}, 1), newMachine()
				first := host.slotted(s, tt.theirs)
				if _, err := first.Acquire(t.Context()); err != nil {
					t.Fatal(err)
				}
				for range 5 { // in whatever slots
					_, err := host.slotted(s, tt.mine).Acquire(t.Context())
					refused, ok := errors.AsType[*DisagreementError](err)
					if !ok || refused.Theirs != tt.theirs || refused.Mine != tt.mine ||
						!refused.Entry.madeBy(first.space.Self) {
						t.Errorf("Acquire = %v", err)
					}
				}
				if left := s.named(""); len(left) != 1 {
					t.Errorf("left behind: %v", left)
				}
				host.end(first.space.Self.Process) // the dead disagree with nobody
				held, err := host.slotted(s, tt.mine).Acquire(t.Context())
				if err != nil || len(held.TookOverFrom) != 1 {
					t.Errorf("Acquire = %v, %v", held, err)
				}
			})
		})
	}
}

func TestAPlainLockTakesOneSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, host := newStore(true, faults{}, 1), newMachine()
		s.insert(s.newID(), "build", nil)
		held, err := host.slotted(s, 2).Acquire(t.Context())
		if err != nil || held.Slot != 2 {
			t.Fatalf("Acquire = %+v, %v; want the second slot", held, err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, ErrTimeout)
		defer cancel()
		if _, err := host.slotted(s, 2).Acquire(ctx); !errors.Is(err, ErrTimeout) {
			t.Errorf("Acquire of a third = %v", err)
		}
	})
}

// The head of a queue that is woken twice at once takes one slot, and the other goes to the
// one behind it.
func TestTwoSlotsThatAreGivenBackAtOnceGoToTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		var first []*waiter
		var ids []string
		for range 2 {
			m := w.process()
			m.Slots = 2
			held, err := m.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			first, ids = append(first, m), append(ids, held.ID)
		}
		w.join(2, func(_ int, m *waiter) { m.Slots = 2 })
		start := time.Now()
		for i, m := range first {
			go func() {
				if err := m.Release(context.Background(), ids[i]); err != nil {
					t.Error(err)
				}
			}()
		}
		one, two := w.next(), w.next()
		if one.at.Sub(start) > poll/4 || two.at.Sub(one.at) >= 50*time.Millisecond { // when the one gives back
			t.Errorf("they held after %s and %s", one.at.Sub(start), two.at.Sub(start))
		}
		w.group.Wait()
	})
}

func TestAKilledHolderOfAnySlotIsFollowedWithinSeconds(t *testing.T) {
	for killed := range 2 {
		synctest.Test(t, func(t *testing.T) {
			w := newWaiters(t)
			var first []*waiter
			var held Acquired
			for i := range 2 {
				m := w.process()
				m.Slots = 2
				h, err := m.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if first = append(first, m); i != killed {
					held = h
				}
			}
			for range 900 { // for other locks: waiters that see the holders look seldom
				w.bell.Hear(t.Context(), queuePrefix("another"), NewNonce())
			}
			w.join(2, func(_ int, m *waiter) { m.Slots = 2 })
			start := time.Now()
			first[killed].kill()
			if took := w.next().at.Sub(start); took > recovery {
				t.Errorf("the next one held after %s", took)
			}
			if err := first[1-killed].Release(t.Context(), held.ID); err != nil {
				t.Error(err)
			}
			w.group.Wait()
		})
	}
}

func TestAWaiterThatCountsOtherSlotsThanTheOneAheadIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		w.store.insert("plain", "build", nil) // counts none
		w.join(1, nil)
		m := w.process()
		m.Slots = 2
		if _, err := m.Acquire(t.Context()); err == nil { // it has the other slot
			t.Error("both numbers count")
		} else if refused, ok := errors.AsType[*DisagreementError](err); !ok || refused.Theirs != 1 {
			t.Errorf("Acquire = %v", err)
		}
		w.store.drop("plain")
		w.group.Wait()
	})
}

func TestASurveyShowsAllPlacesUnderTheLocksName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, host := newStore(true, faults{}, 1), newMachine()
		for range 3 {
			if _, err := host.slotted(s, 3).Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		forged := with(host.contender(s).space.Self.labels(kindLock), "lock", "build")
		s.insert(s.newID(), slotName("another", 1), forged)
		for _, name := range []string{"build", "none"} {
			surveys, err := host.contender(s).space.Survey(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			var found *Survey
			for i := range surveys {
				if surveys[i].Name == "build" {
					found = &surveys[i]
				}
			}
			if found == nil || found.Slots != 3 || len(found.Holders) != 3 {
				t.Fatalf("asked for %q: %+v", name, surveys)
			}
			slots := map[int]bool{}
			for _, h := range found.Holders {
				slots[h.Slot()] = true
			}
			if !slots[1] || !slots[2] || !slots[3] {
				t.Errorf("slots %v", slots)
			}
		}
	})
}

func TestBreakLeavesTheSlotsOfTheLiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, host := newStore(true, faults{}, 1), newMachine()
		living, dead := host.slotted(s, 2), host.slotted(s, 2)
		for _, m := range []*Mutex{living, dead} {
			if _, err := m.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		host.end(dead.space.Self.Process)
		space, record := host.contender(s).space, func(Judged) error { return nil }
		broken, err := space.Break(t.Context(), "build", false, record)
		if err != nil || len(broken) != 1 || !broken[0].madeBy(dead.space.Self) {
			t.Errorf("Break = %v, %v", broken, err)
		}
		broken, err = space.Break(t.Context(), "build", false, record)
		if !errors.Is(err, ErrAlive) || len(broken) != 0 {
			t.Errorf("Break = %v, %v; want ErrAlive", broken, err)
		}
		if broken, err = space.Break(t.Context(), "build", true, record); err != nil || len(broken) != 1 {
			t.Errorf("Break by force = %v, %v", broken, err)
		}
	})
}

func TestNamesOfPlacesDoNotContainTheLocksNameAndAreRead(t *testing.T) {
	for i := range MaxReaders {
		e := Entry{Name: readerName("lock", i)}
		kind, n := e.place()
		if kind != readerPlace || n != i || strings.Contains(e.Name, "lock") || CheckName(e.Name) == nil {
			t.Errorf("%q is %q %d", e.Name, kind, n)
		}
	}
	for i := range MaxSlots {
		if e := (Entry{Name: slotName("lock", i)}); e.Slot() != i+1 {
			t.Errorf("%q is slot %d", e.Name, e.Slot())
		}
	}
	for _, rest := range []string{"s-01", "s--1", "r-", "r-1x", "t-1", "s-9999999999999999999"} {
		e := Entry{Name: placesPrefix("lock") + rest}
		if kind, _ := e.place(); kind != "" {
			t.Errorf("%q is a place", e.Name)
		}
	}
	names := strings.Join(PlaceNames(placesPrefix("lock")), " ")
	if !strings.Contains(names, slotName("lock", MaxSlots-1)) ||
		!strings.Contains(names, readerName("lock", MaxReaders-1)) {
		t.Errorf("names %s", names)
	}
}
