package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"hostguard/internal/actions"
	"hostguard/lock"
	"hostguard/pressure"
)

const (
	watchEvery     = 2 * time.Second // status -watch looks
	statusPatience = 3 * time.Second // for a Gitea that is asked whether runs go on
)

func hostStatus(ctx context.Context, s *session) error {
	in := s.lockInputs()
	asJSON := s.in.boolean("json")
	watch := s.in.boolean("watch")
	s.in.flagOnly("json", "watch")
	if err := s.in.parse(); err != nil {
		return err
	}
	_, engine, err := s.mutex(ctx, in, 0)
	if err != nil {
		return err
	}
	for {
		report, err := s.survey(ctx, *in.name, engine)
		if err != nil {
			return err
		}
		if *asJSON {
			err = s.JSON(report)
		} else {
			err = report.print(s)
		}
		if err != nil || !*watch {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(watchEvery):
		}
	}
}

// statusReport is what "status -json" prints, one line each look.
type statusReport struct {
	Version int          `json:"version"` // of this form
	Time    time.Time    `json:"time"`
	Store   string       `json:"store"`
	Locks   []lockReport `json:"locks"`

	Builds json.RawMessage `json:"builds"` // heavy ones, as wait-pressure's output blockers

	pressure string
}

type lockReport struct {
	Name    string        `json:"name"`
	State   lock.State    `json:"state"`   // that of its holder, or "free"
	Holders []entryReport `json:"holders"` // more than one only for a moment
	Waiters []entryReport `json:"waiters"` // the next one first
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

	entry lock.Entry
}

// verdict is what there is to say of a lock that is held: alive or unknown,
// orphan, stale; and whether it is legacy or unreadable.
func (e entryReport) verdict() string {
	if e.State == lock.StateLegacy || e.State == lock.StateUnreadable {
		return fmt.Sprintf("%s, %s", e.State, e.Life)
	}
	return e.Life
}

func (s *session) survey(ctx context.Context, name string, engine store) (statusReport, error) {
	surveys, err := engine.Survey(ctx, name)
	if err != nil {
		return statusReport{}, err
	}
	gate, docker := s.gate(pressure.Known(), dockerTime)
	look, err := gate.Look(ctx)
	if err != nil {
		return statusReport{}, err
	}
	docker.name(ctx, look.Blockers)
	report := statusReport{
		Version: 1, Time: time.Now().UTC(), Store: engine.describe(ctx),
		Builds: json.RawMessage(blockersJSON(look.Blockers)), pressure: "no heavy build runs",
	}
	if !look.Clear() {
		report.pressure = pressing(look)
	}
	report.pressure += " (" + lookedAt(look) + ")"
	for _, survey := range surveys {
		l := lockReport{Name: survey.Name, State: stateFree, Holders: []entryReport{}, Waiters: []entryReport{}}
		for _, h := range survey.Holders {
			l.Holders = append(l.Holders, reportJudged(h))
			l.State = h.State()
		}
		for i, w := range survey.Waiters {
			e := reportEntry(w)
			e.Position = i + 1
			l.Waiters = append(l.Waiters, e)
		}
		report.Locks = append(report.Locks, l)
	}
	return report, nil
}

func reportJudged(j lock.Judged) entryReport {
	e := reportEntry(j.Entry)
	e.State, e.Life, e.Evidence = j.State(), j.Verdict.Life.String(), j.Verdict.Evidence
	return e
}

func reportEntry(e lock.Entry) entryReport {
	h, _ := e.Claim()
	return entryReport{
		ID: e.ID, Since: e.Created, Repository: h.Job.Repository, Workflow: h.Job.Workflow,
		Job: h.Job.Job, RunURL: h.Job.RunURL, Actor: h.Job.Actor, Reason: h.Reason, Priority: h.Priority,
		PID: h.Process.PID, entry: e,
	}
}

func (r statusReport) print(s *session) error {
	if _, err := fmt.Fprintln(s.out, actions.Plain(r.Store)); err != nil {
		return err // nobody reads any more
	}
	for _, l := range r.Locks {
		if len(l.Holders) == 0 {
			s.Say("lock %q: free", l.Name)
		}
		for _, h := range l.Holders {
			s.Say("lock %q: %s; %s: %s", l.Name, describeHolder(h.entry, r.Time), h.verdict(), h.Evidence)
		}
		if len(l.Waiters) == 0 {
			continue
		}
		rows := [][]string{{"  #", "waits since", "repository", "job", "priority", "reason"}}
		for i, e := range l.Waiters {
			rows = append(rows, []string{
				fmt.Sprintf("  %d", i+1), short(r.Time.Sub(e.Since)) + " ago", fmt.Sprintf("%.60q", e.Repository),
				fmt.Sprintf("%.60q", e.Job), fmt.Sprintf("%.10q", e.Priority), fmt.Sprintf("%.80q", e.Reason),
			})
		}
		s.Table(rows)
	}
	s.Say("pressure: %s", r.pressure)
	return nil
}
