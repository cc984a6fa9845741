package lock

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Three hundred waiters cost the daemon little while they wait, and are served in their order.
func TestACrowdAsksLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters = 300
		w := newWaiters(t)
		first, held := w.holder()
		before := w.store.requests()
		all := w.join(waiters, nil)
		if asked := float64(w.store.requests()-before) / waiters; asked > 6 {
			t.Errorf("each makes %.1f requests to join, want at most 6", asked)
		}
		time.Sleep(2 * time.Minute) // the first ones have seen how many came after them
		before = w.store.requests()
		time.Sleep(2 * time.Minute)
		if perSecond := float64(w.store.requests()-before) / 120; perSecond > 12 {
			t.Errorf("they make %.1f requests a second, want at most 12", perSecond)
		}
		if err := first.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		var order []int
		start := time.Now()
		const handOffs = 50
		for range handOffs {
			order = append(order, w.next().who)
		}
		if !slices.IsSorted(order) {
			t.Errorf("order %v", order)
		}
		if took := time.Since(start); took > handOffs*100*time.Millisecond {
			t.Errorf("%d hand-offs took %s", handOffs, took)
		}
		for _, m := range all {
			m.kill()
		}
		w.group.Wait()
	})
}

// A thousand looks some minutes after all came would keep the daemon from answering others.
func TestACrowdThatCameAtOnceDoesNotLookAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters = 500
		w := newWaiters(t)
		first, held := w.holder()
		var came int
		all := w.join(waiters, func(i int, _ *waiter) {
			if i == waiters-1 {
				came = w.store.requests()
			}
		})
		// Within a third of their rest a third of them have looked. Before, 4 requests were made by then.
		if asked := w.store.requests() - came; asked < waiters/4 || asked > waiters*3/4 {
			t.Errorf("%d requests of %d waiters within %s", asked, waiters, longestRest)
		}
		if err := first.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			m.kill()
		}
		w.group.Wait()
	})
}

// Each request costs a millisecond and more, and a job waits for it.
func TestWhatAnUncontendedLockAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		m := w.process()
		held, err := m.Acquire(t.Context())
		if asked := w.store.requests(); err != nil || asked != 3 { // list, create, list
			t.Errorf("to acquire it %d requests, %v; want 3", asked, err)
		}
		another := w.process()
		another.space.Self = m.space.Self
		before := w.store.requests()
		if _, err := another.Entries(t.Context()); err != nil {
			t.Fatal(err)
		}
		err = another.Release(t.Context(), held.ID)
		if asked := w.store.requests() - before; err != nil || asked != 2 { // list, remove
			t.Errorf("to release it %d requests, %v; want 2", asked, err)
		}
	})
}

// Who is first of many looks seldom only while it sees the holder, which it would hear.
func TestTheFirstOfAQueueLooksForAHolderThatItDoesNotSee(t *testing.T) {
	for name, tt := range map[string]struct {
		crowd int
		seen  bool
		least int // looks in a minute
		most  int
	}{
		"among few": {0, true, 40, 70}, "among many": {900, true, 0, 10}, "of one out of sight": {900, false, 40, 70},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWaiters(t)
				first := w.process()
				first.space.Self.Command = tt.seen
				held, err := first.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for range tt.crowd { // for other locks
					w.bell.Hear(t.Context(), queuePrefix("another"), NewNonce())
				}
				w.join(1, nil)
				before := w.store.requests()
				time.Sleep(time.Minute)
				if looks := w.store.requests() - before; looks < tt.least || looks > tt.most {
					t.Errorf("%d requests in a minute, want %d to %d", looks, tt.least, tt.most)
				}
				if err := first.Release(t.Context(), held.ID); err != nil {
					t.Fatal(err)
				}
				w.group.Wait()
			})
		})
	}
}

// deafOnce is a store whose first list of a queue fails.
type deafOnce struct {
	Engine
	asked atomic.Bool
}

func (d *deafOnce) List(ctx context.Context, prefixes ...string) ([]Entry, error) {
	if !isQueueName(prefixes[0]+"0") && prefixes[0] != queueNames || d.asked.Swap(true) {
		return d.Engine.List(ctx, prefixes...)
	}
	return nil, errLost
}

func TestAReleaseThatCouldNotSeeTheQueueLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		first := w.process()
		held, err := first.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.join(1, nil)
		first.space.Engine = &deafOnce{Engine: first.space.Engine}
		start := time.Now()
		if err := first.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		if took := w.next().at.Sub(start); took > poll/4 {
			t.Errorf("the hand-off took %s", took)
		}
		w.group.Wait()
	})
}

// Who repeats at once what a daemon had no time to answer keeps it from answering others.
func TestPausesGrowWithRequestsThatTimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		s := newStore(true, faults{}, 1)
		m := newMachine().contender(hung{s, func(string, string) bool { asked.Add(1); return true }})
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Minute, ErrTimeout)
		defer cancel()
		if _, err := m.Acquire(ctx); !errors.Is(err, ErrTimeout) {
			t.Errorf("Acquire = %v", err)
		}
		if n := asked.Load(); n > 40 { // 26 to 32; 57 with a pause of at most a second
			t.Errorf("%d requests in ten minutes", n)
		}
	})
}

func TestHoldersAmongManyCheckTheirLocksSeldomAndNotAtOnce(t *testing.T) {
	const seldom = 5 * time.Second
	for _, waiting := range []int{0, 128, 1000} {
		m := newMachine().contender(newStore(true, faults{}, 1))
		bell := newBell()
		m.space.Bell = bell
		for range waiting {
			bell.Hear(t.Context(), queuePrefix("build"), NewNonce())
		}
		rest := max(seldom, restOf(waiting))
		different := map[time.Duration]bool{}
		for range 10 {
			interval := m.Scarce(seldom)
			different[interval] = true
			if interval < rest*3/4 || interval > rest*5/4 {
				t.Errorf("beside %d waiters the next check is after %s, not %s", waiting, interval, rest)
			}
		}
		if rest > seldom != (len(different) > 1) {
			t.Errorf("beside %d waiters the intervals are %v", waiting, different)
		}
	}
}
