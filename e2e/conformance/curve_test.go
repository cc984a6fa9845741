package conformance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostguard/e2e/rig/engine"
	"hostguard/internal/docker"
	"hostguard/internal/gitea"
	"hostguard/lock"
)

// What up to 1,000 contenders over 20 hosts cost a store of several machines. They are
// goroutines here, with the real client of a real server: 1,000 processes of two cores would
// show what two cores are.
func TestTheCurveOfManyContenders(t *testing.T) {
	if os.Getenv("HOSTGUARD_SOAK") == "" {
		t.Skip("it takes 20 minutes; TestWaitersOfManyHostsAskSeldom is the small form")
	}
	t.Run("gitea", func(t *testing.T) {
		server, store := startGitea(t)
		env := map[string]string{}
		for _, variable := range store.Env {
			name, value, _ := strings.Cut(variable, "=")
			env[name] = value
		}
		issue, err := gitea.ParseIssue(env["HOSTGUARD_GITEA_ISSUE"])
		if err != nil {
			t.Fatal(err)
		}
		// 1,000 are more than it can serve: see docs/figures.md.
		measureCurve(t, []int{10, 100}, server.PID(), true, func() (lock.Engine, error) {
			return gitea.OpenComments(t.Context(), server.URL, gitea.NewToken(env["HOSTGUARD_GITEA_TOKEN"]), issue)
		})
	})
	t.Run("swarm", func(t *testing.T) {
		store := startSwarm(t, engine.New)
		measureCurve(t, []int{10, 100, 1000}, store.Engine.PID(), false, func() (lock.Engine, error) {
			e, err := docker.Connect(t.Context(), func(name string) string {
				for _, variable := range store.Environ() {
					if value, found := strings.CutPrefix(variable, name+"="); found {
						return value
					}
				}
				return ""
			})
			if err != nil {
				return nil, err
			}
			return e.Configs(t.Context())
		})
	})
}

const (
	simulatedHosts = 20
	settled        = 10 * time.Minute // for which the lock is held, as the waiters see it
)

// crowd is contenders of many hosts for one lock.
type crowd struct {
	t     *testing.T
	hosts []*simulatedHost
	turns chan turn
	group sync.WaitGroup
	stop  context.CancelFunc
}

// turn is the end of one holder's section, and the beginning of the next one's.
type turn struct{ begin, end time.Time }

func measureCurve(t *testing.T, counts []int, pid int, unwatched bool, open func() (lock.Engine, error)) {
	var hosts []*simulatedHost
	for i := range simulatedHosts {
		e, err := open()
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, &simulatedHost{name: fmt.Sprintf("host %d", i), counted: counted{Engine: e},
			heard: map[string]chan lock.Successors{}, unwatched: unwatched})
	}
	for _, n := range counts {
		measure(t, hosts, n, pid)
	}
}

func measure(t *testing.T, hosts []*simulatedHost, n, pid int) {
	ctx, stop := context.WithCancel(t.Context())
	c := &crowd{t: t, hosts: hosts, turns: make(chan turn, n), stop: stop}
	asked := func() (sum int64) {
		for _, h := range hosts {
			sum += h.asked.Load()
		}
		return sum
	}
	lockName := fmt.Sprintf("crowd-%d", n)
	holder := hosts[0].contender(lockName)
	held, err := holder.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	holder.Finish()
	begin, before := time.Now(), asked()
	for i := range n { // at once, 1,000 keep a swarm from answering any within its ten seconds
		time.Sleep(20 * time.Millisecond)
		c.group.Go(func() { c.contend(ctx, hosts[i%len(hosts)].contender(lockName)) })
	}
	for queued := 0; queued < n; time.Sleep(time.Second / 2) {
		if entries, err := hosts[0].Engine.List(ctx, "hg-"); err == nil {
			queued = len(entries)
		}
		if time.Since(begin) > 10*time.Minute {
			t.Fatalf("%d of %d waiters are queued", queued, n)
		}
	}
	t.Logf("%d: all are queued after %.1f s, %.1f requests each", n, time.Since(begin).Seconds(),
		float64(asked()-before)/float64(n))

	rest := 15 * time.Second
	if n > 10 {
		rest = 45 * time.Second
	}
	resting := func(what string) (rate float64) {
		before, spent := asked(), cpuTime(t, pid)
		time.Sleep(rest)
		rate = float64(asked()-before) / rest.Seconds()
		t.Logf("%d, %s: %.2f requests a second, the server takes %.1f %% of a core", n, what, rate,
			100*(cpuTime(t, pid)-spent).Seconds()/rest.Seconds())
		return rate
	}
	time.Sleep(5 * time.Second) // the looks of their arrival
	if n > 10 {
		resting("the lock just taken")
	}
	for _, h := range hosts {
		h.older.Store(int64(settled))
	}
	time.Sleep(16 * time.Second) // until each has seen that
	if rate := resting("the lock held for long"); rate > 2 {
		t.Errorf("%d waiters make %.2f requests a second", n, rate)
	}
	for _, h := range hosts {
		h.older.Store(0)
	}

	handOffs := min(n, 40)
	before, released := asked(), time.Now()
	if err := holder.Release(ctx, held.ID); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for range handOffs {
		next := <-c.turns
		took, released = append(took, next.begin.Sub(released)), next.end
	}
	each := float64(asked()-before) / float64(handOffs)
	slices.Sort(took)
	t.Logf("%d: %d hand-offs, p50 %s, p99 %s, %.1f requests each", n, handOffs,
		took[len(took)/2].Round(time.Millisecond), took[len(took)*99/100].Round(time.Millisecond), each)
	c.stop()
	c.group.Wait()
}

