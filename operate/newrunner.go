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
	"hostguard/internal/register"
	"hostguard/internal/runnerdir"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/shell"
	"hostguard/runner/workflow"
)

// The changes that make one runner of a split.

// service is the unit that a runner of the plan gets.
func (v *splitting) service(r runner.SplitRunner) runner.Service {
	return runner.Service{
		Name: r.Service, Scope: v.primary.Scope, Dir: r.Dir, ConfigPath: configOf(r),
		RegistrationPath: filepath.Join(r.Dir, ".runner"), Binary: v.primary.Binary, User: v.primary.User,
		ShutdownTimeout: shutdownTime, Environment: v.unit.Environment, EnvironmentFiles: v.unit.EnvironmentFiles,
	}
}

// planRunner is what makes one runner of the plan: nothing if it is there and
// runs.
func (v *splitting) planRunner(r runner.SplitRunner) ([]change, error) {
	var changes []change
	sv := v.service(r)
	switch c, registered := v.found[r.Dir]; {
	case registered:
		if err := r.Agrees(c); err != nil {
			return nil, cli.Refusedf("the runner in %q is registered already, but %w; change its config.yaml, or the "+
				"plan", r.Dir, err)
		}
		sv.ShutdownTimeout, sv.RegistrationPath = c.ShutdownTimeout, registrationOf(r.Dir, configOf(r))
	case exists(r.Dir):
		return nil, cli.Refusedf("%q is there and has no registration, so whose it is cannot be told; move it away",
			r.Dir)
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
		return nil, cli.Refusedf("the runner in %q does not run, and no unit of the primary in %q tells by which "+
			"program it would; start it: %s",
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

// newRunner makes the directory of a runner and registers it.
func (v *splitting) newRunner(r runner.SplitRunner) ([]change, error) {
	host, err := os.Hostname()
	if err != nil || cli.Word(host) != host {
		return nil, cli.Refusedf("the host's name %.100q is none for a runner; set a plain one", host)
	}
	want := config.Want{
		Capacity: 1, ShutdownTimeout: shutdownTime, Registration: ".runner",
		CacheDir: filepath.Join(r.Dir, ".cache/actcache"), WorkdirParent: filepath.Join(r.Dir, ".cache/act"),
	}
	if env := v.h.Config.EnvFile; env != "" && !filepath.IsAbs(env) {
		want.EnvFile = filepath.Join(v.h.Dir, env)
	}
	text, said, err := config.Edit(v.config, want)
	if err == nil {
		var labels []string
		for _, l := range r.Takes(v.h.Config.Labels) {
			labels = append(labels, l.Full)
		}
		text, _, err = config.Edit(text, config.Want{Labels: labels})
	}
	if err != nil {
		return nil, cli.Refusedf("copy %q: %w", v.h.ConfigPath, err)
	}
	uid, _ := strconv.Atoi(v.owner.Uid)
	gid, _ := strconv.Atoi(v.owner.Gid)
	program := register.Runner{
		Program: v.primary.Binary, Dir: r.Dir, Config: configOf(r), Instance: v.h.Config.Server,
		Name: host + "-" + r.Owner, UID: uid, GID: gid, Home: v.owner.HomeDir,
	}
	var made runnerdir.Made
	begun := false
	make := change{
		say: fmt.Sprintf("make %q, %q's alone, with a copy of %q that has the labels %s: %s", r.Dir, v.owner.Username,
			v.h.ConfigPath, quotedList(r.Labels), strings.Join(said, ", ")),
		do: func(context.Context) (err error) {
			made, err = runnerdir.Make(r.Dir, uid, gid, text)
			begun = err == nil // else it has taken itself back
			return err
		},
		undo: func(ctx context.Context) error {
			if !begun {
				return nil
			}
			if err := v.stopped(ctx, r); err != nil {
				return err
			}
			return made.Remove()
		},
	}
	return []change{make, v.registration(r, program)}, nil
}

// registration is the change that registers a runner whose directory is made.
func (v *splitting) registration(r runner.SplitRunner, program register.Runner) change {
	return change{
		say: fmt.Sprintf("register %q at %q by %q", program.Name, program.Instance, program.Program),
		do: func(ctx context.Context) error {
			if err := program.Do(ctx, v.Getenv, v.token); err != nil {
				return err
			}
			c, path, registered, err := runnerdir.Read(r.Dir, configOf(r))
			if err != nil || !registered || c.ID == 0 || c.Name != program.Name {
				return fmt.Errorf("register %q: %q says that it is done, and %q has no such registration",
					program.Name, program.Program, path)
			}
			return nil
		},
		undo: func(ctx context.Context) error { return v.unregister(ctx, r, program.Name) },
	}
}

// stopped fails unless a runner is known not to run. What belongs to one that still waits
// for a job is not taken away from under it.
func (v *splitting) stopped(ctx context.Context, r runner.SplitRunner) error {
	u, err := v.manager().unit(ctx, r.Service)
	if err == nil && u.Active != "inactive" && u.Active != "failed" {
		err = fmt.Errorf("%q is %.20q: a job of it may run", r.Service, u.Active)
	}
	if err != nil {
		return fmt.Errorf("%w; once it has stopped, remove %q and its runner at the server", err, r.Dir)
	}
	return nil
}

// unregister takes back a registration that was made, or begun.
func (v *splitting) unregister(ctx context.Context, r runner.SplitRunner, name string) error {
	if err := v.stopped(ctx, r); err != nil {
		return err
	}
	by := fmt.Sprintf("remove it at %q by hand", v.h.Config.Server)
	c, _, registered, err := runnerdir.Read(r.Dir, configOf(r))
	if err == nil && registered && c.ID != 0 && !v.knew(c.ID) {
		if err := v.inventory.RemoveRunner(v.takes, c.ID, c.Name); err != nil {
			return fmt.Errorf("%w; %s", err, by)
		}
		return nil
	}
	// No registration is here, but a reply may have been lost: a runner of this
	// name that was not there before may be ours or somebody else's.
	runners, err := v.inventory.RunnersOf(v.takes)
	if err != nil {
		return fmt.Errorf("whether a runner %q is left is not known: %w; if so, %s", name, err, by)
	}
	for _, l := range runners {
		if l.Name == name && !v.knew(l.ID) {
			return fmt.Errorf("a runner %q, whose id is %d, may be left of it; if so, %s", name, l.ID, by)
		}
	}
	return nil
}

// knew reports whether the server had a runner of this id before.
func (v *splitting) knew(id int64) bool {
	return slices.ContainsFunc(v.before, func(l workflow.Runner) bool { return l.ID == id })
}

// smokeTest is the change after which a runner is known to serve its labels.
func (v *splitting) smokeTest(r runner.SplitRunner) change {
	return change{
		say: fmt.Sprintf("see that %q runs and that its runner is online with %s, within %s", r.Service,
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
				l, err := v.live(runners, r.Dir)
				switch {
				case err != nil:
					return err
				case !l.Online || l.Disabled:
					return fmt.Errorf("the server calls the runner %q offline or disabled", l.Name)
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
