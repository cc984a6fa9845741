// Package observe makes a history of what is seen of a host's locks, and serves it.
//
// It is given looks, which are plain values, and returns intervals: who held, who waited,
// which heavy builds ran. It has no way to the store, and so can change nothing there. An
// observer that is killed, absent or late changes no verdict about any lock.
package observe

import (
	"time"

	"hostguard/history"
)

// Look is what was seen of the host at one moment.
type Look struct {
	At     time.Time     // by the host's clock, which may step
	Uptime time.Duration // by a clock that nobody sets

	Locks      []Lock // those that are held or waited for
	Builds     []Build
	Containers []string // the names of those that run a task
	Runners    []Runner
	Stall      history.Stall

	MemoryAvailable, MemoryTotal int64 // bytes; 0 is unknown
	Load                         float64
}

// Lock is one lock, with its queue.
type Lock struct {
	Name    string
	Holders []Claimant // more than one only for a moment, while they find out who holds
	Waiters []Claimant // in the order of the queue
}

// Claimant is an entry of a holder or of a waiter.
type Claimant struct {
	ID      string // of the entry, which never returns
	Nonce   string // of the process, which its tickets and its locks have in common
	Created time.Time
	Who     history.Who
	What    string // why it holds or waits

	// Of a holder:
	Evidence string // why it counts as alive, or as gone
	Gone     bool   // the next contender takes the lock over
	Leaves   bool   // it does once the command ends that the holder has left behind
	Plain    bool   // made by a plain "docker network create"

	// Limit is how long a waiter waits at most; 0 is unknown.
	Limit time.Duration
}

// Build is a heavy build.
type Build struct {
	PID   int
	Name  string // such as "next build"
	Where string // a container or a directory
	Since time.Time
	Who   history.Who
}

// Runner is a service or a container that takes jobs.
type Runner struct {
	Name  string
	State string // one of the states below
}

// The states of a runner.
const (
	Up       = "up"
	Draining = "draining" // it is asked to stop, and its jobs end first
	Drained  = "drained"  // it was retired
	Stopped  = "stopped"
)

// Gate is the name of the lock with which the jobs at the pressure gate take turns: its
// holder and its waiters wait for pressure to end, and not for a lock.
const Gate = "hostguard-wait-pressure"
