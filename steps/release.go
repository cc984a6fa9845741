package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostguard/internal/actions"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

const helpReleaseLock = `usage: hostguard release-lock [-input value ...]

Gives back the lock that this job's acquire-lock took, by its full ID, and never
another's. Nothing to give back is no error.

At the end of a job that did not succeed it first waits up to 15 s for other
processes of that job to end. If one is left the lock stays, with a warning: who
waits takes it over when that process has ended or come to rest.

Outside any job it knows the lock by the process, such as a shell, that called
both. Where that has called another acquire-lock for it since, as a server or make
that does several things at once, it takes the ID that acquire-lock said.

` + helpLockInputs + `  -mode warn-only        or hard-fail: fail the step when Docker is unreachable
  -lock-id ID            of a lock that was taken outside any job

exit status: 0 given back or nothing to give back, 2 wrong use, 3 hostguard could
not do its work (hard-fail), 130 or 143 interrupted.

example: hostguard release-lock -lock-name awoooi-cd-docker-build-lock
`

// releasePatience is how long a release waits for a daemon that restarts.
const releasePatience = 30 * time.Second

func releaseLock(ctx context.Context, s *cli.Session) error {
	in := lockwire.NewInputs(s)
	mode := s.In.Choice("mode", cli.WarnOnly, cli.HardFail, cli.WarnOnly)
	id := s.In.Text("lock-id", "", checkLockID)
	s.In.FlagOnly("lock-id")
	if err := s.In.Parse(); err != nil {
		return err
	}
	s.SayInputs()
	if *id != "" {
		return s.Soften(ctx, *mode, releaseID(ctx, s, in, *id))
	}
	return s.Soften(ctx, *mode, release(ctx, s, in))
}

func checkLockID(id string) error {
	if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
		return errors.New("want the 64 hex digits that acquire-lock said")
	}
	return nil
}

