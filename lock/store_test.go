package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// store is an Engine in memory whose requests take effect in steps, get lost
// or come late, as those of real daemons do. It runs in a synctest bubble, so
// its delays cost nothing.
type store struct {
	atomic bool // like API 1.44 and later: one entry of a name
	faults faults

	mu       sync.Mutex
	random   *rand.Rand
	entries  []Entry
	watchers map[chan struct{}]string
	woken    int
	asked    int // requests
}

// faults are probabilities, per request.
type faults struct {
	lost  float64 // done, but the reply is an error
	late  float64 // an error now, done up to 2 s later
	slow  float64 // the same, for creates only
	fails float64 // an error, and nothing done
	crash float64 // the client's process ends before or after the request
}

func newStore(atomic bool, f faults, seed uint64) *store {
	return &store{atomic: atomic, faults: f, random: rand.New(rand.NewPCG(seed, 0)), watchers: map[chan struct{}]string{}}
}

var errLost = errors.New("connection reset")

func (s *store) chance(p float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.Float64() < p
}

// requests counts those that were made.
func (s *store) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *store) delay(most time.Duration) {
	s.mu.Lock()
	d := time.Duration(s.random.Int64N(int64(most)))
	s.mu.Unlock()
	time.Sleep(d)
}

// request is the way of one to the store.
func (s *store) request() {
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
	s.delay(latency)
}

const latency = 4 * time.Millisecond

func (s *store) taken(name string) bool {
	return s.atomic && slices.ContainsFunc(s.entries, func(e Entry) bool { return e.Name == name })
}

// insert adds an entry; an old engine has looked for the name before.
func (s *store) insert(id, name string, labels map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken(name) {
		return ErrConflict
	}
	s.entries = append(s.entries, Entry{ID: id, Name: name, Created: time.Now(), Labels: labels})
	for wakes, prefix := range s.watchers {
		if strings.HasPrefix(name, prefix) {
			s.woken++
			select {
			case wakes <- struct{}{}:
			default:
			}
		}
	}
	return nil
}

func (s *store) newID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%016x%016x%016x%016x", s.random.Uint64(), s.random.Uint64(), s.random.Uint64(), s.random.Uint64())
}

func (s *store) Create(_ context.Context, name string, labels map[string]string) (string, error) {
	s.request()
	s.mu.Lock()
	exists := slices.ContainsFunc(s.entries, func(e Entry) bool { return e.Name == name })
	s.mu.Unlock()
	if exists {
		return "", ErrConflict
	}
	s.delay(latency) // between check and insert another may insert
	id := s.newID()
	if s.chance(s.faults.late + s.faults.slow) {
		go func() {
			s.delay(2 * time.Second)
			s.insert(id, name, labels)
		}()
		return "", errLost
	}
	if s.fails() {
		return "", errLost
	}
	if err := s.insert(id, name, labels); err != nil {
		return "", err
	}
	s.delay(latency)
	if s.chance(s.faults.lost) {
		return "", errLost
	}
	return id, nil
}

// fails reports whether a request fails; a test may change how many do while it runs.
func (s *store) fails() bool {
	s.mu.Lock()
	share := s.faults.fails
	s.mu.Unlock()
	return s.chance(share)
}

func (s *store) List(_ context.Context, prefixes ...string) ([]Entry, error) {
	s.request()
	if s.fails() {
		return nil, errLost
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	others := func(e Entry) bool {
		return !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(e.Name, prefix) })
	}
	return slices.DeleteFunc(slices.Clone(s.entries), others), nil
}

func (s *store) drop(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.entries)
	s.entries = slices.DeleteFunc(s.entries, func(e Entry) bool { return e.ID == id })
	if len(s.entries) == n {
		return ErrNotFound
	}
	return nil
}

func (s *store) Remove(_ context.Context, id string) error {
	s.request()
	if s.fails() {
		return errLost
	}
	if s.chance(s.faults.late) {
		go func() {
			s.delay(2 * time.Second)
			s.drop(id)
		}()
		return errLost
	}
	err := s.drop(id)
	if s.chance(s.faults.lost) {
		return errLost
	}
	return err
}

func (s *store) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	wakes := make(chan struct{}, 1)
	s.mu.Lock()
	s.watchers[wakes] = prefix
	s.mu.Unlock()
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, wakes)
	})
	return wakes, nil
}

// wakes counts the watchers that a create woke.
func (s *store) wakes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.woken
}

// named returns the entries of a lock, or of anything with that prefix.
func (s *store) named(prefix string) []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.entries), func(e Entry) bool { return !strings.HasPrefix(e.Name, prefix) })
}

// mortal is a store as a process sees it that may crash at any request. The
// goroutine ends like a killed process: nothing after the request runs.
//
// Without the queue everyone tries at once: exclusion must not depend on it.
type mortal struct {
	*store
	process   *process
	queueless bool
}

