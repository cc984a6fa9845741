package lock

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What a user or a job can do that may write in the store and ring, and wants nobody
// to get the lock.

// forge puts n tickets before all others.
func forge(s *store, host *machine, n int, change func(i int, c *Claim)) {
	for i := range n {
		c := Claim{Nonce: NewNonce(), Place: host.place, Uptime: host.Uptime(), Process: Process{1, 1}}
		c.Priority = PriorityHigh
		change(i, &c)
		s.insert(s.newID(), ticketName("build", c.Nonce), with(c.labels(kindTicket), "number", fmt.Sprint(-i)))
	}
}

func TestForgedTicketsKeepNobodyFromAFreeLock(t *testing.T) {
	var on *waiters
	for name, forgery := range map[string]struct {
		change  func(i int, c *Claim)
		within  time.Duration
		renewed bool
	}{
		"of processes that wait for nothing": {func(int, *Claim) {}, 5 * time.Second, false},
		"of another machine": {func(i int, c *Claim) { c.Place.Boot, c.Place.Machine = fmt.Sprint(i), "" },
			5 * time.Second, false},
		"of another network": {func(i int, c *Claim) { c.Place.Network = fmt.Sprint(i) }, 5 * time.Second, false},
		"of containers that nobody knows": {func(i int, c *Claim) {
			c.Container, c.Place.PIDs = strings.Repeat("0", 64), fmt.Sprint(i)
		}, 5 * time.Second, false},
		// As if so many waited in this queue.
		"of a process that is heard": {func(_ int, c *Claim) {
			_, _ = on.bell.Hear(context.Background(), queuePrefix("build"), c.Nonce)
		}, longestRest + 4*time.Second, false},
		// They live, and nothing shows that they will not act.
		"of processes that are heard": {func(i int, c *Claim) {
			c.Process = on.host.start()
			_, _ = on.bell.Hear(context.Background(), queuePrefix("build"), c.Nonce)
		}, longestRest + 4*time.Second, false},
		"made again and again": {func(i int, c *Claim) { c.Place.PIDs = fmt.Sprint(i) }, 5 * time.Second, true},
	} {
		for _, held := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, held %v", name, held), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWaiters(t)
					on = w
					w.host.alive[1] = 1
					forge(w.store, w.host, 300, forgery.change)
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
					defer cancel()
					if forgery.renewed {
						w.group.Go(func() {
							for ; ctx.Err() == nil; time.Sleep(500 * time.Millisecond) {
								forge(w.store, w.host, 1, forgery.change)
							}
						})
					}
					begin := time.Now()
					m := w.process()
					if held {
						holder := w.host.contender(w.store)
						h := holder.space.Self
						id := w.store.newID()
						w.store.insert(id, "build", holder.space.fresh(h).labels(kindLock))
						w.group.Go(func() {
							time.Sleep(40 * time.Second)
							_ = holder.Release(context.Background(), id)
						})
						begin = begin.Add(40 * time.Second)
					}
					if _, err := m.Acquire(ctx); err != nil {
						t.Fatal(err)
					}
					if took := time.Since(begin); took > forgery.within {
						t.Errorf("a lock that was free was got after %s, want %s", took, forgery.within)
					}
					m.Finish()
					cancel()
					w.group.Wait()
				})
			})
		}
	}
}

// The bell of every waiter can be rung by everyone, and its marker be made.
func TestARingCostsAtMostOneLookASecond(t *testing.T) {
	requests := func(t *testing.T, ring bool) (n int) {
		synctest.Test(t, func(t *testing.T) {
			w := newWaiters(t)
			first := w.process()
			held, err := first.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all := w.join(1, nil)
			before := w.store.requests()
			for range 6000 {
				if ring {
					w.bell.Ring(all[0].space.Self.Nonce, Successors{})
				}
				time.Sleep(10 * time.Millisecond)
			}
			n = w.store.requests() - before
			begin := time.Now()
			if err := first.Release(t.Context(), held.ID); err != nil {
				t.Fatal(err)
			}
			if took := w.next().at.Sub(begin); took > 3*time.Second {
				t.Errorf("the hand-off took %s", took)
			}
			w.group.Wait()
		})
		return n
	}
	quiet, rung := requests(t, false), requests(t, true)
	t.Logf("in a minute %d requests, with endless rings %d", quiet, rung)
	if rung > quiet+60+20 {
		t.Errorf("in a minute of endless rings %d requests, want at most one a second more than %d", rung, quiet)
	}
}

// Who takes a waiter's ticket away does not make it take the next one at once, for ever.
func TestATicketThatIsTakenAwayAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(t)
		first := w.process()
		held, err := first.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.join(1, nil)
		before := w.store.requests()
		for range 6000 {
			for _, e := range w.store.named(queueNames) {
				w.store.drop(e.ID)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := w.store.requests() - before; n > 20*60 {
			t.Errorf("%d requests in a minute", n)
		}
		if err := first.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		w.next()
		w.group.Wait()
	})
}

// Who claims the highest number of all does not put everyone after it out of order.
func TestTheHighestNumberOfATicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		host := newMachine()
		for _, number := range []string{"9223372036854775807", "-9223372036854775808", "99999999999999999999", "x"} {
			c := Claim{Nonce: NewNonce(), Place: host.place, Uptime: host.Uptime()}
			s.insert(s.newID(), ticketName("build", c.Nonce), with(c.labels(kindTicket), "number", number))
		}
		a := &acquisition{contender: contender{Mutex: host.contender(s), unknown: map[string]bool{}}}
		if err := a.takeTicket(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, ticket := range a.tickets(s.named(queueNames)) {
			if ticket.number < 1 || ticket.number > maxNumber {
				t.Errorf("a ticket has number %d", ticket.number)
			}
		}
	})
}
