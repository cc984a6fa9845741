package turnstile

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
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

// nobodyPasses waits for one that another test has let pass alone, which leaves a moment later.
func nobodyPasses(t *testing.T) {
	for passes := true; passes; {
		fd, err := socket()
		if err != nil {
			t.Fatal(err)
		}
		passes = !take(fd, os.Geteuid(), alone)
		unix.Close(fd)
	}
}

func TestOneAtATimePassesAlone(t *testing.T) {
	nobodyPasses(t)
	for range passing { // who come are not in its way
		defer Turnstile{}.Enter(t.Context())()
	}
	leave, passed := Turnstile{}.TryAlone()
	if !passed {
		t.Fatal("nobody was there, and it did not pass")
	}
	if _, passed := (Turnstile{}).TryAlone(); passed {
		t.Error("two passed at once")
	}
	time.Sleep(50 * time.Millisecond)
	left := time.Now()
	leave()
	for {
		if leave, passed := (Turnstile{}).TryAlone(); passed {
			leave()
			break
		}
		if time.Since(left) > 10*time.Second {
			t.Fatal("nobody passes any more")
		}
	}
	if after := time.Since(left); after < 50*time.Millisecond {
		t.Errorf("the next one passed after %s, and the store had no rest", after)
	}
}

func TestNobodyPassesAloneWhileItIsShut(t *testing.T) {
	nobodyPasses(t)
	open := Turnstile{}.Shut()
	if _, passed := (Turnstile{}).TryAlone(); passed {
		t.Error("one passed while it was shut")
	}
	open()
	leave, passed := Turnstile{}.TryAlone()
	if !passed {
		t.Fatal("it was open again, and nobody passed")
	}
	(Turnstile{}).Shut()() // waits for nobody, and opens for nobody
	if _, passed := (Turnstile{}).TryAlone(); passed {
		t.Error("two passed at once")
	}
	leave()
}

func TestAnotherUserKeepsNobodyFromPassingAlone(t *testing.T) {
	if _, passed := tryAlone(os.Geteuid() + 1); !passed {
		t.Fatal("nobody was there, and it did not pass")
	}
	if _, passed := tryAlone(os.Geteuid() + 1); !passed {
		t.Error("another user keeps it from passing")
	}
}
