package operate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostguard/install"
	"hostguard/internal/cli"
	"hostguard/internal/systemd"
	"hostguard/runner"
	"hostguard/runner/shell"
)

// unitScope returns the manager for a new unit, and whether that takes sudo: the
// system's if this user may change it without a password, else the user's own.
func unitScope(ctx context.Context, s *cli.Session) (scope string, sudo bool) {
	if os.Geteuid() == 0 {
		return systemd.System, false
	}
	if exec.CommandContext(ctx, "sudo", "-n", "true").Run() == nil {
		return systemd.System, true
	}
	return systemd.User, false
}

// shutdownTime is how long the runner waits for its jobs when it is stopped.
const shutdownTime = time.Hour

// settle is how long a service must run to count as started: systemd restarts one whose
// program ends at once again and again.
const settle = time.Second

// manager is systemd's manager of the system or of this user.
type manager struct {
	*cli.Session
	scope string
}

func (m manager) command(words ...string) string { return systemd.Command(m.scope, words...) }

func (m manager) control(ctx context.Context, words ...string) error {
	return systemd.Control(ctx, m.scope, m.Getenv, words...)
}

// path returns the path of a unit file.
func (m manager) path(name string) string {
	return filepath.Join(systemd.Dir(m.scope, m.Getenv("HOME")), name)
}

// turn returns the change that one command to the manager makes and another undoes.
func (m manager) turn(words, back []string, check func(context.Context) error) change {
	return change{
		text: m.command(words...),
		do: func(ctx context.Context) error {
			if err := m.control(ctx, words...); err != nil || check == nil {
				return err
			}
			return check(ctx)
		},
		undo: func(ctx context.Context) error { return m.control(ctx, back...) },
	}
}

// install returns the changes that create the service of a runner and start it. The
// caller must have called runner.Host.Adopt, which checks whether it may.
func (m manager) install(sv runner.Service) ([]change, error) {
	text, err := sv.Unit()
	if err != nil {
		return nil, err
	}
	unit := install.File{Path: m.path(sv.Name), Data: []byte(text), Mode: 0o644}
	changes, err := m.put([]install.File{unit}, func(ctx context.Context) error { return m.checkStops(ctx, sv) })
	if err != nil {
		return nil, err
	}
	if sv.User != "" && changes != nil {
		changes[0].text += fmt.Sprintf("; it runs as User=%s", sv.User)
	}
	return append(changes, m.turn([]string{"enable", "--now", sv.Name}, []string{"disable", "--now", sv.Name},
		func(ctx context.Context) error { return m.checkRuns(ctx, sv.Name) })), nil
}

// removal returns the command that undoes install.
func (m manager) removal(sv runner.Service) string {
	return fmt.Sprintf("%s && rm %s && %s", m.command("disable", "--now", sv.Name), shell.Quote(m.path(sv.Name)),
		m.command("daemon-reload"))
}

// letStop returns the changes that let an existing unit end its jobs: a drop-in, without
// touching the unit's own file.
func (m manager) letStop(sv runner.Service) ([]change, error) {
	check := func(ctx context.Context) error { return m.checkStops(ctx, sv) }
	changes, err := m.put([]install.File{m.dropIn(sv)}, check)
	if changes == nil && err == nil { // the manager has not read it, or another drop-in overrides it
		reload := m.turn([]string{"daemon-reload"}, nil, check)
		reload.undo = nil
		changes = []change{reload}
	}
	return changes, err
}

func (m manager) dropIn(sv runner.Service) install.File {
	path := m.path(filepath.Join(sv.Name+".d", "hostguard.conf"))
	return install.File{Path: path, Data: []byte(runner.DropIn(sv.ShutdownTimeout)), Mode: 0o644}
}

// put returns the change that installs unit files, makes the manager read them, and
// checks the result; none if all files are in place.
func (m manager) put(files []install.File, check func(context.Context) error) ([]change, error) {
	plan, err := install.Plan(files)
	if err != nil {
		return nil, err
	}
	return m.exchange(plan, check)
}

