package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hostguard/e2e/rig/engine"
	"hostguard/internal/bell"
	"hostguard/internal/docker"
	"hostguard/internal/proc"
	"hostguard/lock"
)

// contender returns the view of one more process that wants a lock of an engine.
func contender(host string) (*lock.Space, error) {
	store, err := docker.Connect(context.Background(), func(variable string) string {
		if variable == "DOCKER_HOST" {
			return host
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	here := proc.Host{Proc: "/proc"}
	return &lock.Space{
		Engine: store, Host: here, Bell: bell.Bell{},
		Self: lock.Claim{Nonce: lock.NewNonce(), Place: here.Place(), Process: here.Process(os.Getpid()), Job: lock.Job{
			Repository: "wooo/awoooi", Workflow: "cd", Job: "build",
			RunURL: "https://gitea.example.com/wooo/awoooi/actions/runs/12",
		}},
	}, nil
}

// wait runs in each waiter, a process of its own: it prints the lock's ID
// and when it held it, on the clock that all processes share.
func wait(host, name string) error {
	space, err := contender(host)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	m := space.Lock(name)
	m.OnWait = func(lock.Wait) {}
	held, err := m.Acquire(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Println(held.ID, monotonic())
	m.Finish()
	return err
}

func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

// held is how long each one holds the lock: it is not given back the moment it was
// got, and the daemon has gone to sleep by then.
const held = 50 * time.Millisecond

// handOffs lets n processes wait and gives the lock from one to the next. Each
// time is from the call of the release, in a process that runs already, as
// with-lock's is, until the next one holds the lock.
func (b *bench) handOffs(e *engine.Engine, n, rounds int) ([]time.Duration, error) {
	space, err := contender(e.Host())
	if err != nil {
		return nil, err
	}
	m := space.Lock("bench")
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	type result struct {
		id string
		at int64
	}
	var times []time.Duration
	for range rounds {
		first, err := m.Acquire(context.Background())
		if err != nil {
			return nil, err
		}
		results, errs := make(chan result), make(chan error, n)
		for range n {
			cmd := exec.Command(self, "wait", e.Host(), m.Name())
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				return nil, err
			}
			if err := cmd.Start(); err != nil {
				return nil, err
			}
			go func() {
				var r result
				_, err := fmt.Fscan(bufio.NewReader(out), &r.id, &r.at)
				if err = errors.Join(err, cmd.Wait()); err != nil {
					errs <- err
					return
				}
				results <- r
			}()
		}
		if err := b.queued(e, m.Name(), n); err != nil {
			return nil, err
		}
		id := first.ID
		for range n {
			start := monotonic()
			if err := m.Release(context.Background(), id); err != nil {
				return nil, err
			}
			select {
			case r := <-results:
				times = append(times, time.Duration(r.at-start))
				id = r.id
			case err := <-errs:
				return nil, err
			}
			time.Sleep(held)
		}
		if err := m.Release(context.Background(), id); err != nil {
			return nil, err
		}
	}
	slices.Sort(times)
	return times, nil
}

// floor returns how long the engine itself takes for the three requests that a
// hand-off needs, one after the other: remove, create, list.
func floor(e *engine.Engine) (time.Duration, error) {
	space, err := contender(e.Host())
	if err != nil {
		return 0, err
	}
	const name = "bench-floor"
	store, ctx := space.Engine, context.Background()
	id, err := store.Create(ctx, name, nil)
	if err != nil {
		return 0, err
	}
	var times []time.Duration
	for range 50 {
		time.Sleep(held)
		start := time.Now()
		if err = store.Remove(ctx, id); err == nil {
			id, err = store.Create(ctx, name, nil)
		}
		if err == nil {
			_, err = store.List(ctx, name)
		}
		if err != nil {
			return 0, err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times[len(times)/2], store.Remove(ctx, id)
}

// handOff measures it for 16 waiters, or for more and more.
func (b *bench) handOff(e *engine.Engine, more bool) error {
	least, err := floor(e)
	if err != nil {
		return err
	}
	fmt.Printf("engine %s: remove, create and list, after the same pause: p50 %s\n", e.Version, ms(least))
	type round struct{ waiters, rounds int }
	all := []round{{16, 4}}
	if more {
		all = []round{{2, 32}, {8, 8}, {16, 8}, {64, 2}, {256, 1}}
	}
	for _, c := range all {
		times, err := b.handOffs(e, c.waiters, c.rounds)
		if err != nil {
			return err
		}
		fmt.Printf("engine %s: hand-off with %d waiters, %d times: p50 %s, p99 %s (target with 16: 5 and 20 ms)\n",
			e.Version, c.waiters, len(times), ms(times[len(times)/2]), ms(times[len(times)*99/100]))
	}
	return nil
}
