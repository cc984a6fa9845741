package operate

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostguard/install"
	"hostguard/internal/cli"
	"hostguard/internal/runnerdir"
	"hostguard/internal/systemd"
	"hostguard/runner"
)

const helpRunnerCleanupTimer = `usage: hostguard runner cleanup-timer -runner-root DIR [-runner-root DIR]... [-apply]
       hostguard runner cleanup-timer -status | -run | -remove [-apply]

Creates hostguard-clean-diag.service and .timer, which run clean-diag for roots of
GitHub's runner 5 minutes after boot and every 5 minutes, and disables the old
runner-diag-cleanup.timer. Prints the plan, and changes nothing without -apply; a
failed change is undone, and a second run changes nothing.

The units are system units for root or with passwordless sudo (-apply then runs
itself through sudo), and run as the owner of the roots; else they are user units.
System units may write only _diag of the roots. The timer runs this program: for
system units it must be where only that owner and root can change it, such as below
/usr/local.

{inputs}

exit status: 0 done, planned or nothing to change; 1 refused, or -status of a
timer that is not active; 2 wrong use; 3 something failed and was undone, or the
run failed; 130 or 143 interrupted and undone.

example: sudo hostguard runner cleanup-timer -runner-root /home/ci/actions-runner -apply
`

// cleaningTimer is one run of runner cleanup-timer.
type cleaningTimer struct {
	roots               []string
	status, run, remove bool
	planOptions

	*cli.Session
	h     runner.Host
	files runnerdir.Files
}

func (c *cleaningTimer) Inputs() []cli.Input {
	return append([]cli.Input{
		{Name: "runner-root", Kind: cli.Value("DIR", c.addRoots), FlagOnly: true,
			Text: "the directory of run.sh and _diag; may be repeated, or be a comma-separated list. All must belong " +
				"to one user"},
		{Name: "status", Kind: cli.Bool(&c.status), FlagOnly: true,
			Text: "print whether it is active, its last and next run, and the last lines of its journal"},
		{Name: "run", Kind: cli.Bool(&c.run), FlagOnly: true, Text: "clean now, and print the result"},
		{Name: "remove", Kind: cli.Bool(&c.remove), FlagOnly: true, Text: "remove the timer; with -apply"},
	}, c.planOptions.Inputs()...)
}

func (c *cleaningTimer) addRoots(list string) error {
	for root := range strings.SplitSeq(list, ",") {
		path, err := filepath.Abs(strings.TrimSpace(root))
		if err != nil {
			return err
		}
		if !slices.Contains(c.roots, path) {
			c.roots = append(c.roots, path)
		}
	}
	return nil
}

func (c *cleaningTimer) Run(ctx context.Context, s *cli.Session) error {
	c.Session = s
	asked := 0
	for _, what := range []bool{c.status, c.run, c.remove, c.roots != nil} {
		if what {
			asked++
		}
	}
	if asked != 1 || (c.apply || c.json) && (c.status || c.run) {
		return cli.Usagef("give -runner-root for a timer that cleans there, or one of -status, -run and -remove; see " +
			"\"hostguard help runner cleanup-timer\"")
	}
	c.h.Units, c.h.UnitsUnseen = readUnits(ctx, s)
	if os.Geteuid() == 0 && slices.ContainsFunc(c.h.Units,
		func(u runner.Unit) bool { return u.Scope == systemd.System }) {
		c.h.UnitsUnseen = nil // root has a user manager only while it is logged in
	}
	if c.roots != nil {
		return c.install(ctx)
	}
	timers := c.h.Cleanups()
	switch seen := len(timers) > 0; {
	case !seen && len(c.h.UnitsUnseen) > 0:
		return fmt.Errorf("no %s was seen: %s", runner.CleanupTimer, strings.Join(c.h.UnitsUnseen, "; "))
	case !seen, timers[0].Name != runner.CleanupTimer && !c.status:
		return cli.Refusedf("there is no %s; give -runner-root to make one", runner.CleanupTimer)
	case c.status:
		return c.printStatus(ctx, timers)
	case c.run:
		return c.start(ctx, c.manager(timers[0]))
	}
	return c.uninstall(ctx, c.manager(timers[0]))
}

