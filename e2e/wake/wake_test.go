// Package wake tells how many waiters a release wakes, on real engines.
package wake

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"hostguard/e2e/rig/engine"
	"hostguard/internal/bell"
	"hostguard/internal/docker"
	"hostguard/internal/proc"
	"hostguard/lock"
)

// tapped is one waiter's store and bell, and tells whether it was woken.
type tapped struct {
	*docker.Engine
	bell.Bell
	woken *atomic.Bool
}

func (e tapped) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	wakes, err := e.Engine.Watch(ctx, prefix)
	return counted(e.woken, wakes), err
}

func (e tapped) Hear(ctx context.Context, queue, nonce string) (<-chan lock.Successors, error) {
	rings, err := e.Bell.Hear(ctx, queue, nonce)
	return counted(e.woken, rings), err
}

func counted[T any](woken *atomic.Bool, wakes <-chan T) <-chan T {
	counted := make(chan T, 1)
	go func() {
		defer close(counted)
		for wake := range wakes {
			woken.Store(true)
			counted <- wake
		}
	}()
	return counted
}

func TestAReleaseWakesOneOf64(t *testing.T) {
	for _, version := range []string{engine.Old, engine.New} {
		e := engine.ForTest(t, version)
		for way, rung := range map[string]bool{"marker": false, "bell": true} {
			t.Run(version+" by "+way, func(t *testing.T) { wakesOne(t, e, rung) })
		}
	}
}

const waiters = 64

func wakesOne(t *testing.T, e *engine.Engine, rung bool) {
	getenv := func(name string) string { return map[string]string{"DOCKER_HOST": e.Host()}[name] }
	store, err := docker.Connect(t.Context(), getenv)
	if err != nil {
		t.Fatal(err)
	}
	host := proc.Host{Proc: "/proc"}
	contender := func(woken *atomic.Bool) *lock.Mutex {
		world := tapped{Engine: store, woken: woken}
		space := &lock.Space{
			Engine: world, Host: host,
			Self: lock.Claim{Nonce: lock.NewNonce(), Place: host.Place(), Process: host.Process(os.Getpid())},
		}
		if rung {
			space.Bell = world
		}
		return space.Lock("build")
	}
	first := contender(new(atomic.Bool))
	held, err := first.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watching := make(chan struct{}, waiters)
	got := make(chan error, waiters)
	woken := make([]atomic.Bool, waiters)
	for i := range woken {
		m := contender(&woken[i])
		looks := 0
		m.OnWait = func(lock.Wait) {
			if looks++; looks == 2 { // from the second on it watches
				watching <- struct{}{}
			}
		}
		go func() {
			_, err := m.Acquire(ctx)
			m.Finish()
			got <- err
		}()
	}
	for range waiters {
		select {
		case <-watching:
		case <-time.After(30 * time.Second):
			t.Fatal("they did not all come to wait")
		}
	}
	if err := first.Release(t.Context(), held.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	// The events of one marker reach all streams together.
	time.Sleep(100 * time.Millisecond)
	n := 0
	for i := range woken {
		if woken[i].Load() {
			n++
		}
	}
	if n != 1 {
		t.Errorf("a release woke %d of %d waiters", n, waiters)
	}
	cancel()
	for range waiters - 1 {
		<-got
	}
	left, err := store.List(t.Context(), "build") // the holder's, whose process lives on
	for _, l := range left {
		err = errors.Join(err, store.Remove(t.Context(), l.ID))
	}
	if err != nil {
		t.Fatal(err)
	}
}
