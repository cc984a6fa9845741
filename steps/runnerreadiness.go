package steps

import (
	"context"
	"fmt"
	"strings"

	"hostguard/runner"
)

func runnerReadiness(ctx context.Context, s *session) error {
	in := s.hostInputs()
	asJSON, asTable := s.in.boolean("json"), s.in.boolean("table")
	s.in.flagOnly("json", "table")
	if err := s.in.parse(); err != nil {
		return err
	}
	if *asJSON && *asTable {
		return usagef("json and table are two forms; give one")
	}
	h := s.lookAtHost(ctx, in)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r := runner.CheckReadiness(h)
	switch {
	case *asJSON:
		if err := s.JSON(struct {
			Version int `json:"version"` // of this form
			runner.Readiness
		}{1, r}); err != nil {
			return err
		}
	case *asTable:
		rows := [][]string{{"name", "value"}}
		for _, f := range readinessFields(h, r) {
			rows = append(rows, []string{f.name, f.value})
		}
		s.Table(rows)
	default:
		for _, f := range readinessFields(h, r) {
			s.Say("%s%s%s", f.name, f.sign, f.value)
		}
	}
	if !r.Ready {
		return &statusError{StatusRefused, errSaid}
	}
	return nil
}

// readinessField is a line of the old report.
type readinessField struct{ name, sign, value string }

func readinessFields(h runner.Host, r runner.Readiness) []readinessField {
	var all []readinessField
	add := func(name, format string, args ...any) {
		all = append(all, readinessField{name, "=", fmt.Sprintf(format, args...)})
	}
	switch {
	case r.Unit != nil:
		add("primary_service", "%s scope=%s LoadState=%s ActiveState=%s SubState=%s", r.PrimaryService, word(r.Unit.Scope), word(r.Unit.Load), word(r.Unit.Active), word(r.Unit.Sub))
	case len(h.UnitsUnseen) > 0:
		add("primary_service", "%s LoadState=unknown", r.PrimaryService)
	default:
		add("primary_service", "%s LoadState=not-found", r.PrimaryService)
	}
	add("primary_runner_dir", "%s", word(r.Dir))
	add("primary_registration_file", "%s", r.Registration)
	all = append(all, readinessField{"primary labels", ":", ""})
	for _, l := range r.Labels {
		var names []string
		for _, name := range l.Labels {
			names = append(names, word(name))
		}
		all = append(all, readinessField{"  " + strings.Join(names, " / "), " -> ", word(l.Class)})
	}
	add("mixed_owner_classes", "%s", cond(r.Mixed, "1", "0"))
	for _, d := range r.SplitDirs {
		add("split_dir", "%s status=%s", word(d.Dir), d.Status)
	}
	add("installed_split_services", "%d/%d", r.InstalledServices, r.WantedServices)
	add("active_action_containers", "%s", active(h))
	add("active_host_jobs", "%s", activeHostJobs(h))
	add("isolation_ready", "%t", r.Ready)
	add("blocker", "%s", r.Blocker)
	add("safe_next_step", "%s", r.Next)
	for _, why := range r.Unseen {
		add("not_seen", "%s", why)
	}
	return all
}
