package lock

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	callTimeout = 10 * time.Second // for one request: a hung daemon answers nothing
	slowAnswer  = 3 * time.Second  // after that a waiter reports that there is none yet
)

// requests is the only way from this package to the store: no request lasts longer
// than callTimeout.
type requests struct {
	engine  Engine
	slowest *atomic.Int64   // nanoseconds
	slow    func(err error) // reports a request that has no answer after slowAnswer; may be nil
}

var _ Engine = requests{}

// store returns the Engine with each request bounded.
func (s *Space) store() requests { return requests{s.Engine, &s.slowest, s.slow} }

// slowestRequest returns the longest time that this process has waited for the store.
func (s *Space) slowestRequest() time.Duration { return time.Duration(s.slowest.Load()) }

// wokenTime returns how long one that was woken tries, since the lock is about to be free: the
// longer the slower the store is. Beside a thousand networks Engine 26.1 needs 20 ms to remove one,
// and several times that while others look.
func (s *Space) wokenTime(crowded bool) time.Duration {
	return min(max(leastTry(crowded), 2*s.slowestRequest()), longestRetry)
}

// leastTry returns how long each that was woken tries, whatever it knows of the store.
func leastTry(crowded bool) time.Duration {
	if crowded {
		return crowdRetry
	}
	return wokenRetry
}

func (r requests) Create(ctx context.Context, name string, labels map[string]string) (id string, err error) {
	r.do(ctx, func(ctx context.Context) { id, err = r.engine.Create(ctx, name, labels) })
	return id, err
}

func (r requests) List(ctx context.Context, prefixes ...string) (entries []Entry, err error) {
	r.do(ctx, func(ctx context.Context) { entries, err = r.engine.List(ctx, prefixes...) })
	return entries, err
}

func (r requests) Remove(ctx context.Context, id string) (err error) {
	r.do(ctx, func(ctx context.Context) { err = r.engine.Remove(ctx, id) })
	return err
}

// Present is false where the store has nothing better than a list.
func (r requests) Present(ctx context.Context, id string) (present bool, err error) {
	if store, ok := r.engine.(Presence); ok {
		r.do(ctx, func(ctx context.Context) { present, err = store.Present(ctx, id) })
	}
	return present, err
}

// Watch bounds the start of the watch, which then lasts as long as ctx.
func (r requests) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	ctx, cancel := context.WithCancel(ctx)
	expired := time.AfterFunc(callTimeout, cancel)
	wakes, err := r.engine.Watch(ctx, prefix)
	if !expired.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return wakes, nil
}

func (r requests) do(ctx context.Context, request func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	start := time.Now()
	if r.slow != nil {
		reported := make(chan struct{})
		timer := time.AfterFunc(slowAnswer, func() {
			defer close(reported)
			r.slow(fmt.Errorf("the store has not answered for %s", slowAnswer))
		})
		defer func() {
			if !timer.Stop() {
				<-reported
			}
		}()
	}
	request(ctx)
	took := int64(time.Since(start))
	for old := r.slowest.Load(); took > old && !r.slowest.CompareAndSwap(old, took); {
		old = r.slowest.Load()
	}
}
