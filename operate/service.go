package operate

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostguard/install"
	"hostguard/internal/cli"
	"hostguard/internal/docker"
	"hostguard/internal/runnerdir"
	"hostguard/internal/systemd"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/shell"
	"hostguard/runner/workflow"
)

const helpRunnerService = `Runs the host's runner as a service that survives a reboot and lets its jobs end
when it is stopped. Prints the plan, and changes nothing without -apply; a failed
change is undone, and a second run changes nothing.

  - config.yaml: capacity 1, shutdown_timeout 1h unless it is longer, and the
    given labels; everything else stays, and the previous file is kept beside it;
  - the unit that runs this configuration, whatever its name, gets a drop-in
    with KillMode=mixed and a TimeoutStopSec that fits. If there is none, it
    creates gitea-act-runner-host.service: a system unit for root or with
    passwordless sudo (-apply then runs itself through sudo), else a user unit;
  - the restart policy of the container gitea-runner is set to no.

It never starts a second daemon on one registration: it refuses if a second unit,
a process outside any unit or a container runs the runner, or if that cannot be
seen.

{inputs}

exit status: 0 done, planned or nothing to change; 1 refused, 2 wrong use,
3 something failed and was undone, 130 or 143 interrupted and undone.

example: hostguard runner service -labels shop-host:host -restart-now -wait 1h
`

// servicing is one run of runner service.
type servicing struct {
	host             hostOptions
	binary, checkout string
	labels           []string
	wait             time.Duration
	restart          bool
	planOptions

	*cli.Session
	h    runner.Host
	sv   runner.Service
	unit runner.Unit // that runs this runner already, if any

	edited bool     // the configuration has changed since the runner read it
	back   []string // commands that undo the changes
}

func (v *servicing) Inputs() []cli.Input {
	return append(v.planOptions.Inputs(), []cli.Input{runnerDir(&v.host.dir),
		{Name: "labels", Kind: cli.List(&v.labels, func(l string) error { return config.CheckLabels([]string{l}) }),
			FlagOnly: true,
			Text: "all labels for the runner, such as shop-host:host. A label that it loses must have another " +
				"runner, online and enabled, at the server of the checkout's remote, read with GITEA_TOKEN"},
		checkoutInput(&v.checkout, ""),
		{Name: "restart-now", Kind: cli.Bool(&v.restart), FlagOnly: true,
			Text: "restart a runner whose configuration has changed, as RESTART_NOW=1 in the environment does; " +
				"refused while GITEA-ACTIONS-TASK-* containers or host jobs run"},
		{Name: "wait", Kind: cli.Duration(&v.wait, 0, 24*time.Hour), FlagOnly: true,
			Text: "wait up to this long for their end instead"},
		{Name: "binary", Kind: cli.Text(&v.binary, nil), FlagOnly: true, Arg: "FILE",
			Text: "the runner's program for a new unit; default act_runner, gitea-runner or forgejo-runner in its " +
				"directory, on PATH, in /usr/local/bin or ~/.local/bin"},
	}...)
}

func (v *servicing) Run(ctx context.Context, s *cli.Session) (err error) {
	v.Session = s
	if err := config.CheckLabels(v.labels); err != nil {
		return cli.Usagef("%w", err)
	}
	v.restart = v.restart || s.Getenv("RESTART_NOW") == "1"
	if v.checkout, err = filepath.Abs(v.checkout); err != nil {
		return err
	}
	if given := v.binary; given != "" {
		if v.binary, err = filepath.Abs(given); err != nil || v.host.files.Program(ctx, []string{v.binary}) == "" {
			return cli.Usagef("binary %q is not an executable file", given)
		}
	}
	if v.wait > 0 && !v.restart {
		return cli.Usagef("-wait needs a restart to wait for; give -restart-now or RESTART_NOW=1 as well")
	}
	return v.run(ctx)
}

func (v *servicing) run(ctx context.Context) error {
	v.h = v.host.look(ctx, v.Session)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if v.h.ConfigUnseen != "" {
		return fmt.Errorf("read the runner's configuration: %s; give -runner-dir", v.h.ConfigUnseen)
	}
	if err := checkAccepted(v.h); err != nil {
		return err
	}
	if !v.h.Registered {
		return cli.Refusedf("the runner in %q is not registered: run \"act_runner register\" there first", v.h.Dir)
	}
	if v.h.Retired() {
		return cli.Refusedf("the runner in %q is retired: other runners of this host have all its labels, and a "+
			"start of it would take their jobs; give -runner-dir the directory of one of those", v.h.Dir)
	}
	sudo, err := v.place(ctx)
	if err != nil {
		return err
	}
	if sudo && v.apply {
		return v.AsRoot("runner service", v.arguments()...)
	}
	changes, err := v.plan(ctx)
	if err != nil {
		return err
	}
	if sudo {
		v.Print("-apply runs as root through sudo")
	}
	if err := runPlan(ctx, v.Session, changes, v.planOptions, strings.Join(v.back, "; ")); err != nil {
		return err
	}
	v.printRemaining()
	return nil
}

