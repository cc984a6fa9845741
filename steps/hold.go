package steps

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

// acquireOptions are the inputs of the commands that acquire a lock.
type acquireOptions struct {
	lockwire.Several
	backends            []string // in place of the one of Several
	timeout, staleAfter time.Duration
	settle              time.Duration // negative: not given
	reason, priority    string
	slots               int
	share               bool
	unfold              func() // ends the group of the log, if there is one

	claim func(context.Context, *member) lock.Claim // what the entry claims, if not what the store's Self does
}

func newAcquireOptions() acquireOptions { return acquireOptions{settle: -1} }

// Inputs returns the table of the options.
func (o *acquireOptions) Inputs() []cli.Input {
	return append(o.Several.Inputs(), []cli.Input{
		{Name: "timeout", Kind: cli.Duration(&o.timeout, 0, 24*time.Hour), Default: "60m",
			Text: "how long to wait for the lock; 0s tries once"},
		{Name: "stale-after", Kind: cli.Duration(&o.staleAfter, time.Second, lock.MaxStaleAfter), Default: "2h",
			Text: "the age at which others may take this lock over, unless its holder is proven to be alive"},
		{Name: "reason", Kind: cli.Text(&o.reason, checkReason), Text: "shown to waiting jobs"},
		{Name: "priority", Kind: cli.Choice(&o.priority, lock.PriorityNormal, lock.PriorityHigh),
			Default: lock.PriorityNormal,
			Text:    "high goes before waiting jobs of normal priority"},
		{Name: "slots", Kind: cli.Count(&o.slots, 1, lock.MaxSlots), Default: "1",
			Text: "how many jobs may hold the lock at once; all that use it must give the same number"},
		{Name: "share", Kind: cli.Bool(&o.share), Default: "false",
			Text: "hold the lock together with others that share it; those that do not hold it alone, in their turn"},
		{Name: "legacy-settle", Kind: cli.Duration(&o.settle, 0, time.Minute), FlagOnly: true,
			Text: `how long to watch for a rival that runs plain "docker network create"; ` +
				"default 500ms on engines below API 1.44, else 0s"},
	}...)
}

const maxReason = 1000 // bytes; every waiting job prints the reason

func checkReason(reason string) error {
	if len(reason) > maxReason {
		return fmt.Errorf("must have at most %d bytes, not %d", maxReason, len(reason))
	}
	return nil
}

// noticeOtherLock prints a notice if this is not the lock that the host sets for all
// its jobs: jobs that use the host's lock are not excluded.
func noticeOtherLock(s *cli.Session) {
	for _, name := range []string{"lock-name", "lock-backend"} {
		s.NoticeOverridden(name, "jobs that set none use the host's, and the two locks do not exclude each other")
	}
}

// tryTime bounds the single attempt of a timeout of 0s.
const tryTime = 3 * time.Second

// deadline returns a context that ends all waiting of an acquire, for the store too.
func (o *acquireOptions) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := o.timeout
	if limit == 0 {
		limit = tryTime
	}
	return context.WithTimeoutCause(ctx, limit, lock.ErrTimeout)
}

// hold acquires one of the locks before the deadline of ctx, and reports while it waits.
func (o *acquireOptions) hold(ctx context.Context, s *cli.Session, l *member) (lock.Acquired, error) {
	m, store := l.m, l.store
	store.Self.Reason, store.Self.Priority, store.Self.StaleAfter = o.reason, o.priority, o.staleAfter
	if o.claim != nil {
		store.Self = o.claim(ctx, l)
	}
	m.JobGone = func() bool { return jobGone(store.Self.JobDir) }
	m.Recorded = func(e lock.Entry) bool {
		record, ok := lock.ParseRecord(readRecord(s, l.Options))
		return ok && record.Matches(e)
	}
	m.Slots, m.Share = o.slots, o.share
	m.Settle = o.settle
	if m.Settle < 0 {
		m.Settle = 0
		if !store.Exclusive {
			m.Settle = 500 * time.Millisecond
		}
	}
	log, seen := newLockLog(s, m.Name(), store, m.Settle), newWaited()
	if o.unfold != nil {
		log.unfold = o.unfold
	}
	waiting, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	m.OnWait = func(w lock.Wait) {
		log.printStore()
		log.wait(w)
		if w.Err == nil && !w.Leaving {
			seen.see(w)
		}
		if o.timeout == 0 { // the lock is not free now
			giveUp(lock.ErrTimeout)
		}
	}
	m.OnTakeover = func(j lock.Judged) {
		log.printStore()
		seen.takeOver(j)
		s.Notice("lock %q taken over: %s; %s because %s", m.Name(), lockwire.DescribeHolder(j.Entry, time.Now()),
			j.Verdict.Life, j.Verdict.Evidence)
	}
	held, err := m.Acquire(waiting)
	log.line.end()
	log.printStore()
	reportWait(s, seen.answer(m.Name(), lockwire.WhoIs(store.Self), err == nil))
	if err != nil {
		return held, o.explain(err, m.Name(), log)
	}
	if store.Prunable() {
		s.Warning("this engine keeps lock %q as an ordinary network, as Podman does: network prune and system prune "+
			"delete it", m.Name())
	}
	return held, nil
}

// explain returns the reason why the lock was not acquired, with its exit status.
func (o *acquireOptions) explain(err error, name string, log *lockLog) error {
	if other, ok := errors.AsType[*lock.DisagreementError](err); ok {
		return cli.Usagef("slots is %d here, and %d where lock %q is %s; all jobs that use it must give the same "+
			"number", other.Mine, other.Theirs, name, lockwire.DescribeHolder(other.Entry, time.Now()))
	}
	switch {
	case errors.Is(err, lock.ErrJobGone):
		return cli.WithStatus(cli.StatusInterrupted, fmt.Errorf("lock %q: %w; the attempt is undone", name, err))
	case errors.Is(err, lock.ErrTimeout) && log.last.Err != nil:
		return fmt.Errorf("lock %q not acquired within %s: %w", name, o.timeout, log.last.Err)
	case errors.Is(err, lock.ErrTimeout) && o.timeout == 0:
		return cli.Refusedf("lock %q is not free%s: %s; give a timeout to wait for it", name, blameless(log.Session),
			log.waitedFor())
	case errors.Is(err, lock.ErrTimeout):
		return cli.Refusedf("lock %q not free within %s%s: %s; see \"hostguard status\", or give a longer timeout",
			name, o.timeout, blameless(log.Session), log.waitedFor())
	}
	return err
}

// blameless says in a job's log, which its author reads first, that nothing is wrong with the
// change that was built. Elsewhere nobody thinks so.
func blameless(s *cli.Session) string {
	if s.InWorkflow() {
		return ", " + notThisChange
	}
	return ""
}

const notThisChange = "not this change's fault"

// slotOf returns which of the lock's slots was acquired, from 1, or 0 if it has one only.
func (o *acquireOptions) slotOf(held lock.Acquired) int {
	if o.slots == 1 {
		return 0
	}
	return held.Slot
}

// placeOf returns, for people, which of the lock's places was acquired, or "" of a lock that
// one job has alone.
func (o *acquireOptions) placeOf(held lock.Acquired) string {
	switch {
	case o.share:
		return ", shared"
	case o.slots > 1:
		return fmt.Sprintf(", slot %d of %d", held.Slot, o.slots)
	}
	return ""
}
