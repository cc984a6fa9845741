package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostguard/internal/actions"
	"hostguard/internal/cli"
	"hostguard/internal/hexid"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

const helpReleaseLock = `usage: hostguard release-lock [FLAG...]

Gives back the lock that this job's acquire-lock acquired, by its full ID, and never
another's. Nothing to give back is no error.

At the end of a job that did not succeed it first waits up to 15 s for other
processes of that job to end. If one is still running the lock stays, with a warning:
a waiting job takes it over when that process has ended or become idle.

Outside any job it recognizes the lock by the process, such as a shell, that called
both commands. If that process has called another acquire-lock for the lock since, as
a server or make with parallel jobs does, give the ID that acquire-lock printed.

{inputs}

exit status: 0 given back or nothing to give back, 2 wrong use, 3 hostguard could
not do its work (hard-fail), 130 or 143 interrupted.

example: hostguard release-lock -lock-name awoooi-cd-docker-build-lock
`

// releasePatience is how long a release waits for a daemon that is restarting.
const releasePatience = 30 * time.Second

// releaseLock is one run of release-lock.
type releaseLock struct {
	lockwire.Options
	mode, id string

	*cli.Session
	m     *lock.Mutex
	store *lockwire.Store
	traces
}

func (r *releaseLock) Inputs() []cli.Input {
	return append(r.Options.Inputs(), []cli.Input{
		{Name: "mode", Kind: cli.Choice(&r.mode, cli.HardFail, cli.WarnOnly), Default: cli.WarnOnly,
			Text: "hard-fail fails the step if Docker is unreachable"},
		{Name: "lock-id", Kind: cli.Text(&r.id, checkLockID), FlagOnly: true, Arg: "ID",
			Text: "the ID of a lock that was acquired outside any job"},
		cli.QuietInput(),
	}...)
}

func checkLockID(id string) error {
	if !hexid.Is(id, 64) {
		return errors.New("must be the 64 hex digits that acquire-lock printed")
	}
	return nil
}

func (r *releaseLock) Run(ctx context.Context, s *cli.Session) error {
	r.Session = s
	s.PrintInputs()
	release := r.release
	if r.id != "" {
		release = r.releaseID
	}
	return s.Soften(ctx, r.mode, release(ctx))
}

