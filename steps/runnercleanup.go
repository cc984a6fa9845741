package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostguard/clean"
	"hostguard/install"
	"hostguard/internal/systemd"
	"hostguard/runner"
)

// cleaningTimer is one run of runner cleanup-timer.
type cleaningTimer struct {
	*session
	roots                      []string
	apply, status, run, remove bool
	h                          runner.Host
}

func runnerCleanupTimer(ctx context.Context, s *session) error {
	c := cleaningTimer{session: s}
	s.in.value("runner-root", func(v string) error {
		for root := range strings.SplitSeq(v, ",") {
			path, err := filepath.Abs(strings.TrimSpace(root))
			if err != nil {
				return err
			}
			if !slices.Contains(c.roots, path) {
				c.roots = append(c.roots, path)
			}
		}
		return nil
	})
	apply, status, run, remove := s.in.boolean("apply"), s.in.boolean("status"), s.in.boolean("run"), s.in.boolean("remove")
	s.in.flagOnly("runner-root", "apply", "status", "run", "remove")
	if err := s.in.parse(); err != nil {
		return err
	}
	c.apply, c.status, c.run, c.remove = *apply, *status, *run, *remove
	asked := 0
	for _, what := range []bool{c.status, c.run, c.remove, c.roots != nil} {
		if what {
			asked++
		}
	}
	if asked != 1 || c.apply && (c.status || c.run) {
		return usagef("give -runner-root for a timer that cleans there, or one of -status, -run and -remove; see \"hostguard help runner cleanup-timer\"")
	}
	c.h.Units, c.h.UnitsUnseen = s.units(ctx)
	if os.Geteuid() == 0 && slices.ContainsFunc(c.h.Units, func(u runner.Unit) bool { return u.Scope == systemd.System }) {
		c.h.UnitsUnseen = nil // root has a manager of its own when it is logged in only
	}
	if c.roots != nil {
		return c.install(ctx)
	}
	timers := c.h.Cleanups()
	switch seen := len(timers) > 0; {
	case !seen && len(c.h.UnitsUnseen) > 0:
		return fmt.Errorf("no %s was seen: %s", runner.CleanupTimer, strings.Join(c.h.UnitsUnseen, "; "))
	case !seen, timers[0].Name != runner.CleanupTimer && !c.status:
		return refusedf("there is no %s; give -runner-root to make one", runner.CleanupTimer)
	case c.status:
		return c.tell(ctx, timers)
	case c.run:
		return c.start(ctx, timers[0].Scope)
	}
	return c.takeAway(ctx, timers[0].Scope)
}

// install plans the timer, and with apply makes it.
func (c *cleaningTimer) install(ctx context.Context) error {
	scope, sudo := c.scope(ctx)
	owner, err := c.owner()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	if scope == systemd.User && me.Uid != owner.Uid {
		return refusedf("the roots are %q's: run it as that user, or as root", owner.Username)
	}
	if scope == systemd.System {
		uid := 0
		if _, err := fmt.Sscan(owner.Uid, &uid); err != nil {
			return err
		}
		if err := install.CheckOwners(program, uid); err != nil {
			return refusedf("the timer would run %w; install hostguard below /usr/local (hostguard install, as root) and run it from there", err)
		}
	}
	if sudo && c.apply {
		return c.asRoot("runner cleanup-timer", "-apply", "-runner-root", strings.Join(c.roots, ","))
	}
	cleanup := runner.Cleanup{Scope: scope, User: owner.Username, Program: program, Roots: c.roots}
	text, err := cleanup.Service()
	if err != nil {
		return refusedf("%w", err)
	}
	dir := systemd.Dir(scope, c.Getenv("HOME"))
	files := []install.File{
		{Path: filepath.Join(dir, runner.CleanupService), Data: []byte(text), Mode: 0o644},
		{Path: filepath.Join(dir, runner.CleanupTimer), Data: []byte(cleanup.Timer()), Mode: 0o644},
	}
	changes, err := c.putUnits(scope, files, func(ctx context.Context) error { return c.clean(ctx, scope) })
	if err != nil {
		return err
	}
	if changes != nil {
		changes[0].say += "; " + systemd.Command(scope, "start", runner.CleanupService) + ", which cleans once"
	}
	back := []string{"hostguard runner cleanup-timer -remove -apply"}
	changes = append(changes, c.enable(scope)...)
	retired, commands := c.retire(scope)
	if sudo {
		c.Say("with -apply it runs as root, by sudo")
	}
	if err := c.carryOut(ctx, append(changes, retired...), c.apply, fmt.Sprintf("%q", strings.Join(append(back, commands...), "; "))); err != nil {
		return err
	}
	if scope == systemd.User && !systemd.Lingers(me.Username) {
		c.sayLinger(runner.CleanupTimer)
	}
	return nil
}

