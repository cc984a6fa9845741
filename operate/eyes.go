package operate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/docker"
	"hostguard/internal/filestore"
	"hostguard/internal/lockwire"
	"hostguard/internal/pressurewire"
	"hostguard/internal/proc"
	"hostguard/internal/systemd"
	"hostguard/lock"
	"hostguard/observe"
	"hostguard/pressure"
)

// How often the eyes look at what is beside the locks.
const (
	buildsEvery     = 5 * time.Second
	stallEvery      = 10 * time.Second
	containersEvery = 10 * time.Second
	runnersEvery    = 30 * time.Second
	deadEvery       = time.Minute
	waitersEvery    = 5 * time.Second
	// thoroughEvery is how often all processes are searched for those of a holder.
	thoroughEvery = 30 * time.Second
	// gateLife bounds what the gate remembers of containers that are long gone.
	gateLife = 24 * time.Hour
	// costShare bounds the cost of what takes long: the next time is so many times later.
	costShare = 500
)

// maxNames bounds the names of which a plain network counts as a lock, maxSeenText the text
// that is kept of what others write.
const (
	maxNames    = 100
	maxSeenText = 300
)

// eyes look at this host for the observer. They change nothing (see readOnly), but that they
// give back what dead holders of this machine have left in a store that several share.
type eyes struct {
	*cli.Session
	store *lockwire.Store
	start time.Time
	// names are the names of locks that are known. A network that a plain "docker network
	// create" has made is a lock only by its name, as any network of a project has one. So
	// it counts if hostguard's own entries have had that name, now or in the history, or if
	// it is the one that -lock-name gives.
	names []string

	verdicts map[string]*verdict         // by the ID of the entry
	said     map[string]observe.Claimant // what the entries of the last look say, which never changes
	waiters  map[string]*due[bool]       // whether those of the last look are gone, by the ID of the ticket
	waiting  map[string]*due[bool]       // those of this look
	atGate   map[string]bool             // the nonces of those at the pressure gate in the last look
	deaths   chan struct{}               // a holder's process has ended

	gate    *pressure.Gate
	named   *pressurewire.Containers
	made    time.Time // the gate
	builds  due[[]observe.Build]
	load    due[pressure.Reading]
	tasks   due[[]string]
	runners due[[]observe.Runner]
	dead    due[bool]         // of this machine, in a store that several share
	shared  *lockwire.Store   // to give back what they hold; nil
	known   map[string]string // the scope of each runner's unit that was seen
}

var _ observe.Eyes = (*eyes)(nil)

// due is what was seen at some time, and when it is to be looked at again.
type due[T any] struct {
	seen  T
	again time.Time
}

// see looks again if it is time to, and not so often that it costs too much. What could not be
// seen is no longer there.
func (d *due[T]) see(every time.Duration, look func() T) T {
	if now := time.Now(); !now.Before(d.again) {
		d.seen = look()
		d.again = now.Add(max(every, costShare*time.Since(now)))
	}
	return d.seen
}

// verdict is what was found about a holder.
type verdict struct {
	due[lock.Verdict]
	thorough time.Time   // when all processes were last searched
	seen     bool        // in this look
	stop     func()      // watching its process; may be nil
	ended    atomic.Bool // its process has, since the last look
	leaves   atomic.Bool // its process has, of a with-lock, which nobody else gives back
}

// openEyes opens the store to look only.
func openEyes(ctx context.Context, s *cli.Session, o lockwire.Several) (*eyes, error) {
	store, err := lockwire.Open(ctx, s, o.Backend, lockwire.FirstLook)
	if err != nil {
		return nil, err
	}
	if files, ok := store.Engine.(*filestore.Store); ok {
		files.ReadOnly = true
	}
	var shared *lockwire.Store
	if store.Shared { // as a judge of its own, whose word counts only where it sees the holder's mounts
		if shared, err = lockwire.Open(ctx, s, o.Backend, lockwire.FirstLook); err != nil {
			return nil, err
		}
	}
	store.Engine = readOnly{store.Engine}
	// systemd gives a confined service a copy of the host's mounts. What is gone there is
	// gone on the host; a judge whose word counts for more would have to prove it.
	if mounts, err := os.Readlink("/proc/1/ns/mnt"); err == nil && s.Getenv("INVOCATION_ID") != "" {
		store.Self.Place.Mounts = mounts
	}
	return &eyes{Session: s, store: store, start: time.Now(), names: append(slices.Clone(o.Names), observe.Gate),
		verdicts: map[string]*verdict{}, deaths: make(chan struct{}, 1),
		known: map[string]string{}, shared: shared}, nil
}

