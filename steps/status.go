package steps

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/internal/pressurewire"
	"hostguard/lock"
	"hostguard/pressure"
)

const helpStatus = `usage: hostguard status [-json] [-watch] [FLAG...]

Prints who holds which lock, since when and from which run, whether the holder is
alive as far as this host shows, who waits, and which heavy builds are running: of
every lock in the store, or of those that -lock-name names. Changes nothing. A lock
is free or

  held         alive: its holder is seen to be alive; unknown: it may be
  orphan       its holder is gone: the next acquire takes it over
  stale        nothing proves that its holder is alive, and it is older than its
               stale-after: the next acquire takes it over
  legacy       created by a plain "docker network create"
  unreadable   its labels are broken or of another version: held until stale

On a terminal the answer comes first, and -watch redraws in place until q or Ctrl-C; in
a pipe -watch prints a line for each change. NO_COLOR, CLICOLOR and CLICOLOR_FORCE
decide about colours. What the history of "hostguard observe" knows is shown too: what
is usual, since when a lock is free, the last hour.

{inputs}

exit status: 0 printed, 2 wrong use, 3 no Docker or no permission.

example: ssh -t HOST hostguard status -watch
`

// hostStatus is one run of status.
type hostStatus struct {
	lockwire.Several
	json, watch bool
	history     string

	*cli.Session
	store *lockwire.Store
}

func (o *hostStatus) Inputs() []cli.Input {
	return append(o.Several.Inputs(), []cli.Input{
		cli.JSONInput(&o.json),
		{Name: "watch", Kind: cli.Bool(&o.watch), FlagOnly: true,
			Text: "look again every 2 seconds, until interrupted"},
		lockwire.HistoryInput(&o.history),
	}...)
}

func (o *hostStatus) Run(ctx context.Context, s *cli.Session) (err error) {
	o.Session = s
	if o.store, err = lockwire.Open(ctx, s, o.Backend, 0); err != nil {
		return err
	}
	if o.watch {
		return o.follow(ctx)
	}
	report, err := o.look(ctx, readPast(s, o.history))
	if err != nil {
		return err
	}
	if style, ok := s.Terminal(); ok && !o.json {
		return s.PrintStyled(report.view(style, time.Local))
	}
	return o.print(report)
}

// print prints a report for a log or a program.
func (o *hostStatus) print(report statusReport) error {
	if o.json {
		return o.JSON(report)
	}
	return report.print(o.Session)
}

// statusReport is what "status -json" prints, in one line per look.
type statusReport struct {
	Version int          `json:"version"` // of this format
	Time    time.Time    `json:"time"`
	Store   string       `json:"store"`
	Locks   []lockReport `json:"locks"`

	Builds json.RawMessage `json:"builds"` // heavy ones, in the format of wait-pressure's output blockers

	others   bool // it is not the store of the host's Docker: others have other locks
	pressure string
	verdict  pressure.Verdict // of the look at builds
	past     past
}

type lockReport struct {
	Name    string        `json:"name"`
	State   lock.State    `json:"state"`   // that of its holder, or "free"
	Holders []entryReport `json:"holders"` // more than one only for a moment, or if it has slots or is shared
	Waiters []entryReport `json:"waiters"` // the next one first
	Slots   int           `json:"slots"`   // how many may hold it
}

const stateFree lock.State = "free"