// releaseID gives back a lock that was taken outside any job, by whoever knows its
// ID: what several callers have in common there proves nothing.
func releaseID(ctx context.Context, s *cli.Session, in lockwire.Inputs, id string) error {
	store, err := lockwire.Open(ctx, s, *in.Backend, releasePatience)
	if err != nil {
		return err
	}
	m := store.Lock(*in.Name)
	entries, err := m.Entries(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(entries, func(e lock.Entry) bool { return e.ID == id })
	if i < 0 {
		s.Say("nothing to give back: lock %q has no entry of that ID; %s", *in.Name, nowHeld(entries))
		return nil
	}
	if h, ours := entries[i].Claim(); !ours || h.Command || !h.OutsideJobs() {
		return cli.Usagef("lock %q (id %.12s) is not one that an acquire-lock took outside any job: its job gives it back, or its with-lock, or break-lock",
			*in.Name, id)
	}
	if err := m.Release(ctx, id); err != nil && !errors.Is(err, lock.ErrNotFound) {
		return err
	}
	s.Say("gave back lock %q (id %s), held for %s", *in.Name, id, cli.Short(time.Since(entries[i].Created)))
	return nil
}

// release gives back what this job's acquire-lock took: what its record names,
// and left-overs of the same job. It never removes another's.
func release(ctx context.Context, s *cli.Session, in lockwire.Inputs) error {
	// In a post step the action's own state says more than the environment,
	// which a later acquire of this job may have written.
	left := readRecord(s, in)
	recorded := left
	if state := s.Getenv("STATE_record"); state != "" {
		recorded = state
	}
	if recorded == "reentered" {
		s.Say("nothing to give back: this job had lock %q before, and its first acquire-lock gives it back", *in.Name)
		return nil
	}
	record, _ := lock.ParseRecord(strings.TrimPrefix(recorded, releasedMark))
	later, _ := lock.ParseRecord(left)
	took := later.ID != "" && later != record // this job gave that one back, and took another
	given := record.ID != "" && (took || left == releasedMark+record.String())

	var patience time.Duration
	if record.ID != "" && !given { // there is something to give back
		patience = releasePatience
	}
	store, err := lockwire.Open(ctx, s, *in.Backend, patience)
	if err != nil {
		return err
	}
	m := store.Lock(*in.Name)
	entries, err := m.Entries(ctx)
	if err != nil {
		return fmt.Errorf("%w; lock %q stays until its job ends", err, *in.Name)
	}
	own := slices.DeleteFunc(store.OwnedBySelf(entries), func(e lock.Entry) bool { return took && later.Matches(e) })
	if own, err = uncontested(ctx, s, store, in, own, record); err != nil {
		return err
	}
	for _, e := range entries {
		if record.Matches(e) && !slices.ContainsFunc(own, func(o lock.Entry) bool { return o.ID == e.ID }) {
			own = append(own, e)
		}
	}
	var errs []error
	lost, stays := record.ID != "" && !given, false
	for _, e := range own {
		if jobMayHaveFailed(s) && waitsForSurvivors(ctx, s, store, e) {
			lost, stays = lost && e.ID != record.ID, true
			continue
		}
		err := m.Release(ctx, e.ID)
		if errors.Is(err, lock.ErrNotFound) {
			continue
		}
		lost = lost && e.ID != record.ID
		if err != nil {
			errs = append(errs, fmt.Errorf("%w; it stays until its job ends", err))
			continue
		}
		s.Say("gave back lock %q (id %s), held for %s", *in.Name, e.ID, cli.Short(time.Since(e.Created)))
	}
	switch {
	case len(errs) > 0:
		return errors.Join(errs...)
	case lost:
		s.Warning("lock %q (id %.12s) was lost while this job held it: somebody took it away; now %s", *in.Name, record.ID, nowHeld(entries))
	case len(own) > 0:
	case given:
		s.Say("nothing to give back: this job has given lock %q back already", *in.Name)
	default:
		s.Say("nothing to give back: this job does not hold lock %q; %s", *in.Name, nowHeld(entries))
	}
	if record.ID != "" && !took && !stays {
		return s.Env(heldVariable(in), releasedMark+record.String())
	}
	return nil
}

// jobMayHaveFailed tells that this is the end of a job that is not known to have
// succeeded. The action knows how the job goes, and its post step says so where no
// runner tells; a hook is always at the end. A release in the midst of a job, or in
// a shell, has no status.
func jobMayHaveFailed(s *cli.Session) bool {
	status, _, _ := s.In.Outside("job-status")
	if strings.HasPrefix(s.Name, "hostguard-") { // a hook
		status = cmp.Or(s.Getenv("GITEA_JOB_RESULT"), status, "unknown")
	} else if strings.HasPrefix(status, "$") { // as it was written: no runner filled it in
		return false
	}
	return status != "" && status != "success"
}

// waitsForSurvivors tells that a lock has to stay for now, and warns: something
// of a job that is over still runs, and may still use what the lock is for.
func waitsForSurvivors(ctx context.Context, s *cli.Session, store *lockwire.Store, e lock.Entry) bool {
	left, found := store.AwaitEnd(ctx, e)
	if found {
		s.Warning("lock %q (id %.12s) stays: %s is left of this job; "+
			"who waits takes the lock over when that has ended or come to rest", e.Name, e.ID, left)
	}
	return found
}

// uncontested refuses what, outside any job, may be that of another caller of the
// same parent. A record is proof.
func uncontested(
	ctx context.Context, s *cli.Session, store *lockwire.Store, in lockwire.Inputs, own []lock.Entry, record lock.Record,
) ([]lock.Entry, error) {
	for _, e := range own {
		if !store.Self.OutsideJobs() || record.Matches(e) {
			continue
		}
		switch contested, err := store.Lock(*in.Name).Contested(ctx, e); {
		case err != nil:
			return nil, err
		case contested:
			return nil, cli.Refusedf("process %d has called several acquire-locks for lock %q, and which of them gives it back is not known; "+
				"if it is the one that got it: hostguard release-lock -lock-name %s -lock-backend %s -lock-id %.64s",
				store.Self.Parent.PID, *in.Name, *in.Name, *in.Backend, actions.Plain(e.ID))
		}
	}
	return own, nil
}

func nowHeld(entries []lock.Entry) string {
	if len(entries) == 0 {
		return "it is free"
	}
	return "it is " + lockwire.DescribeHolder(entries[0], time.Now())
}