// sight returns what is in sight and what is out of it, for people.
func (e *eyes) sight(backend string) (in, out []string) {
	const docker, files = "locks in Docker", "locks as files"
	in, out = []string{docker, "task containers"}, []string{files}
	switch backend {
	case lockwire.BackendFile:
		in, out = []string{files}, []string{docker}
	case lockwire.BackendSwarm, lockwire.BackendGitea:
		in, out = []string{"locks of several hosts"}, []string{docker, files}
	}
	in = append(in, "heavy builds", "stall", "runners")
	if proc.Local().InContainer() {
		out = append(out, "processes outside this container")
	} else if os.Geteuid() != 0 {
		out = append(out, "what other users' processes do")
	}
	return in, out
}

// readOnly is a store in which nothing can be changed.
type readOnly struct{ lock.Engine }

var _ lock.Containers = readOnly{}

// Create refuses.
func (readOnly) Create(context.Context, string, map[string]string) (string, error) {
	return "", fmt.Errorf("%w: an observer creates nothing", lock.ErrRefused)
}

// Remove refuses.
func (readOnly) Remove(context.Context, string) error {
	return fmt.Errorf("%w: an observer removes nothing", lock.ErrRefused)
}

// Container implements lock.Containers as far as the store does.
func (r readOnly) Container(ctx context.Context, id, started string) (lock.Life, string) {
	if store, ok := r.Engine.(lock.Containers); ok {
		return store.Container(ctx, id, started)
	}
	return lock.Unknown, "its container is out of sight"
}

// learn adds a lock's name to those that are known.
func (e *eyes) learn(name string) {
	if name != "" && !slices.Contains(e.names, name) && len(e.names) < maxNames && lock.CheckName(name) == nil {
		e.names = append(e.names, name)
	}
}

// Watch implements observe.Eyes by all events of the store, and by the ends of holders'
// processes: a look must come before the next job takes the lock over, or nobody knows why it
// was free.
func (e *eyes) Watch(ctx context.Context) (<-chan bool, error) {
	created, err := e.store.Engine.Watch(ctx, "")
	if err != nil {
		return nil, err
	}
	wakes := make(chan bool)
	go func() {
		defer close(wakes)
		for {
			urgent := false
			select {
			case _, open := <-created:
				if !open {
					return
				}
			case <-e.deaths:
				urgent = true
			}
			select {
			case wakes <- urgent:
			case <-ctx.Done():
				return
			}
		}
	}()
	return wakes, nil
}

// watchProcess has the end of the process on which a holder depends wake the observer.
func (e *eyes) watchProcess(entry lock.Entry, v *verdict) {
	c, _ := entry.Claim()
	p, here := c.Runner, e.store.Self.Place
	if c.Command {
		p = c.Process
	}
	if p.PID == 0 || c.Place.PIDs != here.PIDs || c.Place.Boot != here.Boot || len(e.verdicts) > maxNames {
		return
	}
	stop, err := proc.Local().Ended(p, func() {
		v.ended.Store(true)
		v.leaves.Store(c.Command)
		select {
		case e.deaths <- struct{}{}:
		default:
		}
	})
	if err == nil { // else the next look shows it all the same
		v.stop = stop
	}
}

