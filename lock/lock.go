// Package lock is a named mutex for all jobs of one host, kept in a store that
// every one of them can see: the Docker daemon, or a directory.
//
// The store is not trusted to refuse a second entry of the same name: below
// Docker Engine 25 (API 1.44) several concurrent creates may succeed. So a
// contender announces itself with an entry, then verifies by a list that its
// entry is the only one. Entries cannot be changed, hence there are no
// heartbeats: whether a holder lives is looked up in the host's processes.
//
// Guaranteed, on every Engine: at most one contender holds a lock, or as many as it has
// slots, or a writer or any number of readers (places.go, share.go), whatever
// requests are lost, answered late or take effect late, and whoever crashes (the
// reasons are in exclude.go); entries are removed by their full ID only; a process
// that gives up removes its entries, or reports that it could not. A crashed
// holder's lock is taken over only on proof that it is gone, or by age.
//
// A holder has the lock and a waiter asks for it; both are contenders. An entry is
// what is in the store, and its claim is its description of its maker. A waiter's
// entry is its ticket, which has a position in the lock's queue.
//
// Not guaranteed: exclusion after a takeover by age from a holder that lives;
// after a plain "docker network rm NAME" by others; below API 1.44 against a
// plain "docker network create NAME" that takes longer than Settle; when the
// evidence that a host gives is wrong. A lost lock is reported, and what its holder
// does after the loss is not undone: where the store has a Fence, whatever the holder
// writes to can refuse an older one. The queue decides who tries first, never who holds.
package lock

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hostguard/internal/hexid"
)

// Entry is one thing in the store. It never changes and its ID never returns.
type Entry struct {
	ID      string // 64 hex digits
	Name    string
	Created time.Time // by the store's clock, which may step
	Labels  map[string]string
	// Fence grows from one holder of a lock to the next, where the store has such a
	// number; 0 where it has none.
	Fence uint64
}

// Engine is a store of entries.
//
// Create may add an entry although another of that name exists, and may take
// effect although it returned an error, even later. But an entry whose Create has
// returned, or which one List has shown, is in every later List, of every client,
// until it is removed.
type Engine interface {
	// Create returns the new entry's ID. ErrConflict and ErrRefused promise
	// that nothing was created; after any other error the fate is unknown.
	Create(ctx context.Context, name string, labels map[string]string) (id string, err error)
	// List returns at least all entries whose name begins with one of the prefixes.
	List(ctx context.Context, prefixes ...string) ([]Entry, error)
	// Remove takes away the entry with this ID; ErrNotFound if there is none.
	Remove(ctx context.Context, id string) error
	// Watch delivers a value after the creation of an entry whose name begins
	// with prefix. It may miss some. The channel is closed when the watch ends.
	Watch(ctx context.Context, prefix string) (<-chan struct{}, error)
}

var (
	ErrConflict = errors.New("an entry with that name exists")
	ErrNotFound = errors.New("no such entry")
	ErrRefused  = errors.New("the store refused")

	// ErrTimeout is the cause for callers to give a context's deadline.
	ErrTimeout = errors.New("the lock was not free in time")
	// ErrJobGone is returned when the job that the lock is for has ended.
	ErrJobGone = errors.New("the job that asked for the lock is gone")
)

// DefaultStaleAfter is the age at which a lock without any proof of life may be
// taken over. MaxStaleAfter is the most that a holder can claim.
const (
	DefaultStaleAfter = 2 * time.Hour
	MaxStaleAfter     = 24 * time.Hour
)

// Space is where one process looks for locks: a store, the host that it can see,
// and its own claim. All work on locks goes through it. It must not be copied, and
// serves one Acquire at a time.
type Space struct {
	Engine    Engine
	Host      Host
	Runs      Runs      // nil where no server may be asked
	Server    string    // whose runs Runs knows, as Job.Server has it; "" is that of Self's job
	Bell      Bell      // nil where waiters are woken through the store alone
	Turnstile Turnstile // nil where any number may ask the store at once
	Self      Claim     // this process, as its entries will describe it
	Shared    bool      // by several machines: most waiters are out of sight
	Unwatched bool      // the store wakes nobody: a marker in it would only cost

	rests   map[Traces]*rest // of jobs that are over
	slowest atomic.Int64     // request, in nanoseconds
	slow    func(error)      // reports a request that takes long, during Acquire
}

