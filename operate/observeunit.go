package operate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"

	"hostguard/install"
	"hostguard/internal/cli"
	"hostguard/internal/systemd"
	"hostguard/observe"
	"hostguard/runner"
	"hostguard/runner/shell"
)

// observerManager returns the manager that runs the observer of an install: the system's for
// root, who alone can install for all.
func observerManager(s *cli.Session) manager {
	if os.Geteuid() == 0 {
		return manager{s, systemd.System}
	}
	return manager{s, systemd.User}
}

// installObserver plans the unit that runs a program as observer, and with apply starts it.
// A running one is started again if the program was replaced.
func installObserver(ctx context.Context, s *cli.Session, program string, replaced, apply bool) error {
	if err := runner.CheckUnitPath(program); err != nil {
		return cli.Refusedf("%w", err)
	}
	m := observerManager(s)
	unit := install.File{Path: m.path(observe.UnitName), Mode: 0o644,
		Data: []byte(observe.Unit(program, m.scope == systemd.System))}
	changes, err := m.put([]install.File{unit}, func(context.Context) error { return nil })
	if err != nil {
		return err
	}
	now, err := m.unit(ctx, observe.UnitName)
	if err != nil {
		return fmt.Errorf("%w; without systemd run \"hostguard observe\" by what starts services here", err)
	}
	runs := func(ctx context.Context) error { return m.checkRuns(ctx, observe.UnitName) }
	switch {
	case !now.Enabled() || now.Active != "active":
		changes = append(changes, m.turn([]string{"enable", "--now", observe.UnitName},
			[]string{"disable", "--now", observe.UnitName}, runs))
	case changes != nil || replaced:
		restart := []string{"restart", observe.UnitName}
		changes = append(changes, m.turn(restart, restart, runs))
	}
	s.Print("the observer:")
	back := fmt.Sprintf("%s && rm %s && %s", m.command("disable", "--now", observe.UnitName), shell.Quote(unit.Path),
		m.command("daemon-reload"))
	if err := runPlan(ctx, s, changes, planOptions{apply: apply}, back); err != nil {
		return err
	}
	if me, err := user.Current(); m.scope == systemd.User && err == nil && !systemd.Lingers(me.Username) {
		warnLinger(s, observe.UnitName)
	}
	return nil
}

// removeObserver plans the removal of the observer's unit, and with apply stops and removes
// it. Its history stays.
func removeObserver(ctx context.Context, s *cli.Session, apply bool) error {
	m := observerManager(s)
	unit := install.File{Path: m.path(observe.UnitName)}
	if _, err := os.Lstat(unit.Path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	plan, err := install.PlanRemoval([]install.File{unit})
	if err != nil {
		return err
	}
	changes, err := m.exchange(plan, func(context.Context) error { return nil })
	if err != nil {
		return err
	}
	stop := m.turn([]string{"disable", "--now", observe.UnitName}, []string{"enable", "--now", observe.UnitName}, nil)
	s.Print("the observer, whose history stays:")
	return runPlan(ctx, s, append([]change{stop}, changes...), planOptions{apply: apply},
		"hostguard install -observe -apply")
}
