package steps

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hostguard/internal/actions"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

func acquireLock(ctx context.Context, s *cli.Session) error {
	in := newAcquireInputs(s)
	mode := s.In.Choice("mode", cli.HardFail, cli.HardFail, cli.WarnOnly)
	if err := s.In.Parse(); err != nil {
		return err
	}
	s.SayInputs()
	noticeOtherLock(s)
	err := acquire(ctx, s, in)
	if err != nil {
		s.Output("acquired", "false")
	}
	return s.Soften(ctx, *mode, err)
}

func acquire(ctx context.Context, s *cli.Session, in acquireInputs) error {
	if err := s.CheckFiles(); err != nil {
		return err
	}
	end := s.Group("hostguard acquire-lock %q", *in.Name)
	defer func() { end() }()
	waiting, cancel := in.deadline(ctx)
	defer cancel()
	store, err := lockwire.Open(waiting, s, *in.Backend, min(lockwire.FirstLook, *in.timeout))
	if err != nil {
		return err
	}
	m := store.Lock(*in.Name)
	if e, ok := reentered(waiting, s, m, in.Inputs); ok {
		s.Say("this job has the lock already (id %.12s); its first acquire-lock gives it back, not this one", e.ID)
		s.State("record", "reentered")
		return writeOutputs(s, e.ID, 0, nil)
	}
	start := time.Now()
	held, err := hold(waiting, s, m, store, in)
	if err == nil && ctx.Err() != nil { // interrupted since it was acquired
		err = errors.Join(context.Cause(ctx), m.Release(ctx, held.ID))
	}
	if err != nil {
		return err
	}
	waited := time.Since(start)
	record := lock.Record{ID: held.ID, Nonce: store.Self.Nonce}
	if err := errors.Join(s.Env(heldVariable(in.Inputs), record.String()), s.State("record", record.String()),
		writeOutputs(s, held.ID, waited, held.TookOverFrom)); err != nil {
		return errors.Join(err, m.Release(ctx, held.ID))
	}
	m.Finish()
	s.Say("acquired lock %q after %s (id %s)", *in.Name, cli.Short(waited), held.ID)
	switch {
	case s.Workflow != nil:
	case !store.Self.SameJob(store.Self) && !store.Self.SameCaller(store.Self): // no shell above, or a remote engine
		s.Warning("no release-lock will know that lock %q is its own to give back; use with-lock, or give it back with: "+
			"hostguard release-lock -lock-name %s -lock-backend %s -lock-id %s", *in.Name, *in.Name, *in.Backend, held.ID)
	default:
		s.Say("give it back from this shell with: hostguard release-lock -lock-name %s -lock-backend %s", *in.Name, *in.Backend)
	}
	s.Summary(fmt.Sprintf("**hostguard**: acquired lock `%s` after %s\n", *in.Name, cli.Short(waited)))
	return nil
}

// tryTime is how long a single try may take, with a timeout of 0s.
const tryTime = 3 * time.Second

// limit is how long an acquire may take.
func (in acquireInputs) limit() time.Duration {
	if *in.timeout == 0 {
		return tryTime
	}
	return *in.timeout
}

// deadline ends all waiting of an acquire, for the store too.
func (in acquireInputs) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, in.limit(), lock.ErrTimeout)
}