// install plans the timer, and with apply creates it.
func (c *cleaningTimer) install(ctx context.Context) error {
	scope, sudo := unitScope(ctx, c.Session)
	owner, err := c.owner(ctx)
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
		return cli.Refusedf("the roots are %q's: run it as that user, or as root", owner.Username)
	}
	if scope == systemd.System {
		if err := checkProgram(program, owner); err != nil {
			return err
		}
	}
	if sudo && c.apply {
		return c.AsRoot("runner cleanup-timer", c.flags("-apply", "-runner-root", strings.Join(c.roots, ","))...)
	}
	cleanup := runner.Cleanup{Scope: scope, User: owner.Username, Program: program, Roots: c.roots}
	text, err := cleanup.Service()
	if err != nil {
		return cli.Refusedf("%w", err)
	}
	m := manager{c.Session, scope}
	files := []install.File{
		{Path: m.path(runner.CleanupService), Data: []byte(text), Mode: 0o644},
		{Path: m.path(runner.CleanupTimer), Data: []byte(cleanup.Timer()), Mode: 0o644},
	}
	changes, err := m.put(files, func(ctx context.Context) error { return c.clean(ctx, m) })
	if err != nil {
		return err
	}
	if changes != nil {
		changes[0].text += "; " + m.command("start", runner.CleanupService) + ", which cleans once"
	}
	back := []string{"hostguard runner cleanup-timer -remove -apply"}
	changes = append(changes, c.enable(m)...)
	retired, commands := c.retire(m)
	if sudo {
		c.Print("-apply runs as root through sudo")
	}
	if err := runPlan(ctx, c.Session, append(changes, retired...), c.planOptions,
		strings.Join(append(back, commands...), "; ")); err != nil {
		return err
	}
	if scope == systemd.User && !systemd.Lingers(me.Username) {
		warnLinger(c.Session, runner.CleanupTimer)
	}
	return nil
}

// flags returns flags for the same run as root.
func (c *cleaningTimer) flags(args ...string) []string {
	if c.json {
		args = append(args, "-json")
	}
	return args
}

// checkProgram refuses a program that others than root and the owner of the roots can
// change.
func checkProgram(program string, owner *user.User) error {
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	if err := install.CheckOwners(program, uid); err != nil {
		return cli.Refusedf("the timer would run %w; install hostguard below /usr/local (hostguard install, as "+
			"root) and run it from there", err)
	}
	return nil
}

// owner returns the owner of all roots; each must be the root of a runner.
func (c *cleaningTimer) owner(ctx context.Context) (owner *user.User, err error) {
	for _, root := range c.roots {
		if err := c.checkRoot(ctx, root); err != nil {
			return nil, err
		}
		u, err := runnerUser(ctx, &c.files, root)
		if err != nil {
			return nil, err
		}
		if owner != nil && owner.Uid != u.Uid {
			return nil, cli.Refusedf("%q is %q's and %q is %q's: a timer cleans as one user", c.roots[0],
				owner.Username, root, u.Username)
		}
		owner = u
	}
	return owner, nil
}

// checkRoot fails unless a directory is the root of a runner.
func (c *cleaningTimer) checkRoot(ctx context.Context, root string) error {
	why, err := askAbout[string](ctx, &c.files, root, "root", diagnostics{Root: root, Home: c.Getenv("HOME")})
	if err == nil && why != "" {
		err = cli.Usagef("runner-root %s; give the directory that holds run.sh and _diag", why)
	}
	return err
}

// enable returns the change that starts the timer, now and at each boot.
func (c *cleaningTimer) enable(m manager) []change {
	for _, u := range c.h.Units {
		if u.Name == runner.CleanupTimer && u.Scope == m.scope && u.Active == "active" && u.File == "enabled" {
			return nil
		}
	}
	return []change{m.toggleTimer(runner.CleanupTimer, "enable", "disable")}
}

// manager returns the manager of a timer.
func (c *cleaningTimer) manager(timer runner.Unit) manager { return manager{c.Session, timer.Scope} }

// toggleTimer returns the change that enables or disables a timer.
func (m manager) toggleTimer(timer, do, undo string) change {
	return m.turn([]string{do, "--now", timer}, []string{undo, "--now", timer}, nil)
}

// retire returns the changes that disable the old timer, and the commands that undo them.
func (c *cleaningTimer) retire(m manager) (changes []change, back []string) {
	for _, u := range c.h.Cleanups() {
		if u.Name != runner.OldCleanupTimer || u.Active != "active" && u.File != "enabled" {
			continue
		}
		if u.Scope == systemd.System && m.scope == systemd.User {
			c.Warning("the old timer still runs as well; fix: sudo %s",
				c.manager(u).command("disable", "--now", u.Name))
			continue
		}
		changes = append(changes, c.manager(u).toggleTimer(u.Name, "disable", "enable"))
		back = append(back, c.manager(u).command("enable", "--now", u.Name))
	}
	return changes, back
}

// clean runs the service once, and fails if the service does.
func (c *cleaningTimer) clean(ctx context.Context, m manager) error {
	if err := m.control(ctx, "start", runner.CleanupService); err != nil {
		return err
	}
	u, err := m.unit(ctx, runner.CleanupService)
	if err != nil {
		return err
	}
	if u.Result != "success" {
		return fmt.Errorf("%s ended with Result=%.30q", runner.CleanupService, u.Result)
	}
	return nil
}