// Look implements observe.Eyes.
func (e *eyes) Look(ctx context.Context) (observe.Look, error) {
	now := time.Now()
	l := observe.Look{At: now, Uptime: now.Sub(e.start)}
	surveys, err := e.store.Glance(ctx, e.names)
	if err != nil {
		return l, err
	}
	e.waiting = map[string]*due[bool]{}
	said, atGate := map[string]observe.Claimant{}, map[string]bool{}
	for _, v := range e.verdicts {
		v.seen = false
	}
	for _, survey := range surveys {
		if len(survey.Holders)+len(survey.Waiters) == 0 {
			continue
		}
		e.learn(survey.Name)
		seen := e.lock(ctx, survey)
		l.Locks = append(l.Locks, seen)
		for _, c := range slices.Concat(seen.Holders, seen.Waiters) {
			said[c.ID] = c
			if survey.Name == observe.Gate {
				atGate[c.Nonce] = true
			}
		}
	}
	for id, v := range e.verdicts {
		if v.seen {
			continue
		}
		if v.stop != nil {
			v.stop()
		}
		delete(e.verdicts, id)
	}
	slices.SortFunc(l.Locks, func(a, b observe.Lock) int { return cmp.Compare(a.Name, b.Name) })
	// A build explains the wait that begins, and whether there still is one shows how a wait
	// has ended.
	if !maps.Equal(e.atGate, atGate) {
		e.builds.again = time.Time{}
	}
	e.atGate = atGate
	e.said, e.waiters = said, e.waiting
	l.Builds = e.builds.see(buildsEvery, func() []observe.Build { return e.lookForBuilds(ctx) })
	load := e.load.see(stallEvery, func() pressure.Reading { return proc.Local().Load() })
	l.Stall, l.Load = stallOf(load), load.Load1
	l.MemoryAvailable, l.MemoryTotal = load.Available, load.Installed
	l.Containers = e.tasks.see(containersEvery, func() []string { return e.lookForTasks(ctx) })
	l.Runners = e.runners.see(runnersEvery, func() []observe.Runner { return e.lookForRunners(ctx) })
	e.dead.see(deadEvery, func() bool {
		if e.shared != nil {
			e.shared.GiveBackDead(ctx, e.Session)
		}
		return true
	})
	return l, nil
}

func (e *eyes) lock(ctx context.Context, survey lock.Survey) observe.Lock {
	seen := observe.Lock{Name: survey.Name}
	for _, h := range survey.Holders {
		c := e.claimant(h.Entry)
		v := e.judge(ctx, h.Entry)
		c.Evidence, c.Gone = text(v.Evidence), v.Life == lock.Dead || v.Life == lock.Stale
		c.Leaves = e.verdicts[h.Entry.ID].leaves.Load()
		seen.Holders = append(seen.Holders, c)
	}
	for _, w := range survey.Waiters {
		if !e.abandoned(w) {
			seen.Waiters = append(seen.Waiters, e.claimant(w))
		}
	}
	return seen
}

// abandoned reports whether a waiter is gone, which is looked up now and then: of its end
// nothing depends on the moment.
func (e *eyes) abandoned(w lock.Entry) bool {
	d := e.waiters[w.ID]
	if d == nil {
		d = &due[bool]{}
	}
	e.waiting[w.ID] = d
	return d.seen || d.see(waitersEvery, func() bool { return e.store.Abandoned(w) })
}

// judge returns the verdict about a holder: what is cheap to look up with each look, and all
// of it now and then. Death is final.
func (e *eyes) judge(ctx context.Context, entry lock.Entry) lock.Verdict {
	v := e.verdicts[entry.ID]
	if v == nil {
		v = &verdict{}
		e.watchProcess(entry, v)
		e.verdicts[entry.ID] = v
	}
	v.seen = true
	if v.due.seen.Life == lock.Dead {
		return v.due.seen
	}
	if v.ended.Swap(false) {
		v.again = time.Time{}
	}
	v.see(0, func() lock.Verdict {
		thorough := time.Since(v.thorough) > thoroughEvery
		found := e.store.Judge(ctx, entry, thorough)
		if thorough {
			v.thorough = time.Now()
		} else if found.Life == lock.Unknown && v.due.seen.Life != lock.Stale {
			return v.due.seen // of the thorough look
		}
		return found
	})
	return v.due.seen
}

func (e *eyes) claimant(entry lock.Entry) observe.Claimant {
	if c, known := e.said[entry.ID]; known {
		return c
	}
	c, ours := entry.Claim()
	timeout, _ := time.ParseDuration(entry.Labels["hostguard.timeout"]) // of a ticket
	if entry.Name == observe.Gate {
		timeout = c.StaleAfter
	}
	if c.Alone { // at the gate, whose turn lasts a minute longer: see steps/turn.go
		timeout -= time.Minute
	}
	return observe.Claimant{ID: entry.ID, Nonce: text(c.Nonce), Created: entry.Created, Who: e.who(c, ours),
		What: text(c.Reason), Plain: !ours, Limit: timeout}
}

