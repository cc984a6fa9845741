package steps

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hostguard/internal/actions"
	"hostguard/lock"
)

func acquireLock(ctx context.Context, s *session) error {
	in := s.acquireInputs()
	mode := s.in.choice("mode", hardFail, hardFail, warnOnly)
	if err := s.in.parse(); err != nil {
		return err
	}
	s.sayInputs()
	s.noticeOtherLock()
	err := s.acquire(ctx, in)
	if err != nil {
		s.output("acquired", "false")
	}
	return s.soften(ctx, *mode, err)
}

func (s *session) acquire(ctx context.Context, in acquireInputs) error {
	if err := s.checkFiles(); err != nil {
		return err
	}
	end := s.Group("hostguard acquire-lock %q", *in.name)
	defer func() { end() }()
	waiting, cancel := in.deadline(ctx)
	defer cancel()
	m, engine, err := s.mutex(waiting, in.lockInputs, min(firstLook, *in.timeout))
	if err != nil {
		return err
	}
	if e, ok := s.reentered(waiting, m, in.lockInputs); ok {
		s.Say("this job has the lock already (id %.12s); its first acquire-lock gives it back, not this one", e.ID)
		s.state("record", "reentered")
		return s.tellAcquired(e.ID, 0, nil)
	}
	start := time.Now()
	held, err := s.hold(waiting, m, engine, in)
	if err == nil && ctx.Err() != nil { // interrupted since it was acquired
		err = errors.Join(context.Cause(ctx), m.Release(ctx, held.ID))
	}
	if err != nil {
		return err
	}
	waited := time.Since(start)
	record := lock.Record{ID: held.ID, Nonce: engine.Self.Nonce}
	if err := errors.Join(s.env(heldVariable(in.lockInputs), record.String()), s.state("record", record.String()),
		s.tellAcquired(held.ID, waited, held.TookOverFrom)); err != nil {
		return errors.Join(err, m.Release(ctx, held.ID))
	}
	m.Finish()
	s.Say("acquired lock %q after %s (id %s)", *in.name, short(waited), held.ID)
	switch {
	case s.workflow != nil:
	case !engine.Self.SameJob(engine.Self) && !engine.Self.SameCaller(engine.Self): // no shell above, or a remote engine
		s.Warning("no release-lock will know that lock %q is its own to give back; use with-lock, or give it back with: "+
			"hostguard release-lock -lock-name %s -lock-backend %s -lock-id %s", *in.name, *in.name, *in.backend, held.ID)
	default:
		s.Say("give it back from this shell with: hostguard release-lock -lock-name %s -lock-backend %s", *in.name, *in.backend)
	}
	s.Summary(fmt.Sprintf("**hostguard**: acquired lock `%s` after %s\n", *in.name, short(waited)))
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
func (s *session) hold(ctx context.Context, m *lock.Mutex, engine store, in acquireInputs) (lock.Acquired, error) {
	engine.Self.Reason, engine.Self.Priority, engine.Self.StaleAfter = *in.reason, *in.priority, *in.staleAfter
	m.JobGone = func() bool { return jobGone(engine.Self.JobDir) }
	m.Recorded = func(e lock.Entry) bool {
		record, ok := lock.ParseRecord(s.held(in.lockInputs))
		return ok && record.Matches(e)
	}
	m.Settle = *in.settle
	if m.Settle < 0 {
		m.Settle = 0
		if !engine.exclusive {
			m.Settle = 500 * time.Millisecond
		}
	}

	// Asking the engine who it is takes it longer than the lock does.
	const describeTime = 2500 * time.Millisecond
	described := make(chan string, 1)
	go func() { described <- engine.describe(ctx) }()
	log := &lockLog{session: s, start: time.Now()}
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
		s.Notice("lock %q taken over: %s; %s because %s", m.Name(), describeHolder(j.Entry, time.Now()), j.Verdict.Life, j.Verdict.Evidence)
	}

	held, err := m.Acquire(waiting)
	say()
	switch {
	case err == nil:
		if engine.prunable() {
			s.Warning("this engine keeps lock %q as an ordinary network, as Podman does: its network and system prune delete it", m.Name())
		}
		return held, nil
	case errors.Is(err, lock.ErrJobGone):
		return held, &statusError{StatusInterrupted, fmt.Errorf("lock %q: %w; nothing is left behind", m.Name(), err)}
	case errors.Is(err, lock.ErrTimeout) && log.last.Err != nil:
		return held, fmt.Errorf("lock %q not got within %s: %w", m.Name(), *in.timeout, log.last.Err)
	case errors.Is(err, lock.ErrTimeout) && once:
		return held, refusedf("lock %q is not free, not this change's fault: %s; give a timeout to wait for it", m.Name(), log.inTheWay())
	case errors.Is(err, lock.ErrTimeout):
		return held, refusedf("lock %q not free within %s, not this change's fault: %s; see \"hostguard status\", or give a longer timeout",
			m.Name(), *in.timeout, log.inTheWay())
	}
	return held, err
}

// reentered finds the lock that an earlier step of this job, or a with-lock
// above this process, holds: nobody waits for himself.
func (s *session) reentered(ctx context.Context, m *lock.Mutex, in lockInputs) (lock.Entry, bool) {
	record, recorded := lock.ParseRecord(s.held(in))
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

func (s *session) tellAcquired(id string, waited time.Duration, from []lock.Judged) error {
	var taken []string
	for _, e := range from {
		taken = append(taken, fmt.Sprintf("%.64s (%s: %s)", actions.Plain(e.ID), e.Verdict.Life, e.Verdict.Evidence))
	}
	return errors.Join(
		s.output("lock-id", id), s.output("acquired", "true"),
		s.output("waited-seconds", strconv.Itoa(int(waited.Seconds()))),
		s.output("took-over-from", actions.Plain(strings.Join(taken, ", "))),
	)
}

// lockLog tells of a wait: at every change, and every 30 seconds.
type lockLog struct {
	*session
	start time.Time
	last  lock.Wait
	told  time.Time

	leaving bool
}

const tellEvery = 30 * time.Second

func (l *lockLog) wait(w lock.Wait) {
	if w.Leaving {
		if !l.leaving {
			l.Say("after %s: giving back what was half taken takes longer", short(time.Since(l.start)))
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
		l.Say("waiting %s: %s; trying again", short(time.Since(l.start)), w.Err)
		return
	}
	l.Say("waiting %s: %s; position %d of %d", short(time.Since(l.start)), l.inTheWay(), w.Position, max(w.Waiters, w.Position))
}

// inTheWay says what the wait was for.
func (l *lockLog) inTheWay() string {
	switch {
	case l.told.IsZero():
		return "the store took longer to answer"
	case l.last.Holder.ID == "":
		return "others were there before"
	}
	text := describeHolder(l.last.Holder.Entry, time.Now())
	if v := l.last.Holder.Verdict; v.Evidence != "" {
		text += fmt.Sprintf(" (%s: %s)", v.Life, v.Evidence)
	}
	return text
}
