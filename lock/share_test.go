package lock

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestNoWriterHoldsBesideAnybody(t *testing.T) {
	var together atomic.Int32
	underFaults(t, func(t *testing.T, s *store, seed uint64) {
		var g groups
		contend(t, s, 8, 30, seed%2 == 0, func(m *Mutex) (func(), bool) {
			m.Share = rand.N(2) == 0
			g.join(m, m.Share)
			return announceAndVerify(m)
		})
		g.check(t, seed, 1, MaxReaders)
		together.Store(max(together.Load(), g.other.most.Load()))
	})
	if together.Load() < 2 {
		t.Errorf("at most %d readers held at once", together.Load())
	}
}

func reader(m *Mutex) *Mutex { m.Share = true; return m }

func TestReadersHoldTogetherAndAWriterWaitsForTheLast(t *testing.T) {
	for name, deaf := range map[string]bool{"by a marker": true, "by its bell": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWaiters(t)
				w.bell.deaf = deaf
				first, second := w.process(), w.process()
				var ids []string
				for _, m := range []*waiter{first, second} {
					held, err := reader(m.Mutex).Acquire(t.Context())
					if err != nil || held.Slot != 0 {
						t.Fatalf("Acquire = %+v, %v", held, err)
					}
					ids = append(ids, held.ID)
				}
				w.join(1, nil)                                                   // a writer
				w.join(1, func(_ int, m *waiter) { m.Share = true })             // behind it, so it does not starve
				if entries, _ := first.Entries(t.Context()); len(entries) != 3 { // two readers, and the one who is next
					t.Errorf("entries: %v", entries)
				}
				if err := first.Release(t.Context(), ids[0]); err != nil {
					t.Fatal(err)
				}
				select {
				case h := <-w.holds:
					t.Errorf("%d holds beside a reader", h.who)
				case <-time.After(time.Minute):
				}
				start := time.Now()
				if err := second.Release(t.Context(), ids[1]); err != nil {
					t.Fatal(err)
				}
				for want := range 2 {
					if h := w.next(); h.who != want || h.at.Sub(start) > poll/4 {
						t.Errorf("%d held after %s, want %d at once", h.who, h.at.Sub(start), want)
					}
					start = start.Add(100 * time.Millisecond)
				}
				w.group.Wait()
				if left := w.store.named(""); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		})
	}
}

func TestAWriterDoesNotWaitForDeadReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		var all []*waiter
		for range 3 {
			m := w.process()
			if _, err := reader(m.Mutex).Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			all = append(all, m)
		}
		all[0].kill()
		w.join(1, nil)
		start := time.Now()
		all[1].kill()
		all[2].kill()
		if took := w.next().at.Sub(start); took > recovery {
			t.Errorf("the writer held after %s", took)
		}
		w.group.Wait()
	})
}

func TestAWriterThatGivesUpBeforeTheReadersGivesTheTurnToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		if _, err := reader(w.process().Mutex).Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		writer := w.process()
		stopped := errors.New("stopped")
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error)
		go func() {
			_, err := writer.Acquire(ctx)
			ended <- err
		}()
		time.Sleep(time.Second)
		w.join(1, func(_ int, m *waiter) { m.Share = true })
		start := time.Now()
		cancel(stopped)
		if err := <-ended; !errors.Is(err, stopped) {
			t.Errorf("Acquire = %v", err)
		}
		if took := w.next().at.Sub(start); took > poll/4 {
			t.Errorf("the next held after %s", took)
		}
		w.group.Wait()
	})
}

// A reader whose slot was taken away before it gave that back may have met a writer.
func TestAReaderWhoseTurnIsTakenAwayGoesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, host := newStore(true, faults{}, 1), newMachine()
		m := reader(host.contender(s))
		stolen := false
		m.space.Engine = stealing{s, func(name string) {
			if (Entry{Name: name}).reader() && !stolen {
				stolen = true
				s.drop(s.named("build")[0].ID)
			}
		}}
		if _, err := m.Acquire(t.Context()); err != nil || !stolen {
			t.Fatalf("Acquire = %v, stolen: %v", err, stolen)
		}
		if left := s.named(""); len(left) != 1 || !left[0].reader() {
			t.Errorf("entries: %v", left)
		}
	})
}

// stealing is a store in which something happens before each create.
type stealing struct {
	*store
	before func(name string)
}

func (s stealing) Create(ctx context.Context, name string, labels map[string]string) (string, error) {
	s.before(name)
	return s.store.Create(ctx, name, labels)
}

func TestOneReaderMoreThanCanBeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, host := newStore(true, faults{}, 1), newMachine()
		var last string
		var m *Mutex
		for range MaxReaders {
			m = reader(host.contender(s))
			held, err := m.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			last = held.ID
		}
		time.AfterFunc(10*time.Second, func() { _ = m.Release(context.Background(), last) })
		start := time.Now()
		if _, err := reader(host.contender(s)).Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < 10*time.Second || waited > 10*time.Second+recovery {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestAReaderDoesNotWaitForTheDeadWhoHoldAllNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, host := newStore(true, faults{}, 1), newMachine()
		for range MaxReaders {
			m := reader(host.contender(s))
			if _, err := m.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			host.end(m.space.Self.Process)
		}
		start := time.Now()
		if _, err := reader(host.contender(s)).Acquire(t.Context()); err != nil || time.Since(start) > recovery {
			t.Errorf("Acquire = %v after %s", err, time.Since(start))
		}
	})
}

func TestReadersAndSlotsDisagree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, host := newStore(true, faults{}, 1), newMachine()
		if _, err := reader(host.contender(s)).Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := host.slotted(s, 2).Acquire(t.Context())
		if refused, ok := errors.AsType[*DisagreementError](err); !ok || refused.Theirs != 1 || refused.Mine != 2 {
			t.Errorf("Acquire = %v", err)
		}
	})
}

// Two of one shell share the lock: then only an ID shows whose is whose.
func TestASecondReaderOfTheSameCallerLeavesANote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, host := newStore(true, faults{}, 1), newMachine()
		shell := host.start()
		var m *Mutex
		for range 2 {
			m = reader(host.contender(s))
			m.space.Self.Command, m.space.Self.Parent = false, shell
			if _, err := m.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		entries, err := m.Entries(t.Context())
		if err != nil || len(entries) != 2 || len(m.space.OwnedBySelf(entries)) != 2 {
			t.Fatalf("%v, %v", entries, err)
		}
		contested := slices.ContainsFunc(entries, func(e Entry) bool { c, _ := m.Contested(t.Context(), e); return c })
		if !contested {
			t.Error("a release would give back both")
		}
	})
}

// A reader gives slot 0 back before it holds, which must not take longer than it may wait.
func TestAReaderThatCannotGiveItsTurnBackEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 5 * time.Second
		s, begin := newStore(true, faults{}, 1), time.Now()
		m := reader(newMachine().contender(hung{s, func(kind, _ string) bool {
			return kind == "remove" && time.Since(begin) < timeout
		}}))
		ctx, cancel := context.WithTimeoutCause(t.Context(), timeout, ErrTimeout)
		defer cancel()
		if _, err := m.Acquire(ctx); !errors.Is(err, ErrTimeout) {
			t.Errorf("Acquire = %v", err)
		}
		if took := time.Since(begin); took > timeout+time.Second {
			t.Errorf("it took %s", took)
		}
		if left := s.named(""); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}
