package lock

import (
	"context"
	"time"
)

// How often waiters look in a store of several machines, which wakes nobody on another one. A
// request costs Gitea 10 ms of processor time whatever it asks for, and a list of 100 entries 20 ms.
const (
	// The first looks the more seldom the longer the lock has been held: a hand-off may come late
	// by a small share of that time, and by no more than slowestPace.
	paceShare   = 60
	slowestPace = 5 * poll
	// examineEvery is how often it lists all, and judges the holder, while the entry is there.
	// Those behind leave that to it, as long as they can.
	examineEvery  = 15 * time.Second
	examineBehind = 2 * time.Minute
	// farBehind is the position from which waiters look equally seldom: together each two
	// seconds where none sees another, and at least as often as the last one may.
	farBehind   = 25
	togetherFar = 2 * poll
	lastPace    = 10 * time.Minute
	// shortHold is the shortest hold to reckon with: the clocks of machines differ.
	shortHold = poll / 2
)

// Presence is an Engine that knows for less than a list whether an entry is there.
type Presence interface {
	// Present reports whether the entry with this ID is there. Only true is relied on, and for no
	// more than to rest a little longer.
	Present(ctx context.Context, id string) (bool, error)
}

// heldFor returns how long the last of the holders has held the lock.
func (a *acquisition) heldFor(holders []Judged) time.Duration {
	held := lastPace
	for _, j := range holders {
		held = min(held, a.space.age(j.Entry))
	}
	return held
}

// pace returns how long the first in the queue rests between two looks.
func (a *acquisition) pace(held time.Duration) time.Duration {
	if !a.space.Shared {
		return poll
	}
	return min(max(held/paceShare, poll), slowestPace)
}

// among returns a rest among the waiters of several machines: with the square of the position
// the longer. Where a lock goes from hand to hand, the turn may come sooner than that.
func (a *acquisition) among(held, longest time.Duration) time.Duration {
	n := time.Duration(min(a.position, farBehind))
	soon := time.Duration(min(a.position, 1<<20)) * max(held, shortHold)
	return max(min(n*n*poll, longest, soon), a.pace(held))
}

// far returns the longest rest of one that sees nobody ahead.
func (a *acquisition) far() time.Duration {
	return min(time.Duration(a.waiters)*togetherFar, lastPace)
}

// stillHeld reports whether this process need not list what is there, since the one holder's
// entry is. All else that a list would show may wait for some time.
func (a *acquisition) stillHeld(ctx context.Context, holders []Judged, listed time.Time) bool {
	bound := examineEvery
	if len(a.ahead) > 0 {
		bound = examineBehind
	}
	if !a.space.Shared || len(holders) != 1 || time.Since(listed) >= bound {
		return false
	}
	present, err := a.space.store().Present(ctx, holders[0].ID)
	return present && err == nil
}
