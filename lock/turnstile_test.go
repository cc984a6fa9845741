package lock

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// shut is a turnstile in which another one that waits stands for ever.
type shut struct{ tried, now, opened atomic.Int32 }

func (s *shut) Enter(context.Context) (leave func()) { return func() {} }

func (s *shut) TryAlone() (leave func(), passed bool) {
	s.tried.Add(1)
	return nil, false
}

func (s *shut) Shut() (open func()) {
	s.now.Add(1)
	return func() { s.now.Add(-1); s.opened.Add(1) }
}

// beforeTheTurnstile lets one of a crowd wait for another one to have looked, in a turnstile.
func beforeTheTurnstile(t *testing.T, w *waiters) (door *shut, holder *waiter, held Acquired) {
	holder, held = w.holder()
	for range 900 { // for other locks
		w.bell.Hear(t.Context(), queuePrefix("another"), NewNonce())
	}
	door = &shut{}
	w.join(1, func(_ int, m *waiter) { m.space.Turnstile = door })
	for door.tried.Load() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	return door, holder, held
}

// A look takes the daemon as long as a hand-off.
func TestOfACrowdNobodyLooksDuringAHandOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		door, holder, held := beforeTheTurnstile(t, w)
		ended := make(chan error)
		go func() { ended <- holder.Release(t.Context(), held.ID) }()
		for len(w.holds) == 0 && door.now.Load() == 0 {
			time.Sleep(latency / 10)
		}
		if len(w.holds) > 0 {
			t.Error("others may look while the lock is given back")
		}
		w.next()
		if door.now.Load() != 0 || door.opened.Load() != 1 {
			t.Error("others may not look although the next one holds")
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		w.group.Wait()
	})
}

func TestWhoWaitsUntilOthersHaveLookedHearsItsRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		_, holder, held := beforeTheTurnstile(t, w)
		start := time.Now()
		if err := holder.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		if took := w.next().at.Sub(start); took > 10*latency {
			t.Errorf("the hand-off took %s", took)
		}
		w.group.Wait()
	})
}

// It may have been stopped there.
func TestWhoStaysInTheTurnstileHoldsUpNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		_, holder, _ := beforeTheTurnstile(t, w)
		start := time.Now()
		holder.kill()
		if took := w.next().at.Sub(start); took > 2*recovery {
			t.Errorf("the hand-off took %s", took)
		}
		w.group.Wait()
	})
}
