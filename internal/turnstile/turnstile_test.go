package turnstile

import (
	"context"
	"errors"
	"os"
	"runtime"
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
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	Turnstile{}.Enter(ctx)()
	if took := time.Since(begin); took < 50*time.Millisecond || took > check {
		t.Errorf("it waited for %s", took)
	}
}

// Who may not ask the daemon for anything must not keep from it those who may.
func TestAnotherUserHoldsUpNobodyForLong(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	var names []*unix.SockaddrUnix
	for i := range passing {
		names = append(names, address(0, i))
	}
	has, done := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); err != 0 {
			has <- err
			return
		}
		for _, name := range names {
			fd, err := socket()
			if err == nil {
				defer unix.Close(fd)
				err = errors.Join(unix.Bind(fd, name), unix.Listen(fd, 1))
			}
			if err != nil {
				has <- err
				return
			}
		}
		has <- nil
		<-done
	}()
	if err := <-has; err != nil {
		t.Fatal(err)
	}
	defer close(done)
	begin := time.Now()
	Turnstile{}.Enter(t.Context())()
	if took := time.Since(begin); took > 2*check {
		t.Errorf("another user held this process up for %s", took)
	}
}