type entryReport struct {
	ID         string     `json:"id"`
	Since      time.Time  `json:"since"`
	State      lock.State `json:"state,omitempty"` // held, orphan, stale, legacy or unreadable
	Life       string     `json:"life,omitempty"`  // alive, unknown, orphan or stale
	Evidence   string     `json:"evidence,omitempty"`
	Position   int        `json:"position,omitempty"` // of a waiter, from 1
	Repository string     `json:"repository,omitempty"`
	Workflow   string     `json:"workflow,omitempty"`
	Job        string     `json:"job,omitempty"`
	RunURL     string     `json:"run_url,omitempty"`
	Actor      string     `json:"actor,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	Priority   string     `json:"priority,omitempty"`
	PID        int        `json:"pid,omitempty"`
	Reserved   *time.Time `json:"reserved_until,omitempty"`
	Slot       int        `json:"slot,omitempty"`   // from 1, of a holder, if its lock has several
	Shared     bool       `json:"shared,omitempty"` // with others that share it, or waits to
	Next       bool       `json:"next,omitempty"`   // it holds the lock once those that share it have ended

	entry lock.Entry
	who   history.Who
	slots int // of the lock, as its maker counts them; 0 is 1
}

// verdict describes a lock that is held: alive, unknown, orphan or stale, and whether it
// is legacy or unreadable.
func (e entryReport) verdict() string {
	if e.State == lock.StateLegacy || e.State == lock.StateUnreadable {
		return fmt.Sprintf("%s, %s", e.State, e.Life)
	}
	return e.Life
}

// look looks once at the locks and at the builds of this host.
func (o *hostStatus) look(ctx context.Context, known past) (statusReport, error) {
	surveys, err := o.store.Survey(ctx, o.Names...)
	if err != nil {
		return statusReport{}, err
	}
	gate, docker := pressurewire.New(o.Getenv, pressure.Known())
	look, err := gate.Look(ctx)
	if err != nil {
		return statusReport{}, err
	}
	docker.Name(ctx, look)
	report := statusReport{
		Version: 1, Time: time.Now().UTC(), Store: o.store.Identity(ctx),
		Builds: json.RawMessage(blockersJSON(look.Blockers)), pressure: "no heavy build runs",
		verdict: look, past: known, others: o.Backend != lockwire.BackendDocker,
	}
	if !look.Clear() {
		report.pressure = pressurewire.Pressing(look)
	}
	report.pressure += " (" + pressurewire.LookedAt(look) + ")"
	named := o.ByFlag("lock-name")
	for _, survey := range surveys {
		if named && !slices.Contains(o.Names, survey.Name) {
			continue
		}
		l := free(survey.Name, survey.Slots)
		for _, h := range survey.Holders {
			l.Holders = append(l.Holders, reportJudged(h))
			if l.State != lock.StateHeld {
				l.State = h.State()
			}
		}
		l.markNext()
		for i, w := range survey.Waiters {
			e := reportEntry(w)
			e.Position = i + 1
			l.Waiters = append(l.Waiters, e)
		}
		report.Locks = append(report.Locks, l)
	}
	if !named {
		report.addFree(known.locks)
	}
	return report, nil
}

// addFree adds the locks of these names that the store shows nothing of: they are free.
func (r *statusReport) addFree(names []string) {
	for _, name := range names {
		if !slices.ContainsFunc(r.Locks, func(l lockReport) bool { return l.Name == name }) {
			r.Locks = append(r.Locks, free(name, 1))
		}
	}
}

func free(name string, slots int) lockReport {
	return lockReport{Name: name, State: stateFree, Holders: []entryReport{}, Waiters: []entryReport{}, Slots: slots}
}

// markNext marks the holder that keeps the lock from others until it has it alone.
func (l lockReport) markNext() {
	if slices.ContainsFunc(l.Holders, func(h entryReport) bool { return h.Shared }) {
		for i := range l.Holders {
			l.Holders[i].Next = !l.Holders[i].Shared
		}
	}
}

func reportJudged(j lock.Judged) entryReport {
	e := reportEntry(j.Entry)
	e.State, e.Life, e.Evidence = j.State(), j.Verdict.Life.String(), j.Verdict.Evidence
	return e
}

func reportEntry(e lock.Entry) entryReport {
	h, _ := e.Claim()
	report := entryReport{
		ID: e.ID, Since: e.Created, Repository: h.Job.Repository, Workflow: h.Job.Workflow,
		Job: h.Job.Job, RunURL: h.Job.RunURL, Actor: h.Job.Actor, Reason: h.Reason, Priority: h.Priority,
		PID: h.Process.PID, Shared: h.Share, entry: e, who: lockwire.Who(e),
	}
	if until := h.ReservedUntil(); !until.IsZero() {
		report.Reserved = &until
	}
	if report.slots = h.Slots; h.Slots > 1 {
		report.Slot = e.Slot()
	}
	return report
}

func (r statusReport) print(s *cli.Session) error {
	if err := s.Line(r.Store); err != nil {
		return err
	}
	for _, l := range r.Locks {
		if len(l.Holders) == 0 {
			s.Print("lock %q: free", l.Name)
		} else if left := l.Slots - len(l.Holders); left > 0 {
			s.Print("lock %q: %d of %d slots are free", l.Name, left, l.Slots)
		}
		for _, h := range l.Holders {
			next := ""
			if h.Next {
				next = ", which waits until those that share it have ended"
			}
			s.Print("lock %q: %s%s; %s: %s", l.Name, lockwire.DescribeHolder(h.entry, r.Time), next, h.verdict(),
				h.Evidence)
		}
		if len(l.Waiters) == 0 {
			continue
		}
		rows := [][]string{{"  #", "waits since", "repository or person", "job", "priority", "reason"}}
		for i, e := range l.Waiters {
			rows = append(rows, []string{
				fmt.Sprintf("  %d", i+1), cli.Short(r.Time.Sub(e.Since)) + " ago",
				fmt.Sprintf("%.60q", cmp.Or(e.Repository, e.who.Person)),
				fmt.Sprintf("%.60q", e.Job), fmt.Sprintf("%.10q", e.Priority), fmt.Sprintf("%.80q", e.Reason),
			})
		}
		s.Table(rows)
	}
	s.Print("pressure: %s", r.pressure)
	return nil
}