// rerunAsRoot re-runs the command through sudo if a system unit must change and this
// user is not root. It returns false if this process can go on itself.
func (c *cleaningTimer) rerunAsRoot(ctx context.Context, m manager, flags ...string) (bool, error) {
	if m.scope == systemd.User || os.Geteuid() == 0 {
		return false, nil
	}
	if _, sudo := unitScope(ctx, c.Session); !sudo {
		return true, fmt.Errorf("the timer is the system's, and sudo asks for a password: run it as root")
	}
	return true, c.AsRoot("runner cleanup-timer", flags...)
}

// start runs the service now.
func (c *cleaningTimer) start(ctx context.Context, m manager) error {
	if done, err := c.rerunAsRoot(ctx, m, "-run"); done {
		return err
	}
	began := time.Now()
	err := c.clean(ctx, m)
	for end := time.Now().Add(journalTime); ; time.Sleep(50 * time.Millisecond) {
		lines, unread := c.log(ctx, m, time.Since(began)+time.Second, 50)
		logged := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "clean-diag: ") })
		if logged || unread != nil || time.Now().After(end) || ctx.Err() != nil {
			c.printLog(lines, unread)
			break
		}
	}
	if err == nil {
		c.Print("%s ended with Result=success after %s", runner.CleanupService, cli.Short(time.Since(began)))
	}
	return err
}

// uninstall plans the removal of the timer, and with apply carries it out.
func (c *cleaningTimer) uninstall(ctx context.Context, m manager) error {
	if c.apply {
		if done, err := c.rerunAsRoot(ctx, m, c.flags("-remove", "-apply")...); done {
			return err
		}
	}
	plan, err := install.PlanRemoval([]install.File{
		{Path: m.path(runner.CleanupService), Mode: 0o644},
		{Path: m.path(runner.CleanupTimer), Mode: 0o644},
	})
	if err != nil {
		return err
	}
	files, err := m.exchange(plan, func(context.Context) error { return nil })
	if err != nil {
		return err
	}
	changes := append([]change{m.toggleTimer(runner.CleanupTimer, "disable", "enable")}, files...)
	return runPlan(ctx, c.Session, changes, c.planOptions, "hostguard runner cleanup-timer -runner-root ROOT -apply")
}

// journalTime is how long the journal may take to show the output of the service. It
// may miss lines of a user's service for ever, since it looks up the unit of a process
// too late if that has ended.
const journalTime = time.Second

// statusLog is the age, and statusLines the number, of journal lines in the status.
const (
	statusLog   = 24 * time.Hour
	statusLines = 10
)

// printStatus prints the status of the timers.
func (c *cleaningTimer) printStatus(ctx context.Context, timers []runner.Unit) error {
	now := time.Now()
	for _, t := range timers {
		c.Print("timer=%s scope=%s %s/%s, %s", t.Name, t.Scope, cli.Word(t.Active), cli.Word(t.Sub), cli.Word(t.File))
		c.Print("last_run=%s", choose(t.Last.IsZero(), "never", cli.Since(t.Last, now)))
		next := fmt.Sprintf("%s (in %s)", t.Next.UTC().Format("2006-01-02 15:04:05Z"), cli.Short(t.Next.Sub(now)))
		c.Print("next_run=%s", choose(t.Next.IsZero(), "never", next))
		if t.Name != runner.CleanupTimer {
			continue
		}
		u, err := c.manager(t).unit(ctx, runner.CleanupService)
		if err != nil {
			return err
		}
		c.Print("service=%s %s/%s, Result=%s", u.Name, cli.Word(u.Active), cli.Word(u.Sub), cli.Word(u.Result))
		c.printLog(c.log(ctx, c.manager(t), statusLog, statusLines))
	}
	if timers[0].Active != "active" {
		return cli.Refusedf("%s is not active; fix: %s", timers[0].Name,
			c.manager(timers[0]).command("enable", "--now", timers[0].Name))
	}
	return nil
}

// log returns the last lines in the journal of the service.
func (c *cleaningTimer) log(
	ctx context.Context, m manager, since time.Duration, most int,
) (lines []string, err error) {
	err = systemd.Log(ctx, runner.Unit{Name: runner.CleanupService, Scope: m.scope}, since, func(line string) {
		if lines = append(lines, line); len(lines) > most {
			lines = lines[1:]
		}
	})
	return lines, err
}

func (c *cleaningTimer) printLog(lines []string, unread error) {
	for _, line := range lines {
		c.Print("  log %.500q", line)
	}
	if unread != nil {
		c.Print("not seen: %s", cli.OneLine(unread))
	}
}