// place finds the unit to adopt, or the place of a new one, and reports whether that
// takes sudo.
func (v *servicing) place(ctx context.Context) (sudo bool, err error) {
	v.sv = v.h.PrimaryUnit()
	v.sv.Scope, sudo = unitScope(ctx, v.Session)
	unit, found, err := v.h.Adopt(v.sv)
	if err != nil {
		return false, cli.Refusedf("%w", err)
	}
	if found {
		v.unit, v.sv.Name = unit, unit.Name
		if unit.Scope == systemd.System && v.sv.Scope == systemd.User {
			return false, fmt.Errorf("the unit %q is the system's, and sudo asks for a password: run it as root, "+
				"with -runner-dir %s", unit.Name, shell.Quote(v.h.Dir))
		}
		v.sv.Scope, sudo = unit.Scope, sudo && unit.Scope == systemd.System
		v.Print("the %s's unit %q runs this runner (%q): its file stays as it is", unit.Scope, unit.Name, unit.Active)
		return sudo, v.followConfig(ctx, unit.Config)
	}
	owner, err := runnerUser(ctx, &v.host.files, v.h.Dir)
	if err != nil {
		return false, cli.Refusedf("%w", err)
	}
	if v.sv.Scope == systemd.User {
		if me, err := user.Current(); err != nil || me.Uid != owner.Uid {
			return false, cli.Refusedf("%q is %q's: run it as that user, or as root", v.h.Dir, owner.Username)
		}
		return false, v.findBinary(ctx, owner)
	}
	if path := v.host.userUnit(ctx, v.Session, v.sv, owner); path != "" {
		return false, cli.Refusedf("%q may start a second daemon on this registration: remove it, or run hostguard "+
			"as %q", path, owner.Username)
	}
	v.sv.User = owner.Username
	if err := v.checkPlace(ctx, owner); err != nil {
		return false, err
	}
	return sudo, v.findBinary(ctx, owner)
}

// followConfig switches to the configuration that the adopted unit names, which may not
// be the one in the runner's directory.
func (v *servicing) followConfig(ctx context.Context, path string) error {
	if path == "" || path == v.h.ConfigPath {
		return nil
	}
	v.h.ConfigPath, v.sv.ConfigPath = path, path
	if err := v.host.readConfig(ctx, &v.h); err != nil {
		return fmt.Errorf("read %q, which the unit %q names: %w", path, v.unit.Name, cli.Pathless(err))
	}
	v.sv.ShutdownTimeout = v.h.Config.ShutdownTimeout
	return checkAccepted(v.h)
}

// checkAccepted refuses to work on a configuration that the runner itself refuses: after a
// restart it would not run.
func checkAccepted(h runner.Host) error {
	if h.Config.Refused == "" {
		return nil
	}
	return cli.Refusedf("the runner does not start with %.200q: %.300q; correct it first", h.ConfigPath,
		h.Config.Refused)
}

// checkPlace refuses a directory for a new unit in which somebody else than the unit's user
// could change what it runs.
func (v *servicing) checkPlace(ctx context.Context, owner *user.User) error {
	uid, err := strconv.Atoi(owner.Uid)
	if err == nil {
		err = v.host.files.CheckOwners(ctx, v.h.Dir, uid)
	}
	if err != nil {
		return cli.Refusedf(
			"a unit would run as %q what others decide: %w; give it to that user alone (chown, chmod go-w)",
			owner.Username, err)
	}
	return nil
}

func (v *servicing) findBinary(ctx context.Context, owner *user.User) (err error) {
	if v.binary == "" {
		v.binary, err = v.host.findProgram(ctx, v.Session, []string{"act_runner", "gitea-runner", "forgejo-runner"},
			[]string{v.h.Dir},
			[]string{"/usr/local/bin", filepath.Join(owner.HomeDir, ".local/bin")})
	}
	v.sv.Binary = v.binary
	if err == nil && owner.Uid == "0" {
		if err := install.CheckOwners(v.binary, 0); err != nil {
			return cli.Refusedf("root would run %w; give -binary one that is root's alone", err)
		}
	}
	return err
}

