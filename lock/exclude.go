package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// All that mutual exclusion rests on, from the first look to the way out. At most one contender
// holds a lock, because of these rules. (lock/model checks them; T1 and the like are its traces.)
//
//  1. A contender holds only once a list has shown its own entry and no other of that name, and
//     that entry was in the store before the list began. (Nor one in another place of the lock
//     whose maker disagrees about how many may hold it: see places.go.)
//  2. What has been listed once is in every later list until it is removed. So of two contenders
//     the one whose list began last would have seen the other's entry.
//  3. No entry is removed but one's own, one of a maker who is proven dead, and one that is stale;
//     and by its ID, which never returns. A name may be another's when the request arrives.
//  4. A request that failed may still take effect, later too. So an entry whose removal was tried
//     is never relied on, and a create that failed is looked for until nothing is left of it.
//
// And always one can come to hold: nobody waits for an entry of its own, and of rivals all but the
// lowest ID yield. The order of IDs decides who yields, never who holds.

// contender is the part of an acquire that exclusion rests on. It knows nothing of the queue.
type contender struct {
	*Mutex
	ids      []string        // of all entries, tickets too, that it created or found to be its own
	unknown  map[string]bool // nonces of creates whose fate is unknown
	fence    uint64          // of the entry that was verified last
	tookOver []Judged
	verified []Entry // the list by which it holds
}

// look lists the entries in all places of the lock. An error is no answer: nothing follows from it.
func (c *contender) look(ctx context.Context) ([]Entry, error) {
	return c.list(ctx)
}

// removeOwn removes what this process left before: by a removal that failed, or by a create that took
// effect after its error. It is never adopted: a removal that was tried may still take effect (T3).
func (c *contender) removeOwn(ctx context.Context, seen []Entry) (found bool) {
	for _, e := range seen {
		if e.madeBy(c.space.Self) {
			found = true
			delete(c.unknown, e.label("create"))
			if !c.remove(ctx, e.ID) {
				c.ids = append(c.ids, e.ID) // for withdraw, if the time ends now
				pause(ctx, 10*shortPause)
			}
		}
	}
	return found
}

// takeOver removes the entry of a dead or stale holder. Any number of contenders may do so at once:
// it is by ID, so that who comes second gets ErrNotFound, and no entry that came after is hit (T7).
func (c *contender) takeOver(ctx context.Context, j Judged) {
	err := c.space.store().Remove(ctx, j.ID)
	switch {
	case err == nil:
		c.tookOver = append(c.tookOver, j)
		if c.OnTakeover != nil {
			c.OnTakeover(j)
		}
	case !errors.Is(err, ErrNotFound):
		c.unreachable(ctx, err)
	}
}

// try announces this process in a slot and verifies. It returns the ID of the entry by which this
// process holds that slot, or "" when it has to look again.
func (c *contender) try(ctx context.Context, slot string) (id string, err error) {
	mine, err := c.announce(ctx, slot)
	if err != nil || mine == "" {
		return "", err
	}
	if !c.settle(ctx, slot) || !c.verify(ctx, mine, slot) {
		c.remove(ctx, mine)
		pause(ctx, shortPause+rand.N(10*shortPause)) // two that yield to each other must not meet again
		return "", nil
	}
	return mine, nil
}

// announce creates this process's entry in a place and returns its ID, or "" while nothing shows that
// there is one. What a list shows of a create whose reply was lost can be relied on: nothing has tried to remove
// it. But it takes another list, verify's, to hold: this one may have begun before it was there (T5).
func (c *contender) announce(ctx context.Context, place string) (mine string, err error) {
	claim := c.claim(c.space.Self)
	mine, err = c.create(ctx, place, c.labels(claim, place), claim.Create)
	if !c.unknown[claim.Create] {
		return mine, err
	}
	seen, listErr := c.look(ctx)
	if listErr != nil {
		return "", err
	}
	for _, e := range seen {
		if e.label("create") == claim.Create {
			delete(c.unknown, claim.Create)
			c.ids = append(c.ids, e.ID)
			return e.ID, nil
		}
	}
	pause(ctx, poll/2+rand.N(poll/2)) // if it takes effect now, removeOwn finds it
	return "", nil
}

