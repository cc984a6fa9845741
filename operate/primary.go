package operate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/runnerdir"
	"hostguard/internal/systemd"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/shell"
	"hostguard/runner/workflow"
)

// The changes that take labels from the primary of a split.

// planPrimary returns the changes that take the moved labels from the primary; none if
// it has none of them any more.
func (v *splitting) planPrimary() ([]change, error) {
	stays := runner.Stays(v.plan, v.h)
	switch len(stays) {
	case 0:
		return v.stopPrimary(), nil
	case len(v.h.Config.Labels):
		return nil, nil
	}
	return v.relabelPrimary(stays)
}

// stopPrimary returns the changes that stop a primary whose labels all moved; none if it
// is stopped already.
func (v *splitting) stopPrimary() []change {
	if v.unit.Name == "" || v.unit.Off() {
		return nil
	}
	start := []string{"enable", "--now", v.primary.Name}
	switch {
	case v.unit.File != "enabled":
		start = []string{"start", v.primary.Name}
	case v.unit.Active != "active":
		start = []string{"enable", v.primary.Name}
	}
	v.back = append([]string{v.manager().command(start...)}, v.back...)
	stop := []string{"disable", "--now", v.primary.Name}
	turn := v.manager().turn(stop, start, nil)
	turn.text += ", as others have all its labels"
	return []change{v.idle(), turn}
}

// relabelPrimary returns the changes that leave the primary only the labels that stay.
func (v *splitting) relabelPrimary(stays []config.Label) ([]change, error) {
	if v.unit.Active != "active" {
		return nil, cli.Refusedf("the primary's service %q is %.20q; start it first, so that it serves the labels that "+
			"stay", v.unit.Name, v.unit.Active)
	}
	var labels []string
	for _, l := range stays {
		labels = append(labels, l.Full)
	}
	path := v.h.ConfigPath
	is, edits, err := config.Edit(v.h.ConfigText, config.Want{Labels: labels})
	if err != nil {
		return nil, cli.Refusedf("edit %q: %w", path, err)
	}
	kept := runnerdir.Kept(path)
	restart := v.manager().command("restart", v.primary.Name)
	v.back = append([]string{fmt.Sprintf("mv %s %s && %s", shell.Quote(filepath.Join(filepath.Dir(path), kept)),
		shell.Quote(path), restart)}, v.back...)
	restarted := false
	again := func(ctx context.Context) error { return v.manager().control(ctx, "restart", v.primary.Name) }
	return []change{v.idle(), {
		text: fmt.Sprintf("in %q: %s; the previous file is kept as %q; %s", path, strings.Join(edits, ", "), kept,
			restart),
		do: func(ctx context.Context) error {
			if err := v.host.files.Replace(ctx, path, kept, v.h.ConfigText, is); err != nil {
				return err
			}
			restarted = true
			if err := again(ctx); err != nil {
				return err
			}
			return v.manager().checkRuns(ctx, v.primary.Name)
		},
		undo: func(ctx context.Context) error {
			err := v.host.files.Restore(ctx, path, kept, v.h.ConfigText, is)
			if restarted {
				err = errors.Join(err, again(ctx))
			}
			return err
		},
	}}, nil
}

// idle returns the change that waits until no job of the primary runs.
func (v *splitting) idle() change {
	return change{
		text: fmt.Sprintf("check that no job of %q runs%s", v.primary.Name,
			choose(v.wait > 0, ", within "+config.Duration(v.wait), "")),
		do: func(ctx context.Context) error {
			return untilIdle(ctx, v.Session, v.wait, func() string { return v.busy(ctx) })
		},
	}
}

// busy describes what may be a job of the primary: jobs that the new runners' logs name,
// and those in their directories, are not.
func (v *splitting) busy(ctx context.Context) string {
	v.host.readJobs(ctx, v.Session, &v.h)
	h := v.h
	for _, r := range runner.Moves(v.plan, v.h.Dir) {
		h.ActiveHostJobs = slices.DeleteFunc(slices.Clone(h.ActiveHostJobs),
			func(dir string) bool { return strings.HasPrefix(dir, r.Dir+"/") })
		if len(h.ActiveContainers) == 0 {
			continue
		}
		var tasks []runner.Task
		err := systemd.Log(ctx, runner.Unit{Name: r.Service, Scope: v.primary.Scope}, 24*time.Hour, func(line string) {
			if task, found := runner.ParseTask(line); found {
				tasks = append(tasks, task)
			}
		})
		if err == nil { // else they may be the primary's
			h.ActiveContainers = runner.ContainersWithout(h.ActiveContainers, tasks)
		}
	}
	return h.Busy()
}

// servedOnce returns the change that checks that each label is served by the runner of
// the plan alone.
func (v *splitting) servedOnce() change {
	var dirs []string // those of the plan, and the primary's
	for _, r := range append(slices.Clone(v.plan), runner.SplitRunner{Dir: v.h.Dir}) {
		if !slices.Contains(dirs, r.Dir) {
			dirs = append(dirs, r.Dir)
		}
	}
	return change{
		text: fmt.Sprintf("check that each label is served by the runner of the plan alone, within %s",
			cli.Short(servedTime)),
		do: func(ctx context.Context) error {
			return until(ctx, servedTime, func() error {
				all, err := v.runners()
				if err != nil {
					return err
				}
				var runners []workflow.Runner
				for _, dir := range dirs {
					l, err := v.live(ctx, all, dir)
					if err != nil {
						return err
					}
					runners = append(runners, l)
				}
				for i, r := range v.plan {
					for _, label := range r.Labels {
						if by := workflow.Served(label, runners); !slices.Equal(by, []string{runners[i].Name}) {
							return fmt.Errorf("label %q is served by %s, not by %q alone", label,
								cmp.Or(quotedList(by), "none"), runners[i].Name)
						}
					}
				}
				return nil
			})
		},
	}
}