// arguments returns the arguments for the same run as root.
func (v *servicing) arguments() []string {
	args := []string{"-apply", "-runner-dir", v.h.Dir, "-checkout", v.checkout}
	for name, value := range map[string]string{"-binary": v.binary, "-labels": strings.Join(v.labels, ",")} {
		if value != "" {
			args = append(args, name, value)
		}
	}
	if v.wait > 0 {
		args = append(args, "-wait", v.wait.String())
	}
	if v.restart {
		args = append(args, "-restart-now")
	}
	if v.json {
		args = append(args, "-json")
	}
	return args
}

func (v *servicing) plan(ctx context.Context) ([]change, error) {
	edits, err := v.planConfig(ctx)
	if err != nil {
		return nil, err
	}
	units, err := v.planUnit()
	if err != nil {
		return nil, err
	}
	changes := slices.Concat(edits, units, v.planContainer())
	start := v.unit.Started
	v.edited = edits != nil || !start.IsZero() && v.h.ConfigChanged.After(start)
	if v.restart && v.edited && v.unit.Active == "active" {
		if v.InWorkflow() {
			return nil, cli.Refusedf("this is a job of a runner, and a restart would wait for its end; run it from a " +
				"shell, or leave the restart out")
		}
		if busy := v.h.Busy(); busy != "" && v.wait == 0 {
			return nil, cli.Refusedf("the runner is not restarted while jobs run: %s; give -wait 1h, or leave the "+
				"restart out", busy)
		}
		changes = v.addRestart(changes)
	}
	return changes, nil
}

// planConfig returns the change of config.yaml, if any.
func (v *servicing) planConfig(ctx context.Context) ([]change, error) {
	path := v.h.ConfigPath
	was := v.h.ConfigText
	want := config.Want{Capacity: 1, Labels: v.labels}
	if v.h.Config.ShutdownTimeout < shutdownTime {
		want.ShutdownTimeout, v.sv.ShutdownTimeout = shutdownTime, shutdownTime
	}
	is, edits, err := config.Edit(was, want)
	if err != nil {
		return nil, cli.Refusedf("edit %q: %w", path, err)
	}
	if len(edits) == 0 {
		return nil, nil
	}
	if v.h.ConfigFixed != "" {
		return nil, cli.Refusedf("%q must get %s, and %s; %s", path, strings.Join(edits, ", "), v.h.ConfigFixed,
			v.h.ConfigFix())
	}
	if v.labels != nil && v.h.Config.Connected {
		return nil, cli.Refusedf("%q has labels in server.connections, which is not edited; change them there", path)
	}
	if v.labels != nil {
		if err := v.checkReplaced(ctx); err != nil {
			return nil, err
		}
	}
	kept := runnerdir.Kept(path)
	v.back = append(v.back, fmt.Sprintf("mv %s %s", shell.Quote(filepath.Join(filepath.Dir(path), kept)),
		shell.Quote(path)))
	return []change{{
		text: fmt.Sprintf("in %q: %s; the previous file is kept as %q", path, strings.Join(edits, ", "), kept),
		do:   func(ctx context.Context) error { return v.host.files.Replace(ctx, path, kept, was, is) },
		undo: func(ctx context.Context) error { return v.host.files.Restore(ctx, path, kept, was, is) },
	}}, nil
}

// checkReplaced refuses to remove labels that no other runner serves.
func (v *servicing) checkReplaced(ctx context.Context) error {
	removed := config.Removed(v.h.Config.Labels, v.labels)
	if len(removed) == 0 {
		return nil
	}
	remote, inventory, err := openInventory(ctx, v.Session, v.checkout)
	var pool workflow.Pool
	if err == nil {
		pool, err = inventory.Runners([]string{remote.Repository})
	}
	refusal := pool.CheckReplaced(removed, v.h.Config.Name)
	switch {
	case refusal != nil && err != nil:
		return cli.Refusedf("labels would be removed (%s), and whether another runner has them is not known: %w; run "+
			"it in a checkout whose remote is the runner's server, with a GITEA_TOKEN that has read:admin",
			quotedList(removed), err)
	case refusal != nil:
		return cli.Refusedf("%w", refusal)
	}
	return nil
}

