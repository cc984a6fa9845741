package turnstile

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAFewPassAtOnce(t *testing.T) {
	var inside, most atomic.Int32
	var group sync.WaitGroup
	for range 10 * passing {
		group.Go(func() {
			leave := Turnstile{}.Enter(t.Context())
			n := inside.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); {
				old = most.Load()
			}
			time.Sleep(time.Millisecond)
			inside.Add(-1)
			leave()
		})
	}
	group.Wait()
	if most.Load() > passing || most.Load() < 2 {
		t.Errorf("%d passed at once, want at most %d, and not one by one", most.Load(), passing)
	}
}

func TestNobodyWaitsLongerThanItsCaller(t *testing.T) {
	for range passing {
		defer Turnstile{}.Enter(t.Context())()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	Turnstile{}.Enter(ctx)()
	if took := time.Since(begin); took < 50*time.Millisecond || took > check {
		t.Errorf("it waited for %s", took)
	}
}

// Who may not ask the daemon for anything must not keep from it those who may. To the
// turnstile of another user this process is such a one.
func TestAnotherUserHoldsUpNobodyForLong(t *testing.T) {
	other := os.Geteuid() + 1
	for range passing {
		defer enter(t.Context(), other)()
	}
	begin := time.Now()
	enter(t.Context(), other)()
	if took := time.Since(begin); took < check || took > 3*check {
		t.Errorf("another user held this process up for %s", took)
	}
}
