package lock

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// shut is a turnstile in which another one that waits stands for ever.
type shut struct{ tried atomic.Int32 }

func (s *shut) Enter(context.Context) (leave func()) { return func() {} }

func (s *shut) TryAlone() (leave func(), passed bool) {
	s.tried.Add(1)
	return nil, false
}

// beforeTheTurnstile lets one of a crowd wait for another one to have looked, in a turnstile.
func beforeTheTurnstile(t *testing.T, w *waiters) (holder *waiter, held Acquired) {
	holder = w.process()
	holder.space.Self.Command = true
	held, err := holder.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 900 { // for other locks
		w.bell.Hear(t.Context(), queuePrefix("another"), NewNonce())
	}
	door := &shut{}
	w.join(1, func(_ int, m *waiter) { m.space.Turnstile = door })
	for door.tried.Load() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	return holder, held
}

func TestWhoWaitsUntilOthersHaveLookedHearsItsRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		holder, held := beforeTheTurnstile(t, w)
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
		holder, _ := beforeTheTurnstile(t, w)
		start := time.Now()
		holder.kill()
		if took := w.next().at.Sub(start); took > 2*recovery {
			t.Errorf("the hand-off took %s", took)
		}
		w.group.Wait()
	})
}