// hold waits for the lock until the deadline of ctx and reports the waiting.
func hold(ctx context.Context, s *cli.Session, m *lock.Mutex, store *lockwire.Store, in acquireInputs) (lock.Acquired, error) {
	store.Self.Reason, store.Self.Priority, store.Self.StaleAfter = *in.reason, *in.priority, *in.staleAfter
	m.JobGone = func() bool { return jobGone(store.Self.JobDir) }
	m.Recorded = func(e lock.Entry) bool {
		record, ok := lock.ParseRecord(readRecord(s, in.Inputs))
		return ok && record.Matches(e)
	}
	m.Settle = *in.settle
	if m.Settle < 0 {
		m.Settle = 0
		if !store.Exclusive {
			m.Settle = 500 * time.Millisecond
		}
	}

	// Asking the engine who it is takes it longer than the lock does.
	const describeTime = 2500 * time.Millisecond
	described := make(chan string, 1)
	go func() { described <- store.Describe(ctx) }()
	log := &lockLog{Session: s, start: time.Now()}
	say := func() {
		if described == nil {
			return
		}
		select {
		case line := <-described:
			described = nil
			s.Say("%s", line)
			if m.Settle > 0 {
				s.Say("this engine takes a second network of the same name: looking out %s for a plain \"docker network create\"; one that takes longer is not seen", m.Settle)
			}
		case <-time.After(time.Until(log.start.Add(describeTime))): // a daemon that hangs says nothing of itself
		}
	}
	waiting, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	once := *in.timeout == 0
	m.OnWait = func(w lock.Wait) {
		say()
		log.wait(w)
		if once { // it cannot have the lock now
			giveUp(lock.ErrTimeout)
		}
	}
	m.OnTakeover = func(j lock.Judged) {
		say()
		s.Notice("lock %q taken over: %s; %s because %s", m.Name(), lockwire.DescribeHolder(j.Entry, time.Now()), j.Verdict.Life, j.Verdict.Evidence)
	}

	held, err := m.Acquire(waiting)
	say()
	switch {
	case err == nil:
		if store.Prunable() {
			s.Warning("this engine keeps lock %q as an ordinary network, as Podman does: its network and system prune delete it", m.Name())
		}
		return held, nil
	case errors.Is(err, lock.ErrJobGone):
		return held, cli.WithStatus(cli.StatusInterrupted, fmt.Errorf("lock %q: %w; nothing is left behind", m.Name(), err))
	case errors.Is(err, lock.ErrTimeout) && log.last.Err != nil:
		return held, fmt.Errorf("lock %q not got within %s: %w", m.Name(), *in.timeout, log.last.Err)
	case errors.Is(err, lock.ErrTimeout) && once:
		return held, cli.Refusedf("lock %q is not free, not this change's fault: %s; give a timeout to wait for it", m.Name(), log.inTheWay())
	case errors.Is(err, lock.ErrTimeout):
		return held, cli.Refusedf("lock %q not free within %s, not this change's fault: %s; see \"hostguard status\", or give a longer timeout",
			m.Name(), *in.timeout, log.inTheWay())
	}
	return held, err
}

// reentered finds the lock that an earlier step of this job, or a with-lock
// above this process, holds: nobody waits for himself.
func reentered(ctx context.Context, s *cli.Session, m *lock.Mutex, in lockwire.Inputs) (lock.Entry, bool) {
	record, recorded := lock.ParseRecord(readRecord(s, in))
	above := s.Getenv(holdVariable)
	if !recorded && above == "" {
		return lock.Entry{}, false
	}
	entries, err := m.Entries(ctx)
	if err != nil {
		return lock.Entry{}, false // acquire says it
	}
	for _, e := range entries {
		h, ours := e.Claim()
		if recorded && record.Matches(e) || ours && h.Command && containsNonce(above, h.Nonce) {
			return e, true
		}
	}
	return lock.Entry{}, false
}

func writeOutputs(s *cli.Session, id string, waited time.Duration, from []lock.Judged) error {
	var taken []string
	for _, e := range from {
		taken = append(taken, fmt.Sprintf("%.64s (%s: %s)", actions.Plain(e.ID), e.Verdict.Life, e.Verdict.Evidence))
	}
	return errors.Join(
		s.Output("lock-id", id), s.Output("acquired", "true"),
		s.Output("waited-seconds", strconv.Itoa(int(waited.Seconds()))),
		s.Output("took-over-from", actions.Plain(strings.Join(taken, ", "))),
	)
}

// lockLog tells of a wait: at every change, and every 30 seconds.
type lockLog struct {
	*cli.Session
	start time.Time
	last  lock.Wait
	told  time.Time

	leaving bool
}

const tellEvery = 30 * time.Second