// Lock returns the lock of that name, as this process sees it.
func (s *Space) Lock(name string) *Mutex {
	return &Mutex{space: s, name: name, places: placesPrefix(name)}
}

// Mutex is one contender's view of one lock. Only Space.Lock makes one; its fields
// may be set before Acquire.
type Mutex struct {
	space  *Space
	name   string
	places string // begins the names of its places, but for slot 0

	// Slots is how many may hold the lock at once, at most MaxSlots; 0 is one. All have to
	// give the same number: see DisagreementError.
	Slots int
	// Share is to hold the lock together with all others who share it, at most MaxReaders.
	// Not with Slots.
	Share bool
	// Settle is how long to look out for a rival that runs a plain "docker
	// network create NAME" before the entry is verified. Needed below API
	// 1.44 only, and a bet there: measured on 20.10, 100 ms was enough in 40
	// of 40 rounds, but a loaded daemon took up to 5.8 s for a burst.
	Settle time.Duration
	// JobGone reports whether the job that the lock is for has ended.
	JobGone func() bool
	// Recorded reports whether this job holds the lock by that entry, according to
	// what its acquire left behind: another step may have taken it.
	Recorded func(Entry) bool
	// OnWait is called after every look that did not end in holding the lock.
	OnWait func(Wait)
	// OnTakeover is called for every entry of another holder that is removed.
	OnTakeover func(Judged)

	uncertain bool           // a create of Acquire has an unknown fate
	timeouts  int            // of Acquire's last requests
	reader    string         // ID of the entry by which this process shares the lock
	queues    []Entry        // in the queues, and whatever else Entries has listed
	listed    time.Time      // when Entries has
	leaving   sync.WaitGroup // the removal of this process's ticket
	place     string         // name of the entry by which Acquire holds
	crowded   bool           // so many wait that Acquire did without what makes it faster
	reading   sync.WaitGroup // lookAhead, which Release awaits beside the removal
	worked    func()         // ends its wait for long work

	successors atomic.Pointer[Successors] // as lookAhead or another process has read them
	rang       *Successors                // those of whom Release has rung the first
}

// Name returns the name of the lock.
func (m *Mutex) Name() string { return m.name }

// Wait is what a contender saw when it could not go on.
type Wait struct {
	Holder   Judged // the entry in the way; zero if only the queue is
	Position int    // in the queue; 1 is next
	Waiters  int
	Leaving  bool  // it removes what it left in the store
	Err      error // the store did not answer
}

// Acquired is a lock that this process holds.
type Acquired struct {
	ID           string   // of the entry, to release it by
	Fence        uint64   // of the entry; 0 of a lock that others may hold too
	Name         string   // of an entry that another may create if this one is taken away
	Slot         int      // from 1; 0 of one that shares the lock
	TookOverFrom []Judged // the dead or stale entries that were in the way
}

// CheckName returns an error if Docker or the file backend cannot keep a lock of
// that name, or if the name could be mistaken for something else.
func CheckName(name string) error {
	switch {
	case len(name) < 2 || len(name) > 128 || strings.Trim(name, letters+"_.-") != "" ||
		!strings.Contains(letters, name[:1]):
		return errors.New("must have 2 to 128 letters, digits, '_', '.' or '-', the first a letter or digit")
	case slices.Contains([]string{"bridge", "host", "none", "default"}, name):
		return errors.New("this name is reserved by Docker; choose another")
	case isQueueName(name):
		return errors.New("hostguard's queue uses names of this form; choose another")
	case hexid.Is(name, 64):
		return errors.New("it looks like an ID to Docker; choose another")
	}
	return nil
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// NewNonce returns 128 random bits.
func NewNonce() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// named returns those of the entries that have exactly this name, in the order of their IDs.
func named(entries []Entry, name string) (of []Entry) {
	for _, e := range entries {
		if e.Name == name {
			of = append(of, e)
		}
	}
	slices.SortFunc(of, func(x, y Entry) int { return strings.Compare(x.ID, y.ID) })
	return of
}
