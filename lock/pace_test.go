package lock

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// apart returns a contender on a machine that shares nothing but the store.
func apart(engine Engine, i int) *Mutex {
	host := newMachine()
	host.place.Machine, host.place.Boot = fmt.Sprintf("machine %d", i), fmt.Sprintf("boot %d", i)
	m := host.contender(engine)
	m.space.Shared, m.space.Unwatched = true, true
	return m
}

// Of 100 machines each has a waiter that sees nobody ahead of it. If all of them looked each
// second they would be all of a core of a Gitea.
func TestWaitersOfManyMachinesLookSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newStore(false, faults{}, 1)
		holder := apart(shared, 0)
		held, err := holder.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		holder.Finish()
		done := make(chan error)
		const machines, handOffs = 100, 20
		ctx, stop := context.WithCancel(t.Context())
		for i := range machines {
			m := apart(shared, i+1)
			go func() {
				held, err := m.Acquire(ctx)
				if err == nil {
					m.Finish()
					err = m.Release(t.Context(), held.ID)
				}
				done <- err
			}()
		}
		time.Sleep(6 * time.Minute)
		before := shared.requests()
		time.Sleep(5 * time.Minute)
		if rate := float64(shared.requests()-before) / 300; rate > 1.5 {
			t.Errorf("%.2f requests a second of %d waiting machines, want at most 1.5", rate, machines)
		}
		freed := time.Now()
		if err := holder.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		for i := range handOffs {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if first := time.Since(freed); i == 0 && first > slowestPace+2*time.Second {
				t.Errorf("the first had it after %s", first)
			}
		}
		if each := time.Since(freed) / handOffs; each > 5*time.Second {
			t.Errorf("%s for each hand-off", each)
		}
		stop()
		for range machines - handOffs {
			<-done
		}
	})
}

// present is a store that also answers whether an entry is there.
type present struct {
	*store
	asked  atomic.Int32
	answer func(there bool) (bool, error)
}

func (p *present) Present(_ context.Context, id string) (bool, error) {
	p.asked.Add(1)
	entries, _ := p.List(context.Background(), "")
	p.mu.Lock()
	p.store.asked-- // that list was not the waiter's
	p.mu.Unlock()
	for _, e := range entries {
		if e.ID == id {
			return p.answer(true)
		}
	}
	return p.answer(false)
}

// Whatever a store answers about the holder's entry, a waiter gets the lock.
func TestTheFirstInTheQueueAsksForTheHolderAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(bool) (bool, error)
		lists  int           // in a minute, at most
		least  int           // at least
		within time.Duration // of the release
	}{
		"the truth":    {func(there bool) (bool, error) { return there, nil }, 6, 3, 3 * time.Second},
		"always there": {func(bool) (bool, error) { return true, nil }, 6, 3, examineEvery + 3*time.Second},
		"never there":  {func(bool) (bool, error) { return false, nil }, 62, 40, 3 * time.Second},
		"an error":     {func(bool) (bool, error) { return true, errors.New("500") }, 62, 40, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := &present{store: newStore(false, faults{}, 1), answer: tt.answer}
				holder, waiter := apart(shared, 0), apart(shared, 1)
				held, err := holder.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				got := make(chan error)
				go func() {
					_, err := waiter.Acquire(t.Context())
					got <- err
				}()
				time.Sleep(5 * time.Second)
				before := shared.requests()
				time.Sleep(time.Minute)
				if lists := shared.requests() - before; lists > tt.lists || lists < tt.least {
					t.Errorf("%d lists in a minute, want %d to %d", lists, tt.least, tt.lists)
				}
				if asked := shared.asked.Load(); asked < 40 {
					t.Errorf("asked %d times for the holder alone", asked)
				}
				freed := time.Now()
				if err := holder.Release(t.Context(), held.ID); err != nil {
					t.Fatal(err)
				}
				if err := <-got; err != nil {
					t.Error(err)
				}
				if took := time.Since(freed); took > tt.within {
					t.Errorf("the hand-off took %s, want at most %s", took, tt.within)
				}
				waiter.Finish()
			})
		})
	}
}

// While the holder's entry is there, what else a list shows is seen in time.
func TestAHolderThatDiesIsSeenAlthoughItsEntryIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &present{store: newStore(false, faults{}, 1),
			answer: func(there bool) (bool, error) { return there, nil }}
		holder, waiter := apart(shared, 0), apart(shared, 1)
		holder.space.Self.Job = Job{Server: "https://gitea", RunID: "7"}
		holder.space.Self.Command = false
		if _, err := holder.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		var life atomic.Int32
		life.Store(int32(Alive))
		waiter.space.Server = "https://gitea"
		waiter.space.Runs = runsNow{&life}
		got := make(chan error)
		go func() {
			_, err := waiter.Acquire(t.Context())
			got <- err
		}()
		time.Sleep(time.Minute)
		life.Store(int32(Dead))
		died := time.Now()
		if err := <-got; err != nil {
			t.Error(err)
		}
		if took := time.Since(died); took > examineEvery+3*time.Second {
			t.Errorf("taken over after %s", took)
		}
		waiter.Finish()
	})
}

type runsNow struct{ life *atomic.Int32 }

func (r runsNow) Run(context.Context, Job) (Life, string) {
	return Life(r.life.Load()), "by its server"
}

func TestTheFirstLooksTheMoreSeldomTheLongerTheLockIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := apart(newStore(false, faults{}, 1), 0)
		a := &acquisition{contender: contender{Mutex: m}}
		start := time.Now()
		for held, want := range map[time.Duration]time.Duration{
			0: poll, 30 * time.Second: poll, 3 * time.Minute: 3 * time.Second, time.Hour: slowestPace,
		} {
			holder := Judged{Entry: Entry{Created: start.Add(-held)}}
			if got := a.pace(a.heldFor([]Judged{holder})); got != want {
				t.Errorf("held for %s: each %s, want %s", held, got, want)
			}
			young := Judged{Entry: Entry{Created: start}}
			if got := a.pace(a.heldFor([]Judged{holder, young})); got != poll {
				t.Errorf("held for %s by one of two: each %s, want %s", held, got, poll)
			}
		}
		m.space.Shared = false
		if got := a.pace(time.Hour); got != poll {
			t.Errorf("on one machine: each %s, want %s", got, poll)
		}
	})
}

// Where a lock goes quickly from hand to hand, those behind must not sleep while it is free.
func TestThoseBehindLookTheSoonerTheShorterTheHolds(t *testing.T) {
	m := apart(newStore(false, faults{}, 1), 0)
	a := &acquisition{contender: contender{Mutex: m}, waiters: 100}
	for _, tt := range []struct {
		position   int
		held, want time.Duration
	}{
		{2, 0, poll}, {2, time.Minute, 4 * time.Second}, {2, time.Hour, slowestPace},
		{7, 0, 3500 * time.Millisecond}, {7, -time.Hour, 3500 * time.Millisecond},
		{7, 2 * time.Second, 14 * time.Second},
		{7, time.Minute, 49 * time.Second},
		{90, 0, 45 * time.Second}, {90, time.Hour, 200 * time.Second}, {1 << 30, lastPace, 200 * time.Second},
	} {
		a.position = tt.position
		if got := a.among(tt.held, a.far()); got != tt.want {
			t.Errorf("position %d, held for %s: %s, want %s", tt.position, tt.held, got, tt.want)
		}
	}
}