// owner is the one user whose all roots are; each has to be a runner's.
func (c *cleaningTimer) owner() (owner *user.User, err error) {
	for _, root := range c.roots {
		r, err := clean.OpenRunner(root, c.Getenv("HOME"))
		if _, ok := errors.AsType[*clean.NotRunner](err); ok {
			return nil, usagef("runner-root %w; give the directory that holds run.sh and _diag", err)
		} else if err != nil {
			return nil, err
		}
		r.Close()
		u, err := runnerUser(root)
		if err != nil {
			return nil, err
		}
		if owner != nil && owner.Uid != u.Uid {
			return nil, refusedf("%q is %q's and %q is %q's: a timer cleans as one user", c.roots[0], owner.Username, root, u.Username)
		}
		owner = u
	}
	return owner, nil
}

// enable is the change that starts the timer, now and at each boot.
func (c *cleaningTimer) enable(scope string) []change {
	for _, u := range c.h.Units {
		if u.Name == runner.CleanupTimer && u.Scope == scope && u.Active == "active" && u.File == "enabled" {
			return nil
		}
	}
	return []change{c.turn(scope, runner.CleanupTimer, "enable", "disable")}
}

// turn is the change that enables or disables a timer.
func (c *cleaningTimer) turn(scope, timer, do, undo string) change {
	return change{
		say:  systemd.Command(scope, do, "--now", timer),
		do:   func(ctx context.Context) error { return systemd.Control(ctx, scope, c.Getenv, do, "--now", timer) },
		undo: func(ctx context.Context) error { return systemd.Control(ctx, scope, c.Getenv, undo, "--now", timer) },
	}
}

// retire is the change that turns the old timer off, and the commands back.
func (c *cleaningTimer) retire(scope string) (changes []change, back []string) {
	for _, u := range c.h.Cleanups() {
		if u.Name != runner.OldCleanupTimer || u.Active != "active" && u.File != "enabled" {
			continue
		}
		if u.Scope == systemd.System && scope == systemd.User {
			c.Warning("the old timer still runs as well; fix: sudo %s", systemd.Command(u.Scope, "disable", "--now", u.Name))
			continue
		}
		changes = append(changes, c.turn(u.Scope, u.Name, "disable", "enable"))
		back = append(back, systemd.Command(u.Scope, "enable", "--now", u.Name))
	}
	return changes, back
}

// clean runs the service once and tells how it ended.
func (c *cleaningTimer) clean(ctx context.Context, scope string) error {
	if err := systemd.Control(ctx, scope, c.Getenv, "start", runner.CleanupService); err != nil {
		return err
	}
	u, err := c.unit(ctx, scope, runner.CleanupService)
	if err != nil {
		return err
	}
	if u.Result != "success" {
		return fmt.Errorf("%s ended with Result=%.30q", runner.CleanupService, u.Result)
	}
	return nil
}

// rooted runs this again as root where a unit of the system is to be changed by
// somebody else; false if nothing is in the way.
func (c *cleaningTimer) rooted(ctx context.Context, scope string, flags ...string) (bool, error) {
	if scope == systemd.User || os.Geteuid() == 0 {
		return false, nil
	}
	if _, sudo := c.scope(ctx); !sudo {
		return true, fmt.Errorf("the timer is the system's, and sudo asks for a password: run it as root")
	}
	return true, c.asRoot("runner cleanup-timer", flags...)
}

