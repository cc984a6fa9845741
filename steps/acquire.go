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

Several locks are taken one after the other, in the order of their names wherever
they are taken, so that two jobs never wait for each other: all of them within one
timeout, or none. The output lock-id then has their IDs in that order.

{inputs}

outputs: lock-id, acquired, waited-seconds, took-over-from, fence

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
	Fence    uint64        `json:"fence,omitempty"`     // of the only lock; see check-fence
	Again    bool          `json:"reentered,omitempty"` // an earlier step of the job holds it
	Slot     int           `json:"slot,omitempty"`      // from 1, of the only lock, if it has several
	Shared   bool          `json:"shared,omitempty"`
	Waited   float64       `json:"waited_seconds"`
	TookOver []entryReport `json:"took_over"` // from holders that are gone
	Error    string        `json:"error,omitempty"`

	Locks []lockID `json:"locks,omitempty"` // each of several, in the order in which they are taken
}

// lockID is one of several locks that are held.
type lockID struct {
	Lock  string `json:"lock"`
	ID    string `json:"id"`
	Fence uint64 `json:"fence,omitempty"`
	Slot  int    `json:"slot,omitempty"`
	Again bool   `json:"reentered,omitempty"`
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
	r.Version, r.Lock, r.Backend = 1, a.String(), a.Backend
	if r.TookOver == nil {
		r.TookOver = []entryReport{}
	}
	return s.JSON(r)
}

func (a *acquireLock) acquire(ctx context.Context, s *cli.Session) error {
	if err := s.CheckFiles(); err != nil {
		return err
	}
	a.unfold = sync.OnceFunc(s.Group("hostguard acquire-lock %q", a.String()))
	defer func() { a.unfold() }()
	set, err := a.take(ctx, s, func([]*lockwire.Store) error { return nil })
	if err != nil {
		return err
	}
	if err := a.leave(s, set); err != nil {
		return errors.Join(err, set.giveBack(ctx))
	}
	taken := set.taken()
	for _, l := range taken {
		l.m.Finish()
		s.Print("acquired lock %q after %s (id %s)%s", l.Lock, cli.Short(l.waited), l.held.ID, a.placeOf(l.held))
	}
	for _, l := range set {
		if l.above {
			s.Print("this job already holds the lock %q (id %.12s), and keeps it until the release of its first "+
				"acquire-lock", l.Lock, l.held.ID)
		}
	}
	if len(taken) > 0 {
		a.printReleaseHint(s, taken)
	}
	return nil
}

// leave leaves what the release of the job needs, and the outputs.
func (a *acquireLock) leave(s *cli.Session, set locks) error {
	report := acquireReport{Acquired: true, ID: set.ids(), Shared: a.share, Again: len(set.taken()) == 0}
	var errs []error
	var records []string
	var waited time.Duration
	var from []lock.Judged
	for _, l := range set {
		record := "reentered"
		if !l.above {
			record = lock.Record{ID: l.held.ID, Nonce: l.store.Self.Nonce}.String()
			errs = append(errs, s.Env(heldVariable(l.Options), record))
		}
		records = append(records, record)
		waited += l.waited
		from = append(from, l.held.TookOverFrom...)
		report.Locks = append(report.Locks, lockID{l.Lock, l.held.ID, l.held.Fence, a.slotOf(l.held), l.above})
	}
	for _, j := range from {
		report.TookOver = append(report.TookOver, reportJudged(j))
	}
	report.Waited = waited.Seconds()
	if len(set) == 1 {
		report.Fence, report.Slot, report.Locks = set[0].held.Fence, a.slotOf(set[0].held), nil
	}
	return errors.Join(append(errs, s.State("record", strings.Join(records, ",")),
		writeOutputs(s, set, waited, from), a.report(s, report))...)
}

// printReleaseHint prints, outside a workflow, the command that gives the locks back.
func (a *acquireLock) printReleaseHint(s *cli.Session, taken locks) {
	self := taken[0].store.Self
	release := fmt.Sprintf("hostguard release-lock -lock-name %s -lock-backend %s", taken.names(), a.Backend)
	switch {
	case s.InWorkflow():
	case !self.SameJob(self) && !self.SameCaller(self): // no shell above, or a remote engine
		s.Warning("no release-lock can recognize lock %q as its own; use with-lock, or give it back with: %s "+
			"-lock-id %s", taken.names(), release, taken.ids())
	default:
		s.Print("give it back from this shell with: %s", release)
	}
}

// writeOutputs sets the outputs of acquired locks.
func writeOutputs(s *cli.Session, set locks, waited time.Duration, from []lock.Judged) error {
	var taken []string
	for _, e := range from {
		taken = append(taken, fmt.Sprintf("%.64s (%s: %s)", actions.Plain(e.ID), e.Verdict.Life, e.Verdict.Evidence))
	}
	return errors.Join(
		s.Output("lock-id", set.ids()), s.Output("acquired", "true"),
		s.Output("waited-seconds", strconv.Itoa(int(waited.Seconds()))),
		s.Output("took-over-from", actions.Value(strings.Join(taken, ", "))), s.Output("fence", set.fence()),
	)
}
