package lock

import (
	"testing"
	"testing/synctest"
	"time"
)

// looksInAMinute returns how often so many who wait look at the processes ahead of them, and kills
// them. A wake of a process that rested costs half a millisecond of processor time.
func looksInAMinute(t *testing.T, w *waiters, waiters int) (looks int) {
	t.Helper()
	first, held := w.holder()
	all := w.join(waiters, nil)
	counted := func() int {
		w.host.mu.Lock()
		defer w.host.mu.Unlock()
		return w.host.looks
	}
	time.Sleep(time.Minute) // each has seen how many came after it
	before := counted()
	time.Sleep(time.Minute)
	looks = counted() - before
	if err := first.Release(t.Context(), held.ID); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		m.kill()
	}
	w.group.Wait()
	return looks
}

func TestWaitersLookSeldomWhetherTheOneAheadIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if looks := looksInAMinute(t, newWaiters(t), 100); looks > 60*2*noticing*3/2 {
			t.Errorf("%d looks", looks)
		}
	})
}

// Whoever hears the nonce of a ticket may belong to a forger.
func TestAWaiterIsNotKeptBusyByOneAheadThatSeemsToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		w.bell.fickle = true
		if looks := looksInAMinute(t, w, 100); looks > 60*2*looking*3/2 {
			t.Errorf("%d looks", looks)
		}
	})
}

// Waiters that are stopped end no connection, and are found out all the same.
func TestStoppedWaitersAheadAreNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stopped = 20
		w := newWaiters(t)
		first, _ := w.holder()
		all := w.join(stopped+1, nil)
		for _, m := range all[:stopped] {
			m.stop(w.host)
		}
		time.Sleep(poll)
		first.kill()
		killed := time.Now()
		if next := w.next(); next.who != stopped || next.at.Sub(killed) > recovery {
			t.Errorf("%d has it after %s", next.who, next.at.Sub(killed))
		}
		for _, m := range all[:stopped] {
			m.kill()
			close(m.frozen.goOn)
		}
		w.group.Wait()
	})
}

func TestTheEndOfTheOneAheadMakesNoRestLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine().contender(newStore(true, faults{}, 1))
		over := make(chan struct{}, 1)
		a := &acquisition{contender: contender{Mutex: m}, predecessor: predecessor{over: over}, onHost: 1000}
		for rest, longest := range map[time.Duration]time.Duration{
			shortPause: shortPause, time.Hour: a.step(looking),
		} {
			a.predecessor.over = over
			over <- struct{}{}
			begin := time.Now()
			a.sleep(t.Context(), rest)
			if took := time.Since(begin); took > longest {
				t.Errorf("a rest of %s took %s", rest, took)
			}
		}
	})
}
