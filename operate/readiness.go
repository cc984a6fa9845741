package operate

import (
	"context"
	"fmt"
	"strings"

	"hostguard/internal/cli"
	"hostguard/runner"
)

const helpRunnerReadiness = `Prints whether a runner whose labels belong to several owners can be split now:
each label's owner class, the directories and services of the split, running jobs,
what blocks the split, and the next safe step. Changes nothing. If there is
something to split, anything that could not be seen makes it not ready.

{inputs}

The runner of an owner lives in act-runner-OWNER beside the primary's directory,
and its service is gitea-act-runner-OWNER.service.

exit status: 0 isolation_ready=true, 1 false, 2 wrong use.

example: hostguard runner readiness -owner shop
`

// readiness is one run of runner readiness.
type readiness struct {
	hostOptions
	json, table bool
}

func (o *readiness) Inputs() []cli.Input {
	return append(o.hostOptions.Inputs(), cli.JSONInput(&o.json),
		cli.Input{Name: "table", Kind: cli.Bool(&o.table), FlagOnly: true, Text: "print a table"})
}

func (o *readiness) Run(ctx context.Context, s *cli.Session) error {
	if o.json && o.table {
		return cli.Usagef("give only one of -json and -table")
	}
	h := o.look(ctx, s)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r := runner.CheckReadiness(h)
	switch {
	case o.json:
		if err := s.JSON(struct {
			Version int `json:"version"` // of this format
			runner.Readiness
		}{1, r}); err != nil {
			return err
		}
	case o.table:
		rows := [][]string{{"name", "value"}}
		for _, f := range readinessFields(h, r) {
			rows = append(rows, []string{f.name, f.value})
		}
		s.Table(rows)
	default:
		for _, f := range readinessFields(h, r) {
			s.Print("%s%s%s", f.name, f.sign, f.value)
		}
	}
	if !r.Ready {
		return cli.WithStatus(cli.StatusRefused, cli.ErrReported)
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
		add("primary_service", "%s scope=%s LoadState=%s ActiveState=%s SubState=%s", r.PrimaryService,
			cli.Word(r.Unit.Scope), cli.Word(r.Unit.Load), cli.Word(r.Unit.Active), cli.Word(r.Unit.Sub))
	case len(h.UnitsUnseen) > 0:
		add("primary_service", "%s LoadState=unknown", r.PrimaryService)
	default:
		add("primary_service", "%s LoadState=not-found", r.PrimaryService)
	}
	add("primary_runner_dir", "%s", cli.Word(r.Dir))
	add("primary_registration_file", "%s", r.Registration)
	all = append(all, readinessField{"primary labels", ":", ""})
	for _, l := range r.Labels {
		var names []string
		for _, name := range l.Labels {
			names = append(names, cli.Word(name))
		}
		all = append(all, readinessField{"  " + strings.Join(names, " / "), " -> ", cli.Word(l.Class)})
	}
	add("mixed_owner_classes", "%s", choose(r.Mixed, "1", "0"))
	for _, d := range r.SplitDirs {
		add("split_dir", "%s status=%s", cli.Word(d.Dir), d.Status)
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
