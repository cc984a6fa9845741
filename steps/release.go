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
	lockwire.Several
	mode string
	ids  []string
}

func (r *releaseLock) Inputs() []cli.Input {
	return append(r.Several.Inputs(), []cli.Input{
		{Name: "mode", Kind: cli.Choice(&r.mode, cli.HardFail, cli.WarnOnly), Default: cli.WarnOnly,
			Text: "hard-fail fails the step if Docker is unreachable"},
		{Name: "lock-id", Kind: cli.List(&r.ids, checkLockID), FlagOnly: true, Arg: "ID,...",
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
	s.PrintInputs()
	return s.Soften(ctx, r.mode, r.release(ctx, s))
}

// release gives back the locks, the last one first.
func (r *releaseLock) release(ctx context.Context, s *cli.Session) error {
	all, err := r.In(nil)
	if err != nil {
		return err
	}
	states := strings.Split(s.Getenv("STATE_record"), ",")
	var left []*release
	patience := time.Duration(0)
	if len(r.ids) > 0 {
		patience = releasePatience
	}
	for i, options := range all {
		state := "" // of another command, unless there is one of each lock
		if len(states) == len(all) {
			state = states[i]
		}
		one := &release{Options: options, Session: s, traces: findTraces(s, options, state)}
		switch {
		case len(r.ids) > 0:
		case one.reentered:
			s.Print("nothing to give back: this job already held lock %q, until the release of its first acquire-lock",
				options.Lock)
			continue
		case one.record.ID != "" && !one.released: // something is to be given back
			patience = releasePatience
		}
		left = append(left, one)
	}
	if len(left) == 0 {
		return nil
	}
	store, err := lockwire.Open(ctx, s, r.Backend, patience)
	if err != nil {
		return err
	}
	var errs []error
	patient, waited := context.WithCancel(ctx) // all are of one job, whose end is waited for once
	defer waited()
	for _, one := range slices.Backward(left) {
		one.store, one.m = store, store.Lock(one.Lock)
		if len(r.ids) > 0 {
			errs = append(errs, one.giveBackIDs(ctx, r.ids))
			continue
		}
		stays, err := one.giveBackOwn(ctx, patient)
		if errs = append(errs, err); stays {
			waited()
		}
	}
	return errors.Join(errs...)
}

// release is the release of one lock.
type release struct {
	lockwire.Options
	*cli.Session
	m     *lock.Mutex
	store *lockwire.Store
	traces
}

// giveBackIDs gives back a lock that was acquired outside any job, for any caller that
// knows its ID: what several callers have in common there proves nothing.
func (r *release) giveBackIDs(ctx context.Context, ids []string) error {
	entries, err := r.m.Entries(ctx)
	if err != nil {
		return err
	}
	given := slices.DeleteFunc(slices.Clone(entries), func(e lock.Entry) bool { return !slices.Contains(ids, e.ID) })
	if len(given) == 0 {
		r.Print("nothing to give back: lock %q has no entry with this ID; %s", r.Lock, nowHeld(entries))
		return nil
	}
	for _, e := range given {
		if h, ours := e.Claim(); !ours || h.Command || !h.OutsideJobs() {
			return cli.Usagef("lock %q (id %.12s) was not acquired by an acquire-lock outside any job: its job gives "+
				"it back, or its with-lock, or break-lock", r.Lock, actions.Plain(e.ID))
		}
		if err := r.m.Release(ctx, e.ID); err != nil && !errors.Is(err, lock.ErrNotFound) {
			return err
		}
		r.Print("gave back lock %q (id %s), held for %s", r.Lock, e.ID, cli.Short(time.Since(e.Created)))
	}
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

// findTraces returns the records of earlier steps, of which the action's state has one.
func findTraces(s *cli.Session, o lockwire.Options, state string) (t traces) {
	// In a post step the action's own state takes precedence over the environment,
	// which a later acquire of this job may have overwritten.
	left := readRecord(s, o)
	recorded := left
	// Anything else than what acquire-lock saves there is no reason to keep the lock.
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

// giveBackOwn gives back the lock that this job's acquire-lock recorded, and other entries
// of the same job. It never removes another job's. It reports whether one stays because a process
// of the job still runs, for whose end it waits no longer than patient.
func (r *release) giveBackOwn(ctx, patient context.Context) (stays bool, err error) {
	entries, err := r.m.Entries(ctx)
	if err != nil {
		return false, fmt.Errorf("%w; lock %q stays until its job ends", err, r.Lock)
	}
	own, err := r.own(ctx, entries)
	if err != nil {
		return false, err
	}
	lost, stays, err := r.giveBack(ctx, patient, own)
	switch {
	case err != nil:
		return stays, err
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
		return stays, r.Env(heldVariable(r.Options), releasedMark+r.record.String())
	}
	return stays, nil
}

// own returns the entries that this job has to give back. Outside any job it refuses an
// entry that may belong to another caller with the same parent; a record is proof.
func (r *release) own(ctx context.Context, entries []lock.Entry) ([]lock.Entry, error) {
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
			return nil, cli.Refusedf("process %d has called several acquire-locks for lock %q, and it is unknown "+
				"which of them gives it back; if it is the one that acquired it: hostguard release-lock -lock-name %s "+
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
func (r *release) giveBack(ctx, patient context.Context, own []lock.Entry) (lost, stays bool, err error) {
	var errs []error
	lost = r.record.ID != "" && !r.released
	for _, e := range own {
		if jobMayHaveFailed(r.Session) && awaitSurvivors(patient, r.Session, r.store, e) {
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
