package operate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hostguard/internal/cli"
	"hostguard/internal/gitea"
	"hostguard/internal/runnerdir"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/shell"
	"hostguard/runner/workflow"
)

// The changes that create one runner of a split.

// service returns the service for a runner of the plan.
func (v *splitting) service(r runner.SplitRunner) runner.Service {
	return runner.Service{
		Name: r.Service, Scope: v.primary.Scope, Dir: r.Dir, ConfigPath: configOf(r),
		RegistrationPath: filepath.Join(r.Dir, ".runner"), Binary: v.primary.Binary, User: v.primary.User,
		ShutdownTimeout: shutdownTime, Environment: v.unit.Environment, EnvironmentFiles: v.unit.EnvironmentFiles,
	}
}

// planRunner returns the changes that create one runner of the plan; none if it exists
// and runs.
func (v *splitting) planRunner(ctx context.Context, r runner.SplitRunner) ([]change, error) {
	var changes []change
	sv := v.service(r)
	switch c, registered := v.found[r.Dir]; {
	case registered:
		if err := r.CheckConfig(c); err != nil {
			return nil, cli.Refusedf("the runner in %q is registered already, but %w; change its config.yaml, or the "+
				"plan", r.Dir, err)
		}
		sv.ShutdownTimeout, sv.RegistrationPath = c.ShutdownTimeout, v.host.registrationOf(ctx, r.Dir, configOf(r))
	case v.host.files.Exists(ctx, r.Dir):
		return nil, cli.Refusedf("%q exists without a registration, so its runner is not known; move it away", r.Dir)
	default:
		var err error
		if changes, err = v.newRunner(r); err != nil {
			return nil, err
		}
	}
	unit, found, err := v.h.Adopt(sv)
	switch {
	case err != nil:
		return nil, cli.Refusedf("runner of %q: %w", r.Owner, err)
	case found && unit.Name != sv.Name:
		return nil, cli.Refusedf("the runner in %q has the unit %q; write that into the plan", r.Dir, unit.Name)
	case found && unit.Active == "active":
		return changes, nil
	case sv.Binary == "":
		return nil, cli.Refusedf("the runner in %q does not run, and no unit of the primary in %q names the program "+
			"for it; start it: %s",
			r.Dir, v.h.Dir, v.manager().command("enable", "--now", sv.Name))
	}
	service, err := v.manager().install(sv)
	if err != nil {
		return nil, err
	}
	v.back = append(v.back, v.manager().removal(sv))
	if len(changes) > 0 {
		v.back = append(v.back, fmt.Sprintf("rm -r %s; remove its runner at %q", shell.Quote(r.Dir), v.h.Config.Server))
	}
	return append(changes, service...), nil
}

// newRunner returns the changes that create the directory of a runner and register it.
func (v *splitting) newRunner(r runner.SplitRunner) ([]change, error) {
	host, err := os.Hostname()
	if err != nil || cli.Word(host) != host {
		return nil, cli.Refusedf("the host name %.100q cannot be part of a runner's name; set a plain one", host)
	}
	want := config.Want{
		Capacity: 1, ShutdownTimeout: shutdownTime, Registration: ".runner",
		CacheDir: filepath.Join(r.Dir, ".cache/actcache"), WorkdirParent: filepath.Join(r.Dir, ".cache/act"),
	}
	if env := v.h.Config.EnvFile; env != "" && !filepath.IsAbs(env) {
		want.EnvFile = filepath.Join(v.h.Dir, env)
	}
	text, edits, err := config.Edit(v.h.ConfigText, want)
	var labels []string
	if err == nil {
		for _, l := range r.Takes(v.h.Config.Labels) {
			labels = append(labels, l.Full)
		}
		text, _, err = config.Edit(text, config.Want{Labels: labels})
	}
	if err != nil {
		return nil, cli.Refusedf("copy %q: %w", v.h.ConfigPath, err)
	}
	uid, _ := strconv.Atoi(v.owner.Uid)
	is := gitea.Registration{
		Server: strings.TrimSuffix(v.h.Config.Server, "/"), Name: host + "-" + r.Owner, Labels: labels,
	}
	var made runnerdir.Identity
	begun := false
	create := change{
		text: fmt.Sprintf("create %q, for %q alone, with a copy of %q that has the labels %s: %s", r.Dir,
			v.owner.Username, v.h.ConfigPath, quotedList(r.Labels), strings.Join(edits, ", ")),
		do: func(ctx context.Context) (err error) {
			made, err = v.host.files.Make(ctx, uid, r.Dir, text)
			begun = err == nil // else it has undone itself
			return err
		},
		undo: func(ctx context.Context) error {
			if !begun {
				return nil
			}
			if err := v.checkStopped(ctx, r); err != nil {
				return err
			}
			return v.host.files.Remove(ctx, uid, r.Dir, made)
		},
	}
	keep := func(ctx context.Context, file []byte) error {
		return v.host.files.Register(ctx, uid, r.Dir, made, file)
	}
	return []change{create, v.registration(r, is, keep)}, nil
}