// contend waits, holds for a moment and gives back.
func (c *crowd) contend(ctx context.Context, m *lock.Mutex) {
	held, err := m.Acquire(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		c.t.Error(err)
		return
	case err != nil:
		return
	}
	begin := time.Now()
	time.Sleep(100 * time.Millisecond)
	c.turns <- turn{begin, time.Now()}
	if err := m.Release(ctx, held.ID); err != nil && ctx.Err() == nil {
		c.t.Error(err)
	}
}

// simulatedHost is a machine whose processes all live, with a bell of its own.
type simulatedHost struct {
	counted
	name      string
	unwatched bool

	mu    sync.Mutex
	heard map[string]chan lock.Successors // by nonce
	next  int
	gate  sync.Mutex // its turnstile
	alone sync.Mutex // of those that wait
}

func (h *simulatedHost) contender(name string) *lock.Mutex {
	h.mu.Lock()
	h.next++
	pid := h.next
	h.mu.Unlock()
	return (&lock.Space{
		Engine: &h.counted, Host: h, Bell: h, Turnstile: h, Shared: true, Unwatched: h.unwatched,
		Self: lock.Claim{
			Nonce: lock.NewNonce(), Command: true, StaleAfter: lock.DefaultStaleAfter, Priority: lock.PriorityNormal,
			Place:   lock.Place{Machine: h.name, Boot: h.name, PIDs: "p", Mounts: "m", Network: "n"},
			Process: lock.Process{PID: pid, Start: uint64(pid)},
		},
	}).Lock(name)
}

func (h *simulatedHost) Start(pid int) (uint64, error) { return uint64(pid), nil }
func (h *simulatedHost) Find(lock.Traces) lock.Found   { return lock.Found{} }
func (h *simulatedHost) Stopped(int) bool              { return false }
func (h *simulatedHost) Gone(string) (bool, error)     { return false, fs.ErrPermission }
func (h *simulatedHost) Uptime() time.Duration         { return time.Duration(time.Now().UnixNano()) }
func (h *simulatedHost) Survivors(lock.Traces) (found []lock.Survivor, unread string) {
	return nil, ""
}

func (h *simulatedHost) Enter(context.Context) (leave func()) {
	if h.unwatched { // as with a Gitea
		return func() {}
	}
	h.gate.Lock()
	return h.gate.Unlock
}

func (h *simulatedHost) Shut() (open func()) { return func() {} }

func (h *simulatedHost) TryAlone() (leave func(), passed bool) {
	if h.unwatched {
		return func() {}, true
	}
	if !h.alone.TryLock() {
		return nil, false
	}
	return h.alone.Unlock, true
}

func (h *simulatedHost) Hear(ctx context.Context, _, nonce string) (<-chan lock.Successors, error) {
	rings := make(chan lock.Successors, 1)
	h.mu.Lock()
	h.heard[nonce] = rings
	h.mu.Unlock()
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.heard, nonce)
	})
	return rings, nil
}

func (h *simulatedHost) Ring(nonce string, next lock.Successors) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	rings, found := h.heard[nonce]
	select {
	case rings <- next:
	default:
	}
	return found
}

func (h *simulatedHost) Pass(string, lock.Successors) {}

func (h *simulatedHost) Hears(nonce string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.heard[nonce] != nil
}

func (h *simulatedHost) Await(context.Context, string) (over <-chan struct{}, err error) {
	return nil, errors.ErrUnsupported
}

func (h *simulatedHost) Hearing(string) (here, all int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.heard), len(h.heard)
}

// counted is a store that counts its requests, and shows entries older than they are.
type counted struct {
	lock.Engine
	asked atomic.Int64
	older atomic.Int64 // nanoseconds
}

func (c *counted) Create(ctx context.Context, name string, labels map[string]string) (string, error) {
	c.asked.Add(1)
	return c.Engine.Create(ctx, name, labels)
}

func (c *counted) List(ctx context.Context, prefixes ...string) ([]lock.Entry, error) {
	c.asked.Add(1)
	entries, err := c.Engine.List(ctx, prefixes...)
	for i, e := range entries {
		entries[i].Created = e.Created.Add(-time.Duration(c.older.Load()))
	}
	return entries, err
}

func (c *counted) Remove(ctx context.Context, id string) error {
	c.asked.Add(1)
	return c.Engine.Remove(ctx, id)
}

func (c *counted) Present(ctx context.Context, id string) (bool, error) {
	store, ok := c.Engine.(lock.Presence)
	if !ok {
		return false, errors.ErrUnsupported
	}
	c.asked.Add(1)
	return store.Present(ctx, id)
}
