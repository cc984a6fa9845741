package steps

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"hostguard/internal/actions"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

const helpAcquireLock = `usage: hostguard acquire-lock [FLAG...]

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
	json bool
}

func (a *acquireLock) Inputs() []cli.Input {
	return append(a.acquireOptions.Inputs(), cli.Input{
		Name: "mode", Kind: cli.Choice(&a.mode, cli.HardFail, cli.WarnOnly), Default: cli.HardFail,
		Text: "warn-only warns and continues without the lock"}, cli.JSONInput(&a.json), cli.QuietInput())
}

// acquireReport is what "acquire-lock -json" prints.
type acquireReport struct {
	Version  int           `json:"version"` // of this format
	Lock     string        `json:"lock"`
	Backend  string        `json:"backend"`
	Acquired bool          `json:"acquired"`
	ID       string        `json:"id,omitempty"`
	Again    bool          `json:"reentered,omitempty"` // an earlier step of the job holds it
	Waited   float64       `json:"waited_seconds"`
	TookOver []entryReport `json:"took_over"` // from holders that are gone
	Error    string        `json:"error,omitempty"`
}

func (a *acquireLock) Run(ctx context.Context, s *cli.Session) error {
	s.PrintInputs()
	noticeOtherLock(s)
	begin := time.Now()
	err := a.acquire(ctx, s)
	if err != nil {
		s.Output("acquired", "false")
	}
	if status := cli.StatusOf(err); a.json && (status == cli.StatusRefused || status == cli.StatusFailed) {
		err = errors.Join(err, a.report(s, acquireReport{Waited: time.Since(begin).Seconds(), Error: cli.OneLine(err)}))
	}
	return s.Soften(ctx, a.mode, err)
}

// report prints the JSON, if it is asked for.
func (a *acquireLock) report(s *cli.Session, r acquireReport) error {
	if !a.json {
		return nil
	}
	r.Version, r.Lock, r.Backend = 1, a.Lock, a.Backend
	if r.TookOver == nil {
		r.TookOver = []entryReport{}
	}
	return s.JSON(r)
}

func (a *acquireLock) acquire(ctx context.Context, s *cli.Session) error {
	if err := s.CheckFiles(); err != nil {
		return err
	}
	a.unfold = sync.OnceFunc(s.Group("hostguard acquire-lock %q", a.Lock))
	defer func() { a.unfold() }()
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
		return errors.Join(writeOutputs(s, e.ID, 0, nil),
			a.report(s, acquireReport{Acquired: true, ID: e.ID, Again: true}))
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
	report := acquireReport{Acquired: true, ID: held.ID, Waited: waited.Seconds()}
	for _, from := range held.TookOverFrom {
		report.TookOver = append(report.TookOver, reportJudged(from))
	}
	if err := errors.Join(s.Env(heldVariable(a.Options), record.String()), s.State("record", record.String()),
		writeOutputs(s, held.ID, waited, held.TookOverFrom), a.report(s, report)); err != nil {
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
