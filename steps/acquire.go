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

const helpAcquireLock = `usage: hostguard acquire-lock [-input value ...]

Acquires the host-wide lock, waiting its turn, and keeps it until release-lock.
While it waits it prints who holds the lock, since when and from which run.

{inputs}

outputs: lock-id, acquired, waited-seconds, took-over-from

exit status: 0 acquired, 1 not free in time, 2 wrong use, 3 no Docker or no
permission, 130 or 143 interrupted (and everything undone).

example: hostguard acquire-lock -timeout 30m -reason "image build"
`

// acquireLock is one run of acquire-lock.
type acquireLock struct {
	acquireOptions
	mode string
}

func (a *acquireLock) Inputs() []cli.Input {
	return append(a.acquireOptions.Inputs(), cli.Input{
		Name: "mode", Kind: cli.Choice(&a.mode, cli.HardFail, cli.WarnOnly), Default: cli.HardFail,
		Text: "warn-only warns and continues without the lock"})
}

func (a *acquireLock) Run(ctx context.Context, s *cli.Session) error {
	s.PrintInputs()
	noticeOtherLock(s)
	err := a.acquire(ctx, s)
	if err != nil {
		s.Output("acquired", "false")
	}
	return s.Soften(ctx, a.mode, err)
}

func (a *acquireLock) acquire(ctx context.Context, s *cli.Session) error {
	if err := s.CheckFiles(); err != nil {
		return err
	}
	end := s.Group("hostguard acquire-lock %q", a.Lock)
	defer func() { end() }()
	waiting, cancel := a.deadline(ctx)
	defer cancel()
	store, err := a.open(waiting, s)
	if err != nil {
		return err
	}
	m := store.Lock(a.Lock)
	if e, ok := reentered(waiting, s, m, a.Options); ok {
		s.Print("this job already holds the lock (id %.12s), and keeps it until the release of its first acquire-lock",
			e.ID)
		s.State("record", "reentered")
		return writeOutputs(s, e.ID, 0, nil)
	}
	start := time.Now()
	held, err := a.hold(waiting, s, m, store)
	if err == nil && ctx.Err() != nil { // interrupted after the lock was acquired
		err = errors.Join(context.Cause(ctx), m.Release(ctx, held.ID))
	}
	if err != nil {
		return err
	}
	waited := time.Since(start)
	record := lock.Record{ID: held.ID, Nonce: store.Self.Nonce}
	if err := errors.Join(s.Env(heldVariable(a.Options), record.String()), s.State("record", record.String()),
		writeOutputs(s, held.ID, waited, held.TookOverFrom)); err != nil {
		return errors.Join(err, m.Release(ctx, held.ID))
	}
	m.Finish()
	s.Print("acquired lock %q after %s (id %s)", a.Lock, cli.Short(waited), held.ID)
	a.printReleaseHint(s, store, held.ID)
	return nil
}

// printReleaseHint prints, outside a workflow, the command that gives the lock back.
func (a *acquireLock) printReleaseHint(s *cli.Session, store *lockwire.Store, id string) {
	switch {
	case s.InWorkflow():
	case !store.Self.SameJob(store.Self) && !store.Self.SameCaller(store.Self): // no shell above, or a remote engine
		s.Warning("no release-lock can recognize lock %q as its own; use with-lock, or give it back with: hostguard "+
			"release-lock -lock-name %s -lock-backend %s -lock-id %s", a.Lock, a.Lock, a.Backend, id)
	default:
		s.Print("give it back from this shell with: hostguard release-lock -lock-name %s -lock-backend %s", a.Lock,
			a.Backend)
	}
}

// writeOutputs sets the outputs of an acquired lock.
func writeOutputs(s *cli.Session, id string, waited time.Duration, from []lock.Judged) error {
	var taken []string
	for _, e := range from {
		taken = append(taken, fmt.Sprintf("%.64s (%s: %s)", actions.Plain(e.ID), e.Verdict.Life, e.Verdict.Evidence))
	}
	return errors.Join(
		s.Output("lock-id", id), s.Output("acquired", "true"),
		s.Output("waited-seconds", strconv.Itoa(int(waited.Seconds()))),
		s.Output("took-over-from", actions.Value(strings.Join(taken, ", "))),
	)
}