// exchange returns one change for several files.
func (m manager) exchange(plan []install.Change, check func(context.Context) error) ([]change, error) {
	plan = slices.DeleteFunc(plan, func(c install.Change) bool { return c.Do == install.Keep })
	if len(plan) == 0 {
		return nil, nil
	}
	var does []string
	back := make([]func() error, len(plan))
	for i, c := range plan {
		does = append(does, fmt.Sprintf("%s %q", c.Do, c.Path))
		if c.Do == install.Create {
			back[i] = func() error { return removeFile(c.File) }
			continue
		}
		data, err := os.ReadFile(c.Path)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", c.Path, cli.Pathless(err))
		}
		was := install.File{Path: c.Path, Data: data, Mode: c.Mode}
		back[i] = func() error { return install.Change{File: was, Do: install.Replace}.Apply() }
	}
	return []change{{
		text: strings.Join(does, ", ") + "; " + m.command("daemon-reload"),
		do: func(ctx context.Context) error {
			for _, c := range plan {
				if err := c.Apply(); err != nil {
					return fmt.Errorf("%s %q: %w", c.Do, c.Path, cli.Pathless(err))
				}
			}
			if err := m.control(ctx, "daemon-reload"); err != nil {
				return err
			}
			return check(ctx)
		},
		undo: func(ctx context.Context) error {
			var errs []error
			for _, put := range back {
				errs = append(errs, put())
			}
			return errors.Join(append(errs, m.control(ctx, "daemon-reload"))...)
		},
	}}, nil
}

// removeFile removes an installed file, and the directory of a drop-in if it was the last.
func removeFile(f install.File) error {
	plan, err := install.PlanRemoval([]install.File{f})
	for _, c := range plan {
		err = errors.Join(err, c.Apply())
	}
	if dir := filepath.Dir(f.Path); strings.HasSuffix(dir, ".d") {
		_ = os.Remove(dir)
	}
	return err
}

// checkStops fails unless the manager has accepted the settings of a unit: another
// drop-in may override them.
func (m manager) checkStops(ctx context.Context, sv runner.Service) error {
	u, err := m.unit(ctx, sv.Name)
	if err != nil {
		return err
	}
	if !u.StopsGracefully(sv.ShutdownTimeout) {
		return fmt.Errorf("%q still has KillMode=%.20q TimeoutStopSec=%d; \"%s\" shows what sets them", sv.Name,
			u.KillMode, int(u.StopTimeout.Seconds()), m.command("cat", sv.Name))
	}
	return nil
}

// checkRuns fails unless a service keeps running.
func (m manager) checkRuns(ctx context.Context, name string) error {
	first, err := m.unit(ctx, name)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(settle):
	}
	u, err := m.unit(ctx, name)
	if err != nil {
		return err
	}
	if u.Active != "active" || u.MainPID == 0 || u.MainPID != first.MainPID {
		return fmt.Errorf("%q does not keep running (%.20q, Result=%.30q); see journalctl %s%s", name, u.Active,
			u.Result, map[string]string{systemd.System: "-u ", systemd.User: "--user -u "}[m.scope], shell.Quote(name))
	}
	return nil
}

// unit returns the present state of one unit.
func (m manager) unit(ctx context.Context, name string) (runner.Unit, error) {
	units, err := systemd.Units(ctx, m.scope, m.Getenv, []string{name})
	if err != nil {
		return runner.Unit{}, err
	}
	return units[slices.IndexFunc(units, func(u runner.Unit) bool { return u.Name == name })], nil
}

// findProgram returns the path of an executable of one of the names, in the directories
// or on PATH.
func (o *hostOptions) findProgram(
	ctx context.Context, s *cli.Session, names []string, before, after []string,
) (string, error) {
	dirs := slices.Concat(before, filepath.SplitList(s.Getenv("PATH")), after)
	for _, dir := range dirs {
		for _, name := range names {
			path := filepath.Join(dir, name)
			if filepath.IsAbs(path) && o.files.Program(ctx, []string{path}) != "" {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("there is no %s in %s or on PATH; give -binary", strings.Join(names, " or "),
		cli.Word(strings.Join(slices.Concat(before, after), ":")))
}

// warnLinger warns that a user's unit does not start before a login.
func warnLinger(s *cli.Session, unit string) {
	name := "USER"
	if me, err := user.Current(); err == nil {
		name = me.Username
	}
	s.Warning("Linger=no: after a reboot %q does not start without a login; fix: sudo loginctl enable-linger %s", unit,
		shell.Quote(name))
}
