package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"hostguard/internal/actions"
	"hostguard/internal/proc"
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
	m, engine, err := s.mutex(ctx, in, 0)
	if err != nil {
		return err
	}
	for {
		report, err := s.survey(ctx, m, engine)
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
	Holders []entryReport `json:"holders"`
	Waiters []entryReport `json:"waiters"` // the next one first
}

type entryReport struct {
	ID         string    `json:"id"`
	Since      time.Time `json:"since"`
	Life       string    `json:"life,omitempty"` // alive, unknown, orphan or stale
	Evidence   string    `json:"evidence,omitempty"`
	Legacy     bool      `json:"legacy,omitempty"` // made without hostguard
	Repository string    `json:"repository,omitempty"`
	Workflow   string    `json:"workflow,omitempty"`
	Job        string    `json:"job,omitempty"`
	RunURL     string    `json:"run_url,omitempty"`
	Actor      string    `json:"actor,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Priority   string    `json:"priority,omitempty"`
	PID        int       `json:"pid,omitempty"`

	entry lock.Entry
}

func (s *session) survey(ctx context.Context, m *lock.Mutex, engine store) (statusReport, error) {
	surveys, err := m.Survey(ctx)
	if err != nil {
		return statusReport{}, err
	}
	gate := pressure.Gate{Table: proc.Table{}, Rules: pressure.Known(), PID: os.Getpid(), Own: ownDirs(s.Getenv)}
	look, err := gate.Look(ctx)
	if err != nil {
		return statusReport{}, err
	}
	report := statusReport{
		Version: 1, Time: time.Now().UTC(), Store: engine.describe(ctx),
		Builds: json.RawMessage(blockersJSON(look.Blockers)), pressure: "no heavy build runs",
	}
	if !look.Clear() {
		report.pressure = blockers(pressure.Attempt{Verdict: look})
	}
	report.pressure += fmt.Sprintf(" (looked at %d processes: %s)", look.Seen, look.Scope)
	for _, survey := range surveys {
		l := lockReport{Name: survey.Name, Holders: []entryReport{}, Waiters: []entryReport{}}
		for _, h := range survey.Holders {
			e := reportEntry(h.Entry)
			e.Life, e.Evidence = h.Verdict.Life.String(), h.Verdict.Evidence
			l.Holders = append(l.Holders, e)
		}
		for _, w := range survey.Waiters {
			l.Waiters = append(l.Waiters, reportEntry(w))
		}
		report.Locks = append(report.Locks, l)
	}
	return report, nil
}

func reportEntry(e lock.Entry) entryReport {
	h, ours := e.Holder()
	return entryReport{
		ID: e.ID, Since: e.Created, Legacy: !ours, Repository: h.Job.Repository, Workflow: h.Job.Workflow,
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
			s.Say("lock %q: %s; %s: %s", l.Name, describeHolder(h.entry, r.Time), h.Life, h.Evidence)
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
