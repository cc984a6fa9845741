package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/internal/proc"
	"hostguard/lock"
)

// locks are the locks that one command takes, one after the other in the order of
// lockwire.InOrder. It gets all of them or none. Most commands take one.
type locks []*member

// member is one of the locks that a command takes.
type member struct {
	lockwire.Options
	store *lockwire.Store
	m     *lock.Mutex

	held   lock.Acquired // its ID is "" while this job does not hold the lock
	above  bool          // an earlier step of this job took it, or a with-lock above this process, which keeps it
	since  time.Time     // when this process got it
	waited time.Duration
}

// take acquires all locks before the timeout, or gives back what it has got by then. prepare
// completes the claims of the stores before anything is taken; it is not called if this job holds
// all of the locks already.
func (o *acquireOptions) take(
	ctx context.Context, s *cli.Session, prepare func([]*lockwire.Store) error,
) (set locks, err error) {
	waiting, end := o.deadline(ctx)
	defer end()
	set, stores, err := o.open(waiting, s)
	if err == nil {
		err = set.findHeld(waiting, s, o.share)
	}
	if err == nil && slices.ContainsFunc(set, (*member).free) {
		err = prepare(stores)
	}
	if err != nil {
		return nil, err
	}
	for _, l := range set {
		if !l.free() {
			continue
		}
		if taken := set.taken(); len(taken) > 0 {
			taken[len(taken)-1].m.Finish() // no ticket of this process may seem to wait for what it holds
			s.Print("holding lock %q, lock %q is next", taken.names(), l.Lock)
		}
		if err = o.acquire(waiting, s, l); err != nil {
			break
		}
	}
	switch {
	case err != nil:
	case ctx.Err() != nil: // interrupted after the last was acquired
		err = context.Cause(ctx)
	case len(set) > 1: // the first may have waited long for the last
		err = set.checkLost(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, set.giveBack(ctx))
	}
	return set, nil
}

// open opens the store of each lock; it waits a moment for a daemon that cannot be reached. All
// claims of this process have one nonce, by which its command is recognized.
func (o *acquireOptions) open(ctx context.Context, s *cli.Session) (set locks, stores []*lockwire.Store, err error) {
	if o.share && o.slots > 1 {
		return nil, nil, cli.Usagef("share is true and slots is %d: a lock is shared or has slots; set slots to 1, or "+
			"use another lock-name", o.slots)
	}
	all, err := o.In(o.backends)
	if err != nil {
		return nil, nil, err
	}
	if slices.ContainsFunc(all, func(l lockwire.Options) bool { return l.Backend == lockwire.BackendGitea }) {
		if _, err := lockwire.ReadGiteaSettings(s.Getenv); err != nil { // before anything waits for another store
			return nil, nil, err
		}
	}
	for i, options := range all {
		if i == 0 || options.Backend != all[i-1].Backend {
			store, err := lockwire.Open(ctx, s, options.Backend, min(lockwire.FirstLook, o.timeout))
			if err != nil {
				return nil, nil, err
			}
			if stores = append(stores, store); len(stores) > 1 {
				store.Self.Nonce = stores[0].Self.Nonce
			}
		}
		store := stores[len(stores)-1]
		set = append(set, &member{Options: options, store: store, m: store.Lock(options.Lock)})
	}
	return set, stores, nil
}

func (o *acquireOptions) acquire(ctx context.Context, s *cli.Session, l *member) error {
	begin := time.Now()
	held, err := o.hold(ctx, s, l)
	if err != nil {
		return err
	}
	l.held, l.since, l.waited = held, time.Now(), time.Since(begin)
	return nil
}