// start runs the service now.
func (c *cleaningTimer) start(ctx context.Context, scope string) error {
	if done, err := c.rooted(ctx, scope, "-run"); done {
		return err
	}
	began := time.Now()
	err := c.clean(ctx, scope)
	for end := time.Now().Add(journalTime); ; time.Sleep(50 * time.Millisecond) {
		lines, unread := c.log(ctx, scope, time.Since(began)+time.Second, 50)
		told := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "clean-diag: ") })
		if told || unread != nil || time.Now().After(end) || ctx.Err() != nil {
			c.tellLog(lines, unread)
			break
		}
	}
	if err == nil {
		c.Say("%s ended with Result=success after %s", runner.CleanupService, short(time.Since(began)))
	}
	return err
}

// takeAway plans that the timer goes, and with apply does it.
func (c *cleaningTimer) takeAway(ctx context.Context, scope string) error {
	if c.apply {
		if done, err := c.rooted(ctx, scope, "-remove", "-apply"); done {
			return err
		}
	}
	dir := systemd.Dir(scope, c.Getenv("HOME"))
	plan, err := install.PlanRemoval([]install.File{
		{Path: filepath.Join(dir, runner.CleanupService), Mode: 0o644}, {Path: filepath.Join(dir, runner.CleanupTimer), Mode: 0o644},
	})
	if err != nil {
		return err
	}
	files, err := c.unitChange(scope, plan, func(context.Context) error { return nil })
	if err != nil {
		return err
	}
	changes := append([]change{c.turn(scope, runner.CleanupTimer, "disable", "enable")}, files...)
	return c.carryOut(ctx, changes, c.apply, "\"hostguard runner cleanup-timer -runner-root ROOT -apply\"")
}

// journalTime is how long the journal may take to show what the service has said.
// Of a user's service it may lack lines for ever: it finds out too late whose a
// process was that has ended.
const journalTime = time.Second

// statusLog is how far back the status shows the journal, and how much of it.
const (
	statusLog   = 24 * time.Hour
	statusLines = 10
)

// tell is the status.
func (c *cleaningTimer) tell(ctx context.Context, timers []runner.Unit) error {
	now := time.Now()
	for _, t := range timers {
		c.Say("timer=%s scope=%s %s/%s, %s", t.Name, t.Scope, word(t.Active), word(t.Sub), word(t.File))
		c.Say("last_run=%s", cond(t.Last.IsZero(), "never", since(t.Last, now)))
		c.Say("next_run=%s", cond(t.Next.IsZero(), "never", fmt.Sprintf("%s (in %s)", t.Next.UTC().Format("2006-01-02 15:04:05Z"), short(t.Next.Sub(now)))))
		if t.Name != runner.CleanupTimer {
			continue
		}
		u, err := c.unit(ctx, t.Scope, runner.CleanupService)
		if err != nil {
			return err
		}
		c.Say("service=%s %s/%s, Result=%s", u.Name, word(u.Active), word(u.Sub), word(u.Result))
		c.tellLog(c.log(ctx, t.Scope, statusLog, statusLines))
	}
	if timers[0].Active != "active" {
		return refusedf("%s does not run; fix: %s", timers[0].Name, systemd.Command(timers[0].Scope, "enable", "--now", timers[0].Name))
	}
	return nil
}

// log is the last of what the service has logged.
func (c *cleaningTimer) log(ctx context.Context, scope string, since time.Duration, most int) (lines []string, err error) {
	err = systemd.Log(ctx, runner.Unit{Name: runner.CleanupService, Scope: scope}, since, func(line string) {
		if lines = append(lines, line); len(lines) > most {
			lines = lines[1:]
		}
	})
	return lines, err
}

func (c *cleaningTimer) tellLog(lines []string, unread error) {
	for _, line := range lines {
		c.Say("  log %.500q", line)
	}
	if unread != nil {
		c.Say("not seen: %s", oneLine(unread))
	}
}
