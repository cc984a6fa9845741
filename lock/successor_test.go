package lock

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
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

// counted is a store that counts the lists of a lock's whole queue, which take so long.
type counted struct {
	Engine
	read *atomic.Int32
	long *atomic.Int64
}

func (c counted) List(ctx context.Context, prefixes ...string) ([]Entry, error) {
	if slices.Contains(prefixes, queuePrefix("build")) || slices.Contains(prefixes, queueNames) {
		c.read.Add(1)
		time.Sleep(time.Duration(c.long.Load()))
	}
	return c.Engine.List(ctx, prefixes...)
}

// To read the queue of a thousand takes longer than they hold the lock: all would read in vain.
func TestFewOfACrowdReadItsQueueWhileItMovesOn(t *testing.T) {
	for name, long := range map[string]time.Duration{"fast": 0, "slower than the work": 3 * longList / 4} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { fewRead(t, long) })
		})
	}
}

func fewRead(t *testing.T, long time.Duration) {
	w := newWaiters(t)
	first, held := w.holder()
	var read atomic.Int32
	var takes atomic.Int64
	first.space.Engine = counted{first.space.Engine, &read, &takes}
	all := w.join(crowd+180, func(_ int, m *waiter) {
		m.space.Self.Command = true
		m.space.Engine = counted{m.space.Engine, &read, &takes}
	})
	read.Store(0)
	takes.Store(int64(long))
	if err := first.Release(t.Context(), held.ID); err != nil {
		t.Fatal(err)
	}
	last := w.next()
	order, start := []int{last.who}, last.at
	const handOffs = 150
	for range handOffs {
		h := w.next()
		if took := h.at.Sub(last.at) - heldFor; took > longList/2 {
			t.Errorf("hand-off %d took %s", len(order), took)
		}
		order, last = append(order, h.who), h
	}
	if !slices.IsSorted(order) {
		t.Errorf("order %v", order)
	}
	if n, most := read.Load(), int32(2*last.at.Sub(start)/knownForInCrowd)+6; n > most {
		t.Errorf("the queue was read %d times in %s, want at most %d", n, last.at.Sub(start), most)
	}
	for _, m := range all {
		m.kill()
	}
	w.group.Wait()
}

func TestSuccessorsReadLongAgoAreNotReliedOn(t *testing.T) {
	m := newMachine().contender(newStore(true, faults{}, 1))
	now := m.space.Host.Uptime()
	for name, tt := range map[string]struct {
		next *Successors
		want bool
	}{
		"nobody":       {nil, false},
		"none":         {&Successors{Read: now}, false},
		"just read":    {&Successors{now, []string{"a"}}, true},
		"read before":  {&Successors{now - 2*knownFor, []string{"a"}}, false},
		"in future":    {&Successors{now + time.Hour, []string{"a"}}, false},
		"before boot":  {&Successors{-1 << 63, []string{"a"}}, false},
		"never at all": {&Successors{1<<63 - 1, []string{"a"}}, false},
	} {
		if got := m.known(tt.next, knownFor); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// slowStore is a store as that of a daemon with thousands of networks.
type slowStore struct{ Engine }

const slowRequest = 100 * time.Millisecond

func (s slowStore) List(ctx context.Context, prefixes ...string) ([]Entry, error) {
	time.Sleep(slowRequest)
	return s.Engine.List(ctx, prefixes...)
}

func (s slowStore) Remove(ctx context.Context, id string) error {
	time.Sleep(slowRequest)
	return s.Engine.Remove(ctx, id)
}

// Whoever's work lasts has time to find out who has come since.
func TestWhoWorksForLongInACrowdReadsItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine().contender(newStore(true, faults{}, 1))
		m.crowded = true
		for name, tt := range map[string]struct {
			age, work time.Duration
			reads     bool
		}{
			"short work, read just now":    {justRead / 2, longWork / 2, false},
			"long work, read just now":     {justRead / 2, 2 * longWork, false},
			"short work, read before":      {2 * justRead, longWork / 2, false},
			"long work, read before":       {2 * justRead, 2 * longWork, true},
			"short work, read long before": {2 * knownForInCrowd, longWork / 2, true},
		} {
			nonces := make([]string, 3*readerEvery+1)
			for i := range nonces {
				nonces[i] = NewNonce()
			}
			handed := &Successors{m.space.Host.Uptime() - tt.age, nonces}
			m.successors.Store(handed)
			work, end := context.WithCancel(t.Context())
			time.AfterFunc(tt.work, end)
			m.lookAhead(work)
			if read := m.successors.Load() != handed; read != tt.reads {
				t.Errorf("%s: it has read: %t", name, read)
			}
		}
	})
}

// Who is woken has to try for as long as the removal takes: else it looks, and is late.
func TestWhoIsWokenWaitsForASlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		first := w.process()
		first.space.Engine = slowStore{first.space.Engine}
		held, err := first.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.join(1, func(_ int, m *waiter) { m.space.Engine = slowStore{m.space.Engine} })
		if _, err := first.Entries(t.Context()); err != nil { // as a release-lock does
			t.Fatal(err)
		}
		start := time.Now()
		if err := first.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		const longest = 2*slowRequest + slowRequest/2 // the removal and the list that verifies
		if took := w.next().at.Sub(start); took > longest {
			t.Errorf("the hand-off took %s, want at most %s", took, longest)
		}
		w.group.Wait()
	})
}

// The removal may take longer than one that was woken tries.
func TestWhoWasWokenTooEarlyTakesTheLockOnceItIsFree(t *testing.T) {
	for name, crowd := range map[string]int{"among few": 0, "in a crowd": 900} {
		for _, tried := range []time.Duration{wokenRetry, crowdRetry, longestRetry} {
			removal := tried + shortPause
			t.Run(fmt.Sprintf("%s, %s", name, removal), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { wokenTooEarly(t, crowd, removal) })
			})
		}
	}
}

func wokenTooEarly(t *testing.T, crowd int, removal time.Duration) {
	w := newWaiters(t)
	first, held := w.holder()
	for range crowd { // for other locks
		w.bell.Hear(t.Context(), queuePrefix("another"), NewNonce())
	}
	w.join(1, nil)
	first.space.Engine = slowRemoval{first.space.Engine, removal}
	start := time.Now()
	if err := first.Release(t.Context(), held.ID); err != nil {
		t.Fatal(err)
	}
	if took := w.next().at.Sub(start); took > removal+poll/10 {
		t.Errorf("the hand-off took %s", took)
	}
	w.group.Wait()
}

// slowRemoval is a store whose removals take so long.
type slowRemoval struct {
	Engine
	long time.Duration
}

func (s slowRemoval) Remove(ctx context.Context, id string) error {
	time.Sleep(s.long)
	return s.Engine.Remove(ctx, id)
}
