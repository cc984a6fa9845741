package lock

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// longQueue is a store whose list of all queues takes long.
type longQueue struct{ Engine }

const longList = 200 * time.Millisecond

func (s longQueue) List(ctx context.Context, prefixes ...string) ([]Entry, error) {
	if slices.Contains(prefixes, queueNames) {
		time.Sleep(longList)
	}
	return s.Engine.List(ctx, prefixes...)
}

// passOn lets a lock pass to one that has waited, lets it work for so long while others wait, and
// returns when its release begins.
func passOn(t *testing.T, w *waiters, work time.Duration, others int, prepare func(i int, m *waiter),
	beside func(others []*waiter)) (released time.Time) {
	first, second := w.process(), w.process()
	held, err := first.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second.space.Engine = longQueue{second.space.Engine}
	began := make(chan struct{})
	var mine Acquired
	w.group.Go(func() {
		defer close(began)
		if mine, err = second.Acquire(context.Background()); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(5 * latency) // its ticket is the first
	all := w.join(others, prepare)
	if err := first.Release(t.Context(), held.ID); err != nil {
		t.Fatal(err)
	}
	<-began
	if beside != nil {
		beside(all)
	}
	time.Sleep(work)
	released = time.Now()
	if err := second.Release(t.Context(), mine.ID); err != nil {
		t.Fatal(err)
	}
	return released
}

func TestNobodyWaitsUntilAReleaseHasReadTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		released := passOn(t, w, 2*longList, 3, nil, nil)
		if h := w.next(); h.who != 0 || h.at.Sub(released) >= longList/2 {
			t.Errorf("%d holds after %s, want the first at once", h.who, h.at.Sub(released))
		}
		w.group.Wait()
	})
}

func TestAReleaseAfterShortWorkFindsTheNextWhereTheFirstWasKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		released := passOn(t, w, 2*longList, 3, nil, func(others []*waiter) {
			time.Sleep(longList + latency) // it has read the queue
			others[0].kill()
		})
		if h := w.next(); h.who != 1 || h.at.Sub(released) >= longList/2 {
			t.Errorf("%d holds after %s, want the second at once", h.who, h.at.Sub(released))
		}
		w.group.Wait()
	})
}

// Who came since the queue was read is found, if those who were in it have gone.
func TestAReleaseAfterShortWorkFindsWhoHasComeSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		var late *waiter
		holds := make(chan time.Time, 1)
		released := passOn(t, w, longList, 1, nil, func(others []*waiter) {
			time.Sleep(longList + latency)
			others[0].kill()
			late = w.process()
			w.group.Go(func() {
				held, err := late.Acquire(context.Background())
				holds <- time.Now()
				if err != nil || late.Release(context.Background(), held.ID) != nil {
					t.Error("it could not get and release the lock", err)
				}
			})
		})
		if took := (<-holds).Sub(released); took > 2*longList {
			t.Errorf("it holds after %s", took)
		}
		w.group.Wait()
	})
}

func TestWhoHasHighPriorityIsNextAfterLongWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		passOn(t, w, 2*knownFor, 2, nil, func([]*waiter) {
			time.Sleep(2 * longList)
			w.join(1, func(_ int, m *waiter) { m.space.Self.Priority = PriorityHigh })
		})
		if h := w.next(); h.who != 2 {
			t.Errorf("%d holds, want the one with high priority", h.who)
		}
		w.group.Wait()
	})
}

// The queue may take longer to read than the work does. The lock is free all the same.
func TestAReleaseDoesNotWaitForTheQueueToRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		passOn(t, w, 0, 1, nil, func([]*waiter) {
			mine := named(w.store.named("build"), "build")[0].ID
			w.group.Go(func() {
				time.Sleep(longList / 2)
				if left := named(w.store.named("build"), "build"); len(left) > 0 && left[0].ID == mine {
					t.Error("the entry of the one that released is there still")
				}
			})
		})
		w.next()
		w.group.Wait()
	})
}