// who returns who made an entry. A waiter's says less than a holder's.
func (e *eyes) who(c lock.Claim, ours bool) history.Who {
	if !ours {
		return history.Who{}
	}
	w := lockwire.WhoIs(c)
	for _, field := range []*string{&w.Repository, &w.Workflow, &w.Job, &w.Run, &w.RunURL, &w.Actor} {
		*field = text(*field)
	}
	return w
}

// lookForBuilds asks the gate which heavy builds run. It is nobody's job, so all count.
func (e *eyes) lookForBuilds(ctx context.Context) (builds []observe.Build) {
	if time.Since(e.made) > gateLife {
		e.gate, e.named = pressurewire.New(e.Getenv, pressure.Known())
		e.made = time.Now()
	}
	v, err := e.gate.Look(ctx)
	if err != nil {
		return nil
	}
	e.named.Name(ctx, v)
	for _, b := range v.Blockers[:min(len(v.Blockers), pressure.MostDescribed)] {
		where := b.Dir
		if b.Container != "" {
			where = "container " + b.Container
		}
		builds = append(builds, observe.Build{PID: b.PID, Name: text(b.Tool), Where: text(where), Since: b.Since,
			Who: history.Who{Repository: text(b.Job.Repository), Workflow: text(b.Job.Workflow), Job: text(b.Job.Job),
				Run: text(b.Job.RunNumber)}})
	}
	return builds
}

func stallOf(now pressure.Reading) history.Stall {
	percent := func(s pressure.Stall) int {
		if !s.Known {
			return -1
		}
		return int(s.Avg10 + 0.5)
	}
	return history.Stall{Time: now.At, Memory: percent(now.Memory), IO: percent(now.IO), CPU: percent(now.CPU)}
}

// engine returns the Docker daemon that keeps the locks, nil if none does.
func (e *eyes) engine() *docker.Engine {
	engine, _ := e.store.Engine.(readOnly).Engine.(*docker.Engine)
	return engine
}

func (e *eyes) lookForTasks(ctx context.Context) []string {
	if e.engine() == nil {
		return nil
	}
	tasks, err := e.engine().Tasks(ctx)
	if err != nil {
		return e.tasks.seen // the daemon is busy; a look at the locks shows whether it is away
	}
	for i := range tasks {
		tasks[i] = text(tasks[i])
	}
	return tasks
}

// lookForRunners returns the state of the services and containers that take jobs here. A unit
// that has ended is known by having been seen before.
func (e *eyes) lookForRunners(ctx context.Context) (all []observe.Runner) {
	daemons, _, _ := proc.Local().Runners()
	for _, d := range daemons {
		switch {
		case d.Unit == "":
			all = append(all, observe.Runner{Name: text(filepath.Base(d.Dir)), State: observe.Up})
		case len(e.known) >= maxNames && e.known[d.Unit] == "":
		case d.Manager < 0:
			e.known[d.Unit] = systemd.System
		case d.Manager == os.Getuid():
			e.known[d.Unit] = systemd.User
		default:
			all = append(all, observe.Runner{Name: text(d.Unit), State: observe.Up})
		}
	}
	for _, scope := range []string{systemd.System, systemd.User} {
		var names []string
		for name, of := range e.known {
			if of == scope {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			continue
		}
		states, err := systemd.States(ctx, scope, e.Getenv, names)
		for _, name := range names {
			if err == nil { // else it is not known
				all = append(all, observe.Runner{Name: text(name), State: unitState(states[name])})
			}
		}
	}
	if e.engine() != nil {
		containers, _, _ := e.engine().Runners(ctx)
		for _, c := range containers {
			state := observe.Stopped
			switch {
			case c.Running:
				state = observe.Up
			case c.Restart == "no": // as runner drain leaves it
				state = observe.Drained
			}
			all = append(all, observe.Runner{Name: text(c.Name), State: state})
		}
	}
	slices.SortFunc(all, func(a, b observe.Runner) int { return strings.Compare(a.Name, b.Name) })
	return slices.Compact(all)
}

func unitState(active string) string {
	switch active {
	case "active", "reloading":
		return observe.Up
	case "deactivating":
		return observe.Draining
	}
	return observe.Stopped
}

// text returns what others have written in bounds; whoever prints it escapes it.
func text(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxSeenText)], "")
}