// releaseID gives back a lock that was acquired outside any job, for any caller that
// knows its ID: what several callers have in common there proves nothing.
func (r *releaseLock) releaseID(ctx context.Context) error {
	store, err := lockwire.Open(ctx, r.Session, r.Backend, releasePatience)
	if err != nil {
		return err
	}
	m := store.Lock(r.Lock)
	entries, err := m.Entries(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(entries, func(e lock.Entry) bool { return e.ID == r.id })
	if i < 0 {
		r.Print("nothing to give back: lock %q has no entry with this ID; %s", r.Lock, nowHeld(entries))
		return nil
	}
	if h, ours := entries[i].Claim(); !ours || h.Command || !h.OutsideJobs() {
		return cli.Usagef("lock %q (id %.12s) was not acquired by an acquire-lock outside any job: its job gives it "+
			"back, or its with-lock, or break-lock", r.Lock, r.id)
	}
	if err := m.Release(ctx, r.id); err != nil && !errors.Is(err, lock.ErrNotFound) {
		return err
	}
	r.Print("gave back lock %q (id %s), held for %s", r.Lock, r.id, cli.Short(time.Since(entries[i].Created)))
	return nil
}

// traces are the records that earlier steps of this job have left about a lock.
type traces struct {
	record    lock.Record // the lock to give back
	later     lock.Record // the lock that this job acquired after releasing record
	retaken   bool        // whether later is valid
	released  bool        // record was given back already
	reentered bool        // the release of an earlier acquire-lock gives it back
}

// findTraces returns the records of earlier steps.
func findTraces(s *cli.Session, o lockwire.Options) (t traces) {
	// In a post step the action's own state takes precedence over the environment,
	// which a later acquire of this job may have overwritten.
	left := readRecord(s, o)
	recorded := left
	// Anything else than what acquire-lock saves there is no reason to keep the lock.
	state := s.Getenv("STATE_record")
	if _, ok := lock.ParseRecord(strings.TrimPrefix(state, releasedMark)); ok || state == "reentered" {
		recorded = state
	}
	t.reentered = recorded == "reentered"
	t.record, _ = lock.ParseRecord(strings.TrimPrefix(recorded, releasedMark))
	t.later, _ = lock.ParseRecord(left)
	t.retaken = t.later.ID != "" && t.later != t.record
	t.released = t.record.ID != "" && (t.retaken || left == releasedMark+t.record.String())
	return t
}

// release gives back the lock that this job's acquire-lock recorded, and other entries
// of the same job. It never removes another job's.
func (r *releaseLock) release(ctx context.Context) (err error) {
	if r.traces = findTraces(r.Session, r.Options); r.reentered {
		r.Print("nothing to give back: this job already held lock %q, until the release of its first acquire-lock",
			r.Lock)
		return nil
	}
	var patience time.Duration
	if r.record.ID != "" && !r.released { // something is to be given back
		patience = releasePatience
	}
	if r.store, err = lockwire.Open(ctx, r.Session, r.Backend, patience); err != nil {
		return err
	}
	r.m = r.store.Lock(r.Lock)
	entries, err := r.m.Entries(ctx)
	if err != nil {
		return fmt.Errorf("%w; lock %q stays until its job ends", err, r.Lock)
	}
	own, err := r.own(ctx, entries)
	if err != nil {
		return err
	}
	lost, stays, err := r.giveBack(ctx, own)
	switch {
	case err != nil:
		return err
	case lost:
		r.Warning("lock %q (id %.12s) was lost while this job held it: somebody took it away; now %s", r.Lock,
			r.record.ID, nowHeld(entries))
	case len(own) > 0:
	case r.released:
		r.Print("nothing to give back: this job has given lock %q back already", r.Lock)
	default:
		r.Print("nothing to give back: this job does not hold lock %q; %s", r.Lock, nowHeld(entries))
	}
	if r.record.ID != "" && !r.retaken && !stays {
		return r.Env(heldVariable(r.Options), releasedMark+r.record.String())
	}
	return nil
}

// own returns the entries that this job has to give back. Outside any job it refuses an
// entry that may belong to another caller with the same parent; a record is proof.
func (r *releaseLock) own(ctx context.Context, entries []lock.Entry) ([]lock.Entry, error) {
	later := func(e lock.Entry) bool { return r.retaken && r.later.Matches(e) }
	own := slices.DeleteFunc(r.store.OwnedBySelf(entries), later)
	for _, e := range own {
		if !r.store.Self.OutsideJobs() || r.record.Matches(e) {
			continue
		}
		switch contested, err := r.m.Contested(ctx, e); {
		case err != nil:
			return nil, err
		case contested:
			return nil, cli.Refusedf("process %d has called several acquire-locks for lock %q, and it is unknown which "+
				"of them gives it back; if it is the one that acquired it: hostguard release-lock -lock-name %s "+
				"-lock-backend %s -lock-id %.64s",
				r.store.Self.Parent.PID, r.Lock, r.Lock, r.Backend, actions.Plain(e.ID))
		}
	}
	for _, e := range entries {
		if r.record.Matches(e) && !slices.ContainsFunc(own, func(o lock.Entry) bool { return o.ID == e.ID }) {
			own = append(own, e)
		}
	}
	return own, nil
}

// giveBack releases entries of this job. It reports whether the recorded one was lost,
// and whether one stays because a process of the job still runs.
func (r *releaseLock) giveBack(ctx context.Context, own []lock.Entry) (lost, stays bool, err error) {
	var errs []error
	lost = r.record.ID != "" && !r.released
	for _, e := range own {
		if jobMayHaveFailed(r.Session) && awaitSurvivors(ctx, r.Session, r.store, e) {
			lost, stays = lost && e.ID != r.record.ID, true
			continue
		}
		err := r.m.Release(ctx, e.ID)
		if errors.Is(err, lock.ErrNotFound) {
			continue
		}
		lost = lost && e.ID != r.record.ID
		if err != nil {
			errs = append(errs, fmt.Errorf("%w; it stays until its job ends", err))
			continue
		}
		r.Print("gave back lock %q (id %s), held for %s", r.Lock, e.ID, cli.Short(time.Since(e.Created)))
	}
	return lost, stays, errors.Join(errs...)
}

// nowHeld describes the present state of the lock.
func nowHeld(entries []lock.Entry) string {
	if len(entries) == 0 {
		return "it is free"
	}
	return "it is " + lockwire.DescribeHolder(entries[0], time.Now())
}