func (l *lockLog) wait(w lock.Wait) {
	if w.Leaving {
		if !l.leaving {
			l.Say("after %s: giving back what was half taken takes longer", cli.Short(time.Since(l.start)))
		}
		l.leaving = true
		return
	}
	changed := l.told.IsZero() || w.Holder.ID != l.last.Holder.ID || w.Holder.Verdict != l.last.Holder.Verdict ||
		w.Position != l.last.Position || (w.Err != nil) != (l.last.Err != nil)
	if w.Err != nil && l.last.Err == nil {
		w.Holder = l.last.Holder
	}
	l.last = w
	if !changed && time.Since(l.told) < tellEvery {
		return
	}
	l.told = time.Now()
	if w.Err != nil {
		l.Say("waiting %s: %s; trying again", cli.Short(time.Since(l.start)), w.Err)
		return
	}
	l.Say("waiting %s: %s; position %d of %d", cli.Short(time.Since(l.start)), l.inTheWay(), w.Position, max(w.Waiters, w.Position))
}

// inTheWay says what the wait was for.
func (l *lockLog) inTheWay() string {
	switch {
	case l.told.IsZero():
		return "the store took longer to answer"
	case l.last.Holder.ID == "":
		return "others were there before"
	}
	text := lockwire.DescribeHolder(l.last.Holder.Entry, time.Now())
	if v := l.last.Holder.Verdict; v.Evidence != "" {
		text += fmt.Sprintf(" (%s: %s)", v.Life, v.Evidence)
	}
	return text
}

const helpLockInputs = `  -lock-name NAME        default awoooi-cd-docker-build-lock
  -lock-backend docker   or file, for host jobs on a host without Docker
`

const helpAcquireInputs = helpLockInputs + `  -timeout 60m           how long to wait for the lock; 0s tries once
  -stale-after 2h        a lock older than what its holder gave here, with no
                         proof that the holder lives, may be taken over
  -reason TEXT           shown to those who wait
  -priority normal       or high, which goes before normal ones that wait
  -legacy-settle 500ms   on engines below API 1.44, else 0s: how long to look out
                         for a rival that runs plain "docker network create"
`

const helpAcquireLock = `usage: hostguard acquire-lock [-input value ...]

Takes the host-wide lock, waiting its turn, and keeps it until release-lock.
While it waits it tells who holds the lock, since when and from which run.

` + helpAcquireInputs + `  -mode hard-fail        or warn-only: warn and go on without the lock

outputs: lock-id, acquired, waited-seconds, took-over-from

exit status: 0 acquired, 1 not free in time, 2 wrong use, 3 no Docker or no
permission, 130 or 143 interrupted (nothing is left behind).

example: hostguard acquire-lock -timeout 30m -reason "image build"
`

const maxReason = 1000 // characters; the reason is shown to everyone who waits

// acquireInputs are those of acquire-lock and with-lock.
type acquireInputs struct {
	lockwire.Inputs
	timeout, staleAfter, settle *time.Duration
	reason, priority            *string
}

func newAcquireInputs(s *cli.Session) acquireInputs {
	in := acquireInputs{
		Inputs:     lockwire.NewInputs(s),
		timeout:    s.In.Duration("timeout", 60*time.Minute, 0, 24*time.Hour),
		staleAfter: s.In.Duration("stale-after", lock.DefaultStaleAfter, time.Second, lock.MaxStaleAfter),
		settle:     s.In.Duration("legacy-settle", -1, 0, time.Minute),
		priority:   s.In.Choice("priority", lock.PriorityNormal, lock.PriorityNormal, lock.PriorityHigh),
		reason:     s.In.Text("reason", "", checkReason),
	}
	s.In.FlagOnly("legacy-settle")
	return in
}

// noticeOtherLock says that this is not the lock which the host names for all of
// its jobs: those that leave it to the host are not kept out.
func noticeOtherLock(s *cli.Session) {
	for _, name := range []string{"lock-name", "lock-backend"} {
		if g, host, found := s.In.Overruled(name); found {
			s.Notice("%s is %.200q (%s), but this host names %.200q (%s): jobs that name none take the host's, "+
				"and the two locks do not exclude each other", name, g.Value, g.From, host, cli.HostPrefix+cli.VariableName(name))
		}
	}
}

func checkReason(reason string) error {
	if len(reason) > maxReason {
		return fmt.Errorf("it has %d bytes; want at most %d", len(reason), maxReason)
	}
	return nil
}