// planUnit returns the changes of the unit, if any.
func (v *servicing) planUnit() ([]change, error) {
	if v.h.UnitsFixed != "" && v.sv.Scope == systemd.System &&
		(v.unit.Name == "" || !v.unit.StopsGracefully(v.sv.ShutdownTimeout)) {
		return nil, cli.Refusedf("%s", choose(v.unit.Name == "", v.h.UnitsFixed+", and no unit can be made here",
			v.h.UnitFix(v.unit)))
	}
	if v.unit.Name == "" {
		v.back = append(v.back, v.manager().removal(v.sv))
		return v.manager().install(v.sv)
	}
	var changes []change
	if !v.unit.StopsGracefully(v.sv.ShutdownTimeout) {
		var err error
		if changes, err = v.manager().letStop(v.sv); err != nil {
			return nil, err
		}
		v.back = append(v.back, fmt.Sprintf("rm %s && %s", shell.Quote(v.manager().dropIn(v.sv).Path),
			v.manager().command("daemon-reload")))
	}
	var words, back []string
	switch active, enabled := v.unit.Active == "active", v.unit.File != "disabled"; {
	case !active && !enabled:
		words, back = []string{"enable", "--now"}, []string{"disable", "--now"}
	case !active:
		words, back = []string{"start"}, []string{"stop"}
	case !enabled:
		words, back = []string{"enable"}, []string{"disable"}
	default:
		return changes, nil
	}
	words, back = append(words, v.sv.Name), append(back, v.sv.Name)
	v.back = append(v.back, v.manager().command(back...))
	return append(changes, v.manager().turn(words, back, v.checkRuns)), nil
}

func (v *servicing) manager() manager { return manager{v.Session, v.sv.Scope} }

func (v *servicing) checkRuns(ctx context.Context) error {
	return v.manager().checkRuns(ctx, v.sv.Name)
}

// planContainer returns the changes that keep Docker from starting the retired runner.
func (v *servicing) planContainer() []change {
	var changes []change
	for _, c := range v.h.Containers {
		if c.Name != runner.WrappedContainer || c.Restart == "no" {
			continue
		}
		set := func(ctx context.Context, policy string) error {
			engine, err := docker.Connect(ctx, v.Getenv)
			if err != nil {
				return err
			}
			if err := engine.SetRestart(ctx, c.ID, policy); err != nil {
				return fmt.Errorf("set the restart policy of %q: %w", c.Name, err)
			}
			return nil
		}
		v.back = append(v.back, fmt.Sprintf("docker update --restart=%s %s", shell.Quote(c.Restart),
			shell.Quote(c.Name)))
		changes = append(changes, change{
			text: "docker update --restart=no " + c.Name,
			do:   func(ctx context.Context) error { return set(ctx, "no") },
			undo: func(ctx context.Context) error { return set(ctx, c.Restart) },
		})
	}
	return changes
}

// addRestart adds the restart as the last change. If it fails, the runner must be
// restarted again once everything else is undone, so the undo of the first change,
// which runs last, does that.
func (v *servicing) addRestart(changes []change) []change {
	restarted := false
	restart := func(ctx context.Context) error { return v.manager().control(ctx, "restart", v.sv.Name) }
	changes = append(changes, change{
		text: v.manager().command("restart", v.sv.Name) + choose(v.wait > 0,
			fmt.Sprintf(", once no job runs, within %s", config.Duration(v.wait)), ", as no job runs"),
		do: func(ctx context.Context) error {
			busy := func() string {
				v.host.readJobs(ctx, v.Session, &v.h)
				return v.h.Busy()
			}
			if err := untilIdle(ctx, v.Session, v.wait, busy); err != nil {
				return err
			}
			restarted = true
			if err := restart(ctx); err != nil {
				return err
			}
			return v.checkRuns(ctx)
		},
	})
	undo := changes[0].undo
	changes[0].undo = func(ctx context.Context) (err error) {
		if undo != nil {
			err = undo(ctx)
		}
		if restarted {
			err = errors.Join(err, restart(ctx))
		}
		return err
	}
	return changes
}

// printRemaining prints what remains to be done by hand.
func (v *servicing) printRemaining() {
	if v.sv.Scope == systemd.User && !v.h.Lingers {
		warnLinger(v.Session, v.sv.Name)
	}
	if v.unit.Active == "active" && v.edited && !v.restart {
		v.Print("the runner reads its configuration when it starts: -restart-now, or while no job runs \"%s\"",
			v.manager().command("restart", v.sv.Name))
	}
}