// findHeld finds those of the locks that an earlier step of this job holds already, or a with-lock
// above this process: a job must not wait for itself. Nor can it hold a lock in the other way: two
// jobs that share it and wait to have it alone would wait for each other. A lock that comes before one that the job
// holds is refused to several, which promise never to wait in a circle, and worth a warning to one.
func (set locks) findHeld(ctx context.Context, s *cli.Session, share bool) error {
	own := holdings{above: strings.Split(s.Getenv(proc.HoldVariable), ",")}
	for _, text := range readRecords(s) {
		if record, ok := lock.ParseRecord(text); ok {
			own.records = append(own.records, record)
		}
	}
	if len(own.records) == 0 && own.above[0] == "" {
		return nil
	}
	for _, l := range set {
		entries, err := l.m.Entries(ctx)
		i := slices.IndexFunc(entries, own.has)
		if err != nil || i < 0 { // acquire reports the error
			continue
		}
		e := entries[i]
		if c, _ := e.Claim(); c.Share != share {
			return cli.Usagef("this job or a with-lock above holds lock %q (id %.12s) with share %t, and it cannot "+
				"change to share %t; give it back first, or give the same share to both", l.Lock, e.ID, c.Share, share)
		}
		l.held, l.above = lock.Acquired{ID: e.ID, Fence: e.FenceOf(), Name: e.Name}, true
	}
	for i, l := range set {
		if !l.free() {
			continue
		}
		elsewhere := func(other *member) bool { return other.above && other.Backend != l.Backend }
		if j := slices.IndexFunc(set[i:], elsewhere); j >= 0 { // own.after sees the store of l only
			later := set[i+j]
			return cli.Usagef("this job holds lock %q of %s, so it must not wait for %q of %s, which is taken before "+
				"it, or two jobs can wait for each other; take both in one step", later.Lock, later.Backend, l.Lock,
				l.Backend)
		}
		later, found := own.after(ctx, l)
		switch {
		case !found:
		case len(set) > 1:
			return cli.Usagef("this job holds lock %q, so it must not wait for %q: several locks are taken by name, "+
				"or two jobs can wait for each other; take these in one step: lock-name: %s", later, l.Lock,
				strings.Join(slices.Sorted(slices.Values([]string{l.Lock, later})), ", "))
		default:
			s.Warning("this job holds lock %q and now takes %q: it and a job that takes them in the other order can "+
				"wait for each other; take both in one step: lock-name: %s, %s", later, l.Lock, l.Lock, later)
		}
	}
	return nil
}

// holdings are the marks of what a job holds.
type holdings struct {
	records []lock.Record
	above   []string // nonces of each with-lock above this process
}

func (h holdings) has(e lock.Entry) bool {
	c, ours := e.Claim()
	return ours && c.Command && c.Nonce != "" && slices.Contains(h.above, c.Nonce) ||
		slices.ContainsFunc(h.records, func(r lock.Record) bool { return r.Matches(e) })
}

// after returns the first lock of the same store that the job holds and that is taken after l.
func (h holdings) after(ctx context.Context, l *member) (name string, found bool) {
	surveys, err := l.store.Glance(ctx, nil)
	if err != nil {
		return "", false // acquire reports it
	}
	for _, survey := range surveys {
		ours := slices.ContainsFunc(survey.Holders, func(j lock.Judged) bool { return h.has(j.Entry) })
		if ours && survey.Name > l.Lock && (!found || survey.Name < name) {
			name, found = survey.Name, true
		}
	}
	return name, found
}

func (l *member) free() bool { return l.held.ID == "" }

// taken returns the locks that this process got, in the order in which it took them.
func (set locks) taken() (taken locks) {
	for _, l := range set {
		if l.held.ID != "" && !l.above {
			taken = append(taken, l)
		}
	}
	return taken
}

// checkLost fails if somebody has taken one of the locks away since this process got it.
func (set locks) checkLost(ctx context.Context) error {
	for _, l := range set.taken() {
		if time.Since(l.since) > lossGap && l.m.Lost(ctx, l.held.ID) {
			return fmt.Errorf("lock %q (id %.12s) was lost: somebody took it away", l.Lock, l.held.ID)
		}
	}
	return nil
}

// giveBack gives back what this process got, the last first. What is gone already is no error.
func (set locks) giveBack(ctx context.Context) error {
	var errs []error
	for _, l := range slices.Backward(set.taken()) {
		if err := l.m.Release(ctx, l.held.ID); err != nil && !errors.Is(err, lock.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// names returns the names of all locks, in order, separated by commas.
func (set locks) names() string {
	var names []string
	for _, l := range set {
		names = append(names, l.Lock)
	}
	return strings.Join(names, ",")
}

// ids returns the IDs of all locks, in order, separated by commas.
func (set locks) ids() string {
	var ids []string
	for _, l := range set {
		ids = append(ids, l.held.ID)
	}
	return strings.Join(ids, ",")
}

// fence returns the fence of the only lock that has one, else "": whoever checks a fence
// could not see which lock it is of.
func (set locks) fence() string {
	var fences []string
	for _, l := range set {
		if l.held.Fence != 0 {
			fences = append(fences, strconv.FormatUint(l.held.Fence, 10))
		}
	}
	if len(fences) != 1 {
		return ""
	}
	return fences[0]
}