// registration returns the change that registers a runner and has its registration kept
// in its new directory. The server is that of the checkout: see checkServer.
func (v *splitting) registration(r runner.SplitRunner, is gitea.Registration,
	keep func(ctx context.Context, file []byte) error) change {
	return change{
		text: fmt.Sprintf("register %q at %q", is.Name, is.Server),
		do: func(ctx context.Context) (err error) {
			if is, err = gitea.Register(ctx, is, v.token); err != nil {
				return err
			}
			file, err := is.File()
			if err == nil {
				err = keep(ctx, file)
			}
			if err != nil {
				return fmt.Errorf("keep the registration of %q: %w", is.Name, err)
			}
			return nil
		},
		undo: func(ctx context.Context) error { return v.unregister(ctx, r, is) },
	}
}

// checkStopped fails unless a runner has stopped: the directory and the registration of
// a runner that waits for its job must stay.
func (v *splitting) checkStopped(ctx context.Context, r runner.SplitRunner) error {
	u, err := v.manager().unit(ctx, r.Service)
	if err == nil && u.Active != "inactive" && u.Active != "failed" {
		err = fmt.Errorf("%q is %.20q: a job of it may run", r.Service, u.Active)
	}
	if err != nil {
		return fmt.Errorf("%w; once it has stopped, remove %q and its runner at the server", err, r.Dir)
	}
	return nil
}

// unregister undoes a registration that was made, or begun.
func (v *splitting) unregister(ctx context.Context, r runner.SplitRunner, is gitea.Registration) error {
	if err := v.checkStopped(ctx, r); err != nil {
		return err
	}
	by := fmt.Sprintf("remove it at %q by hand", is.Server)
	if is.ID != 0 && !v.registeredBefore(is.ID) {
		if err := v.inventory.RemoveRunner(v.takes, is.ID, is.Name); err != nil {
			return fmt.Errorf("%w; %s", err, by)
		}
		return nil
	}
	// A reply may have been lost: a runner of this name that was not registered before may
	// be this one or somebody else's.
	runners, err := v.inventory.RunnersOf(v.takes)
	if err != nil {
		return fmt.Errorf("whether a runner %q was left behind is not known: %w; if so, %s", is.Name, err, by)
	}
	for _, l := range runners {
		if l.Name == is.Name && !v.registeredBefore(l.ID) {
			return fmt.Errorf("runner %q (id %d) may have been left behind; if so, %s", is.Name, l.ID, by)
		}
	}
	return nil
}

// registeredBefore reports whether the server had a runner of this id before.
func (v *splitting) registeredBefore(id int64) bool {
	return slices.ContainsFunc(v.before, func(l workflow.Runner) bool { return l.ID == id })
}

// smokeTest returns the change that checks that a runner serves its labels.
func (v *splitting) smokeTest(r runner.SplitRunner) change {
	return change{
		text: fmt.Sprintf("check that %q runs and that its runner is online with %s, within %s", r.Service,
			quotedList(r.Labels), cli.Short(smokeTime)),
		do: func(ctx context.Context) error {
			return until(ctx, smokeTime, func() error {
				u, err := v.manager().unit(ctx, r.Service)
				if err != nil {
					return err
				}
				if u.Active != "active" {
					return fmt.Errorf("%q is %.20q", r.Service, u.Active)
				}
				runners, err := v.runners()
				if err != nil {
					return err
				}
				l, err := v.live(ctx, runners, r.Dir)
				switch {
				case err != nil:
					return err
				case !l.Online || l.Disabled:
					return fmt.Errorf("the server shows the runner %q as offline or disabled", l.Name)
				case !sameSet(l.Labels, r.Labels):
					return fmt.Errorf("the runner %q has the labels %s, not %s", l.Name, quotedList(l.Labels),
						quotedList(r.Labels))
				}
				return nil
			})
		},
	}
}

func sameSet(a, b []string) bool {
	in := func(all []string) func(string) bool { return func(s string) bool { return !slices.Contains(all, s) } }
	return !slices.ContainsFunc(a, in(b)) && !slices.ContainsFunc(b, in(a))
}