// process is what ends at once when it is killed: all its goroutines, and what
// it had of the lock.
type process struct {
	mu      sync.Mutex
	dead    bool
	holding bool
	inside  *inside
	end     func() // takes it out of the process table
}

// die kills the process. It ends the calling goroutine; the others end at their
// next request, or when they would enter or leave the section.
func (p *process) die() {
	p.mu.Lock()
	if !p.dead {
		p.dead = true
		if p.holding {
			p.inside.leave()
		}
		p.end()
	}
	p.mu.Unlock()
	runtime.Goexit()
}

func (p *process) enter() { p.alive(func() { p.holding = true; p.inside.enter() }) }
func (p *process) leave() { p.alive(func() { p.holding = false; p.inside.leave() }) }

// alive does something unless the process has been killed.
func (p *process) alive(do func()) {
	p.mu.Lock()
	dead := p.dead
	if !dead {
		do()
	}
	p.mu.Unlock()
	if dead {
		runtime.Goexit()
	}
}

func (m mortal) fate() {
	if m.chance(m.faults.crash / 2) {
		m.process.die()
	}
	m.process.alive(func() {})
}

func (m mortal) Create(ctx context.Context, name string, labels map[string]string) (string, error) {
	m.fate()
	id, err := m.store.Create(ctx, name, labels)
	m.fate()
	return id, err
}

func (m mortal) List(ctx context.Context, prefixes ...string) ([]Entry, error) {
	m.fate()
	if m.queueless {
		prefixes = slices.DeleteFunc(slices.Clone(prefixes),
			func(prefix string) bool { return strings.HasPrefix(prefix, queuePrefix("build")) })
	}
	entries, err := m.store.List(ctx, prefixes...)
	m.fate()
	return entries, err
}

func (m mortal) Remove(ctx context.Context, id string) error {
	m.fate()
	err := m.store.Remove(ctx, id)
	m.fate()
	return err
}

// machine is a Host whose processes the test starts and ends.
type machine struct {
	place  Place
	booted time.Time

	mu    sync.Mutex
	alive map[int]uint64
	stops map[int]bool
	holds map[string]bool // nonces that a command carries
	works map[string]bool // directories that a process works in
	gone  map[string]bool // directories
	left  []Survivor      // of any job that is over

	sockets map[string]bool // of nonces, which somebody has open

	looks int // whether a process is stopped

	hidden     bool  // processes of others
	unread     bool  // one of others
	unreadable error // of directories
	next       int
}

func newMachine() *machine {
	return &machine{
		place:  Place{Machine: "m", Boot: "b", PIDs: "p", Mounts: "n", Network: "w"},
		booted: time.Now().Add(-time.Hour),
		alive:  map[int]uint64{}, holds: map[string]bool{}, works: map[string]bool{},
		gone:  map[string]bool{},
		stops: map[int]bool{}, sockets: map[string]bool{}, next: 100,
	}
}

func (m *machine) start() Process {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	m.alive[m.next] = uint64(m.next)
	return Process{m.next, uint64(m.next)}
}

func (m *machine) end(p Process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.alive, p.PID)
}

func (m *machine) Start(pid int) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if start, ok := m.alive[pid]; ok {
		return start, nil
	}
	if m.hidden {
		return 0, fs.ErrPermission
	}
	return 0, fs.ErrNotExist
}

func (m *machine) Stopped(pid int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks++
	return m.stops[pid]
}

// stop stops a process as a signal does.
func (m *machine) stop(p Process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stops[p.PID] = true
}

func (m *machine) Find(t Traces) Found {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.holds[t.Nonce] || m.works[t.Dir]:
		return Found{Lives: true, PID: 77}
	case t.Net != "" && m.sockets[t.Nonce]:
		return Found{Lives: true}
	case m.hidden || m.unread:
		return Found{Unread: "process 78 could not be read"}
	}
	return Found{}
}

func (m *machine) Survivors(t Traces) (found []Survivor, unread string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hidden || m.unread {
		unread = "process 78 could not be read"
	}
	if m.works[t.Dir] {
		return []Survivor{{Process: Process{77, 77}, Name: "tar", Busy: true}}, unread
	}
	return m.left, unread
}

// leave changes what is left of a job.
func (m *machine) leave(left ...Survivor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left = left
}

func (m *machine) Gone(dir string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone[dir], m.unreadable
}

func (m *machine) Uptime() time.Duration { return time.Since(m.booted) }

// contender is a with-lock process on that machine.
func (m *machine) contender(engine Engine) *Mutex {
	return (&Space{
		Engine: engine, Host: m,
		Self: Claim{
			Nonce: NewNonce(), Place: m.place, Process: m.start(), Command: true,
			StaleAfter: DefaultStaleAfter, Priority: PriorityNormal,
		},
	}).Lock("build")
}