// create adds an entry. The request outlives ctx for a moment: a create whose client went away takes
// effect all the same (20 of 20 on Engine 20.10 and 26.1), so its reply is worth waiting for.
func (c *contender) create(ctx context.Context, name string, labels map[string]string, nonce string) (string, error) {
	outlive, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(2*time.Second, cancel) })
	defer stop()
	id, err := c.space.store().Create(outlive, name, labels)
	switch {
	case err == nil:
		c.ids = append(c.ids, id)
	case !errors.Is(err, ErrConflict) && !errors.Is(err, ErrRefused):
		c.unknown[nonce] = true
		c.uncertain = true
	}
	return id, err
}

// settle returns false when a plain "docker network create NAME" slipped in before this process's
// entry was listed, as engines below API 1.44 allow: that rival does not know how to yield (T9).
func (c *contender) settle(ctx context.Context, slot string) bool {
	if slot != c.name { // no other slot has a name that others create
		return true
	}
	for end := time.Now().Add(c.Settle); time.Now().Before(end); {
		pause(ctx, min(5*shortPause, time.Until(end)))
		seen, err := c.look(ctx)
		if ctx.Err() != nil || err == nil && slices.ContainsFunc(named(seen, slot), Entry.plain) {
			return false
		}
	}
	return true
}

// verify returns true when a list shows this process's entry and no rival's, which is the only way to
// hold a slot (T1): whoever comes later verifies too, and sees this entry. The lowest ID waits for
// the others to yield, and does not hold for being lowest, for a lower one may come (T2).
func (c *contender) verify(ctx context.Context, mine, slot string) bool {
	var rivals []Entry
	end := time.Now().Add(c.yieldTime())
	for ctx.Err() == nil && time.Now().Before(end) {
		seen, err := c.look(ctx)
		if err != nil {
			pause(ctx, 10*shortPause)
			continue
		}
		i := slices.IndexFunc(seen, func(e Entry) bool { return e.ID == mine })
		if i < 0 {
			return false // somebody took it away
		}
		c.fence = seen[i].Fence
		others := c.rivals(slices.Delete(slices.Clone(seen), i, i+1), slot)
		if len(others) == 0 {
			c.verified = seen
			return true
		}
		if !slices.EqualFunc(others, rivals, func(x, y Entry) bool { return x.ID == y.ID }) {
			rivals, end = others, time.Now().Add(c.yieldTime()) // new ones get time as well
		}
		for _, e := range others {
			if e.madeBy(c.space.Self) {
				c.remove(ctx, e.ID)
			} else if v := c.space.judge(ctx, e, false); v.Life == Dead {
				c.takeOver(ctx, Judged{e, v})
			} else if e.plain() || e.ID < mine {
				return false
			}
		}
		pause(ctx, shortPause)
	}
	return false
}

// remove removes an entry of this process and reports whether it is gone. It does not end with ctx: a
// cancelled job must still release.
func (c *contender) remove(ctx context.Context, id string) bool {
	err := c.space.store().Remove(context.WithoutCancel(ctx), id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false
	}
	c.ids = slices.DeleteFunc(c.ids, func(own string) bool { return own == id })
	return true
}

// withdraw removes all that this process has left in the store, without the lock: what it knows by ID
// until that is gone, and for a few seconds what may still take effect (L5). That may take longer than
// the caller wanted to wait, and is reported.
func (c *contender) withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, withdrawTime)
	defer cancel()
	until := time.Now()
	if len(c.unknown) > 0 {
		until = until.Add(lateCreateWindow)
	}
	for ; ; pause(ctx, 10*shortPause) {
		var failed error
		c.ids = slices.DeleteFunc(c.ids, func(id string) bool {
			err := c.space.store().Remove(ctx, id)
			if err != nil && !errors.Is(err, ErrNotFound) {
				failed = err
				return false
			}
			return true
		})
		if len(c.unknown) > 0 {
			entries, err := c.space.store().List(ctx, "")
			failed = errors.Join(failed, err)
			for _, e := range entries {
				if e.madeBy(c.space.Self) && !slices.Contains(c.ids, e.ID) {
					c.ids = append(c.ids, e.ID)
				}
			}
		}
		if len(c.ids) == 0 && failed == nil && !time.Now().Before(until) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("could not remove the entries of this attempt to get lock %q (%v); "+
				"they block the lock until they count as orphan or stale", c.name, errors.Join(failed, ctx.Err()))
		}
		c.notify(Wait{Leaving: true, Err: failed})
	}
}
