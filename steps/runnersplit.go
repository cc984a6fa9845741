package steps

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostguard/install"
	"hostguard/internal/gitea"
	"hostguard/internal/register"
	"hostguard/internal/runnerdir"
	"hostguard/internal/systemd"
	"hostguard/runner"
)

const (
	smokeTime  = time.Minute     // for a new runner to be online
	servedTime = 2 * time.Minute // Gitea calls a runner online for a minute after its last word
	askEvery   = 2 * time.Second // the server, meanwhile
)

// registrationVariable is what the runner itself calls it.
const registrationVariable = "GITEA_RUNNER_REGISTRATION_TOKEN"

// splitting is one run of runner split.
type splitting struct {
	*session
	in             hostInputs
	path, checkout string
	local          map[string]string
	wait           time.Duration
	stdin, apply   bool

	h       runner.Host
	primary runner.Service
	unit    runner.Unit // of the primary
	owner   *user.User
	config  []byte // the primary's
	plan    []runner.SplitRunner
	found   map[string]runner.Config // of those that are registered already, by directory

	inventory *gitea.Inventory
	takes     gitea.Scope   // whose jobs the primary takes
	before    []runner.Live // before anything is done
	token     string
	back      []string // commands
}

func runnerSplit(ctx context.Context, s *session) error {
	in := s.hostInputs()
	plan, checkout := s.in.text("plan", "", nil), s.in.text("checkout", ".", nil)
	local := s.localRepositories()
	wait := s.in.duration("wait", 0, 0, 24*time.Hour)
	stdin, apply := s.in.boolean("token-stdin"), s.in.boolean("apply")
	s.in.flagOnly("plan", "checkout", "local-repo", "wait", "token-stdin", "apply")
	if err := s.in.parse(); err != nil {
		return err
	}
	v := &splitting{session: s, in: in, path: *plan, local: local, wait: *wait, stdin: *stdin, apply: *apply, found: map[string]runner.Config{}}
	if *plan == "" && (*apply || *stdin || *wait > 0) {
		return usagef("no plan is given: \"hostguard runner split >split.yaml\" proposes one; then give -plan split.yaml")
	}
	var err error
	if v.checkout, err = filepath.Abs(*checkout); err != nil {
		return err
	}
	if v.stdin {
		if err := v.readToken(); err != nil {
			return err
		}
	}
	v.h = s.lookAtHost(ctx, in)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if *plan == "" {
		return v.propose()
	}
	return v.run(ctx)
}

// readToken reads the registration token from stdin, as if it came from the
// environment.
func (v *splitting) readToken() error {
	line, err := bufio.NewReader(io.LimitReader(v.Stdin, 4096)).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the registration token from stdin: %w", err)
	}
	token, getenv := strings.TrimSpace(line), v.Getenv
	if token == "" {
		return usagef("there is no registration token on stdin")
	}
	v.Getenv = func(name string) string {
		if name == registrationVariable {
			return token
		}
		return getenv(name)
	}
	return nil
}

// propose prints a plan, ready to be saved.
func (v *splitting) propose() error {
	if v.h.ConfigUnseen != "" {
		return refusedf("the primary's configuration was not read: %s; run it as the runner's user, or give -runner-dir", v.h.ConfigUnseen)
	}
	plan := runner.ProposeSplit(v.h)
	if len(plan) < 2 {
		v.Say("# nothing to split: the runner in %q has labels of one owner, or none", v.h.Dir)
		return nil
	}
	v.Say("# Which runner takes which labels of the one in %q. Labels that are", v.h.Dir)
	v.Say("# to stay with it go to one with its directory. Then: hostguard runner split -plan FILE")
	for line := range strings.Lines(runner.FormatSplit(plan)) {
		v.Say("%s", strings.TrimSuffix(line, "\n"))
	}
	return nil
}

func (v *splitting) run(ctx context.Context) error {
	if err := v.readPlan(); err != nil {
		return err
	}
	// Root sees all that has to be known.
	if units := v.h.UnitsOf(v.h.PrimaryUnit()); len(units) == 1 && units[0].Scope == systemd.System && os.Geteuid() != 0 {
		if scope, _ := v.scope(ctx); scope != systemd.System {
			return fmt.Errorf("the unit %q is the system's, and sudo asks for a password: run it as root, with -runner-dir %s", units[0].Name, word(v.h.Dir))
		}
		return v.asRoot("runner split", v.arguments()...)
	}
	if err := v.place(); err != nil {
		return err
	}
	moves := runner.Moves(v.plan, v.h.Dir)
	var runners [][]change
	todo := 0
	for _, r := range moves {
		changes, err := v.planRunner(r)
		if err != nil {
			return err
		}
		runners, todo = append(runners, changes), todo+len(changes)
	}
	primary, err := v.planPrimary()
	if err != nil {
		return err
	}
	if todo+len(primary) == 0 {
		return v.carryOut(ctx, nil, v.apply, "")
	}
	if err := v.checkShared(); err != nil {
		return err
	}
	if err := v.checkServer(ctx); err != nil {
		return err
	}
	if busy := v.busy(ctx); busy != "" && len(primary) > 0 && v.wait == 0 {
		return refusedf("the primary is not stopped while jobs run: %s; give -wait 1h", busy)
	}
	var changes []change
	for i, r := range moves {
		changes = append(append(changes, runners[i]...), v.smokeTest(r))
	}
	changes = append(append(changes, primary...), v.servedOnce())
	if err := v.findToken(moves); err != nil {
		return err
	}
	if err := v.carryOut(ctx, changes, v.apply, fmt.Sprintf("%q", strings.Join(v.back, "; "))); err != nil {
		return err
	}
	if v.primary.Scope == systemd.User && !v.h.Lingers {
		v.sayLinger(moves[0].Service)
	}
	return nil
}

// readPlan reads the plan and looks at what it names on this host.
func (v *splitting) readPlan() error {
	data, err := runnerdir.ReadFile(v.path)
	if err != nil {
		return usagef("read the plan %q: %w", v.path, pathless(err))
	}
	service := runner.PrimaryService
	if units := v.h.UnitsOf(v.h.PrimaryUnit()); len(units) == 1 {
		service = units[0].Name
	}
	if v.plan, err = runner.ParseSplit(data, v.h.Dir, service); err != nil {
		return usagef("plan %q: %w", v.path, err)
	}
	if v.h.ConfigUnseen != "" {
		return refusedf("the primary's configuration was not read: %s; run it as the runner's user, or give -runner-dir", v.h.ConfigUnseen)
	}
	if !v.h.Registered {
		return refusedf("the primary in %q is not registered: there is no %q; give -runner-dir the directory of the runner that is", v.h.Dir, v.h.RegistrationPath)
	}
	if v.owner, err = runnerUser(v.h.Dir); err != nil {
		return err
	}
	if v.config, err = runnerdir.ReadFile(v.h.ConfigPath); err != nil {
		return fmt.Errorf("read %q: %w", v.h.ConfigPath, pathless(err))
	}
	uid, _ := strconv.Atoi(v.owner.Uid)
	moved := map[string][]runner.Label{}
	for _, r := range runner.Moves(v.plan, v.h.Dir) {
		err := runnerdir.CheckPlace(r.Dir, uid)
		if err == nil {
			err = install.CheckOwners(r.Dir, uid)
		}
		if err != nil {
			return usagef("plan %q: line %d: %w", v.path, r.Line, err)
		}
		if runnerdir.Status(r.Dir) == "registered" {
			c, _, _, err := runnerdir.Read(r.Dir, configOf(r))
			if err != nil {
				return fmt.Errorf("read the configuration of %q: %w", r.Dir, pathless(err))
			}
			v.found[r.Dir], moved[r.Dir] = c, c.Labels
		}
	}
	if err := runner.CheckSplit(v.plan, v.h.Config.Labels, moved); err != nil {
		return usagef("plan %q: %w", v.path, err)
	}
	return nil
}

func configOf(r runner.SplitRunner) string { return filepath.Join(r.Dir, "config.yaml") }

// place finds the unit of the primary; the others become units of the same
// manager.
func (v *splitting) place() error {
	v.primary = v.h.PrimaryUnit()
	if v.primary.Scope = systemd.User; os.Geteuid() == 0 {
		v.primary.Scope = systemd.System
	}
	unit, found, err := v.h.Adopt(v.primary)
	switch {
	case err != nil:
		return refusedf("%w", err)
	case !found:
		return refusedf("no service runs the primary in %q, so that it cannot be stopped and started again; \"hostguard runner service -apply\" makes one", v.h.Dir)
	case v.h.ProcessesUnseen != "":
		return refusedf("whether something else runs the primary's registration is not known: %s", v.h.ProcessesUnseen)
	case v.h.DockerUnseen != "":
		return refusedf("whether a container runs the primary's registration is not known: %s", v.h.DockerUnseen)
	case unit.Active == "active" && (v.h.Config.ShutdownTimeout == 0 || !unit.Stops(v.h.Config.ShutdownTimeout)):
		return refusedf("the unit %q would cancel a job that begins while it is stopped; \"hostguard runner service -apply\" mends that", unit.Name)
	case unit.Config != v.h.ConfigPath:
		return refusedf("the unit %q runs the primary by %.200q, not by %.200q; give -runner-dir", unit.Name, unit.Config, v.h.ConfigPath)
	case unit.Scope == systemd.User && strconv.Itoa(os.Geteuid()) != v.owner.Uid:
		return refusedf("%q is %q's, and so is its unit: run it as that user", v.h.Dir, v.owner.Username)
	}
	v.unit, v.primary.Name, v.primary.Scope = unit, unit.Name, unit.Scope
	if unit.Scope == systemd.System {
		v.primary.User = v.owner.Username
	}
	for _, argv := range unit.Exec {
		if runner.IsDaemon(argv) {
			v.primary.Binary = argv[0]
		}
	}
	if !filepath.IsAbs(v.primary.Binary) || !isProgram(v.primary.Binary) {
		return refusedf("the unit %q runs %.200q, which is no program by its full path", unit.Name, v.primary.Binary)
	}
	return nil
}

// arguments are those of the same run as root.
func (v *splitting) arguments() []string {
	path, err := filepath.Abs(v.path)
	if err != nil {
		path = v.path
	}
	args := []string{"-plan", path, "-runner-dir", v.h.Dir, "-checkout", v.checkout}
	if *v.in.owner != "" {
		args = append(args, "-owner", *v.in.owner)
	}
	for full, dir := range v.local {
		args = append(args, "-local-repo", full+"="+dir)
	}
	if v.wait > 0 {
		args = append(args, "-wait", v.wait.String())
	}
	if v.apply {
		args = append(args, "-apply")
	}
	return args
}

// checkShared reads the configuration that is to be copied.
func (v *splitting) checkShared() (err error) {
	server, err := url.Parse(v.h.Config.Server)
	if err != nil || server.Scheme != "http" && server.Scheme != "https" || server.Host == "" || word(v.h.Config.Server) != v.h.Config.Server {
		return refusedf("the address in %q is %.200q, none of a Gitea; register the primary anew", v.h.RegistrationPath, v.h.Config.Server)
	}
	if err := runner.CheckShareable(v.config); err != nil {
		return refusedf("%q: %w", v.h.ConfigPath, err)
	}
	return nil
}

// service is the unit that a runner of the plan gets.
func (v *splitting) service(r runner.SplitRunner) runner.Service {
	return runner.Service{
		Name: r.Service, Scope: v.primary.Scope, Dir: r.Dir, ConfigPath: configOf(r), RegistrationPath: filepath.Join(r.Dir, ".runner"),
		Binary: v.primary.Binary, User: v.primary.User, ShutdownTimeout: shutdownTime, Environment: v.unit.Environment, EnvironmentFiles: v.unit.EnvironmentFiles,
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
			return nil, refusedf("the runner in %q is registered already, but %w; change its config.yaml, or the plan", r.Dir, err)
		}
		sv.ShutdownTimeout, sv.RegistrationPath = c.ShutdownTimeout, registrationOf(r.Dir, configOf(r))
	case exists(r.Dir):
		return nil, refusedf("%q is there and has no registration, so whose it is cannot be told; move it away", r.Dir)
	default:
		var err error
		if changes, err = v.newRunner(r); err != nil {
			return nil, err
		}
	}
	unit, found, err := v.h.Adopt(sv)
	switch {
	case err != nil:
		return nil, refusedf("runner of %q: %w", r.Owner, err)
	case found && unit.Name != sv.Name:
		return nil, refusedf("the runner in %q has the unit %q; write that into the plan", r.Dir, unit.Name)
	case found && unit.Active == "active":
		return changes, nil
	}
	service, err := v.installService(sv)
	if err != nil {
		return nil, err
	}
	v.back = append(v.back, v.removeService(sv))
	if len(changes) > 0 {
		v.back = append(v.back, fmt.Sprintf("rm -r %s; remove its runner at %q", word(r.Dir), v.h.Config.Server))
	}
	return append(changes, service...), nil
}

// newRunner makes the directory of a runner and registers it.
func (v *splitting) newRunner(r runner.SplitRunner) ([]change, error) {
	host, err := os.Hostname()
	if err != nil || word(host) != host {
		return nil, refusedf("the host's name %.100q is none for a runner; set a plain one", host)
	}
	want := runner.ConfigWant{
		Capacity: 1, ShutdownTimeout: shutdownTime, Registration: ".runner",
		CacheDir: filepath.Join(r.Dir, ".cache/actcache"), WorkdirParent: filepath.Join(r.Dir, ".cache/act"),
	}
	if env := v.h.Config.EnvFile; env != "" && !filepath.IsAbs(env) {
		want.EnvFile = filepath.Join(v.h.Dir, env)
	}
	config, said, err := runner.EditConfig(v.config, want)
	if err == nil {
		var labels []string
		for _, l := range r.Takes(v.h.Config.Labels) {
			labels = append(labels, l.Full)
		}
		config, _, err = runner.EditConfig(config, runner.ConfigWant{Labels: labels})
	}
	if err != nil {
		return nil, refusedf("copy %q: %w", v.h.ConfigPath, err)
	}
	uid, _ := strconv.Atoi(v.owner.Uid)
	gid, _ := strconv.Atoi(v.owner.Gid)
	program := register.Runner{
		Program: v.primary.Binary, Dir: r.Dir, Config: configOf(r), Instance: v.h.Config.Server, Name: host + "-" + r.Owner, UID: uid, GID: gid, Home: v.owner.HomeDir,
	}
	var made runnerdir.Made
	begun := false
	return []change{{
		say: fmt.Sprintf("make %q, %q's alone, with a copy of %q that has the labels %s: %s", r.Dir, v.owner.Username, v.h.ConfigPath, quotedList(r.Labels), strings.Join(said, ", ")),
		do: func(context.Context) (err error) {
			made, err = runnerdir.Make(r.Dir, uid, gid, config)
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
	}, {
		say: fmt.Sprintf("register %q at %q by %q", program.Name, program.Instance, program.Program),
		do: func(ctx context.Context) error {
			if err := program.Do(ctx, v.Getenv, v.token); err != nil {
				return err
			}
			c, path, registered, err := runnerdir.Read(r.Dir, configOf(r))
			if err != nil || !registered || c.ID == 0 || c.Name != program.Name {
				return fmt.Errorf("register %q: %q says that it is done, and %q has no such registration", program.Name, program.Program, path)
			}
			return nil
		},
		undo: func(ctx context.Context) error { return v.unregister(ctx, r, program.Name) },
	}}, nil
}

// stopped tells that a runner does not run. What belongs to one that still waits
// for a job is not taken away from under it.
func (v *splitting) stopped(ctx context.Context, r runner.SplitRunner) error {
	u, err := v.session.unit(ctx, v.primary.Scope, r.Service)
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

// knew tells that the server had a runner of this id before.
func (v *splitting) knew(id int64) bool {
	return slices.ContainsFunc(v.before, func(l runner.Live) bool { return l.ID == id })
}

// smokeTest is the change after which a runner is known to serve its labels.
func (v *splitting) smokeTest(r runner.SplitRunner) change {
	return change{
		say: fmt.Sprintf("see that %q runs and that its runner is online with %s, within %s", r.Service, quotedList(r.Labels), short(smokeTime)),
		do: func(ctx context.Context) error {
			return until(ctx, smokeTime, func() error {
				u, err := v.session.unit(ctx, v.primary.Scope, r.Service)
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
					return fmt.Errorf("the runner %q has the labels %s, not %s", l.Name, quotedList(l.Labels), quotedList(r.Labels))
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

// live finds the runner that is registered in a directory among those that the
// server tells.
func (v *splitting) live(runners []runner.Live, dir string) (runner.Live, error) {
	c := v.h.Config
	if dir != v.h.Dir {
		var err error
		if c, _, _, err = runnerdir.Read(dir, filepath.Join(dir, "config.yaml")); err != nil {
			return runner.Live{}, err
		}
	}
	for _, l := range runners {
		if l.ID == c.ID && l.Name == c.Name {
			return l, nil
		}
	}
	return runner.Live{}, fmt.Errorf("the runner %q, whose id is %d, is not among those of %s; was the registration token for that?", c.Name, c.ID, v.takes)
}

// runners are all that the server tells.
func (v *splitting) runners() ([]runner.Live, error) {
	all, err := v.inventory.RunnersOf(v.takes)
	if err != nil {
		err = fmt.Errorf("%w; a token with %s shows them", err, v.takes.Reads())
	}
	return all, err
}

// until tries until it works; the last error tells why not in time.
func until(ctx context.Context, limit time.Duration, try func() error) error {
	start := time.Now()
	for {
		err := try()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			return nil
		}
		if waited := time.Since(start); waited >= limit {
			return refusedf("after %s: %w", short(waited), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(askEvery, max(0, limit-time.Since(start)))):
		}
	}
}

// planPrimary is what takes the moved labels from the primary: nothing if it has
// none of them any more.
func (v *splitting) planPrimary() ([]change, error) {
	stays := runner.Stays(v.plan, v.h)
	if len(stays) == 0 {
		if v.unit.Off() {
			return nil, nil
		}
		start := []string{"enable", "--now", v.primary.Name}
		switch {
		case v.unit.File != "enabled":
			start = []string{"start", v.primary.Name}
		case v.unit.Active != "active":
			start = []string{"enable", v.primary.Name}
		}
		v.back = append([]string{systemd.Command(v.primary.Scope, start...)}, v.back...)
		stop := []string{"disable", "--now", v.primary.Name}
		return []change{v.idle(), {
			say:  systemd.Command(v.primary.Scope, stop...) + ", as others have all its labels",
			do:   func(ctx context.Context) error { return systemd.Control(ctx, v.primary.Scope, v.Getenv, stop...) },
			undo: func(ctx context.Context) error { return systemd.Control(ctx, v.primary.Scope, v.Getenv, start...) },
		}}, nil
	}
	if len(stays) == len(v.h.Config.Labels) {
		return nil, nil
	}
	var labels []string
	for _, l := range stays {
		labels = append(labels, l.Full)
	}
	path := v.h.ConfigPath
	is, said, err := runner.EditConfig(v.config, runner.ConfigWant{Labels: labels})
	if err != nil {
		return nil, refusedf("edit %q: %w", path, err)
	}
	kept := fmt.Sprintf("%s.%s.previous", filepath.Base(path), time.Now().UTC().Format("20060102T150405"))
	restart := systemd.Command(v.primary.Scope, "restart", v.primary.Name)
	v.back = append([]string{fmt.Sprintf("mv %s %s && %s", word(filepath.Join(filepath.Dir(path), kept)), word(path), restart)}, v.back...)
	restarted := false
	again := func(ctx context.Context) error {
		return systemd.Control(ctx, v.primary.Scope, v.Getenv, "restart", v.primary.Name)
	}
	return []change{v.idle(), {
		say: fmt.Sprintf("in %q: %s; the previous one is kept as %q; %s", path, strings.Join(said, ", "), kept, restart),
		do: func(ctx context.Context) error {
			if err := runnerdir.Replace(path, kept, v.config, is); err != nil {
				return err
			}
			restarted = true
			if err := again(ctx); err != nil {
				return err
			}
			return v.checkRuns(ctx, v.primary.Scope, v.primary.Name)
		},
		undo: func(ctx context.Context) error {
			err := runnerdir.Restore(path, kept, v.config, is)
			if restarted {
				err = errors.Join(err, again(ctx))
			}
			return err
		},
	}}, nil
}

// idle is the change after which no job of the primary runs.
func (v *splitting) idle() change {
	return change{
		say: fmt.Sprintf("see that no job of %q runs%s", v.primary.Name, cond(v.wait > 0, ", within "+runner.Duration(v.wait), "")),
		do: func(ctx context.Context) error {
			return v.untilIdle(ctx, v.wait, func() string { return v.busy(ctx) })
		},
	}
}

// busy says what may be a job of the primary: not those that the new runners'
// logs name, nor those in their directories.
func (v *splitting) busy(ctx context.Context) string {
	v.seeJobs(ctx, &v.h)
	h := v.h
	for _, r := range runner.Moves(v.plan, v.h.Dir) {
		h.ActiveHostJobs = slices.DeleteFunc(slices.Clone(h.ActiveHostJobs), func(dir string) bool { return strings.HasPrefix(dir, r.Dir+"/") })
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
			h.ActiveContainers = runner.Others(h.ActiveContainers, tasks)
		}
	}
	return h.Busy()
}

// servedOnce is the change after which each label is served by the one runner
// that the plan gives it to.
func (v *splitting) servedOnce() change {
	var dirs []string // as in the plan, and the primary's, if it is not there
	for _, r := range append(slices.Clone(v.plan), runner.SplitRunner{Dir: v.h.Dir}) {
		if !slices.Contains(dirs, r.Dir) {
			dirs = append(dirs, r.Dir)
		}
	}
	return change{
		say: fmt.Sprintf("see that each label is served by the runner of the plan alone, within %s", short(servedTime)),
		do: func(ctx context.Context) error {
			return until(ctx, servedTime, func() error {
				all, err := v.runners()
				if err != nil {
					return err
				}
				var runners []runner.Live
				for _, dir := range dirs {
					l, err := v.live(all, dir)
					if err != nil {
						return err
					}
					runners = append(runners, l)
				}
				for i, r := range v.plan {
					for _, label := range r.Labels {
						if by := runner.Served(label, runners); !slices.Equal(by, []string{runners[i].Name}) {
							return fmt.Errorf("label %q is served by %s, not by %q alone", label, cmp.Or(quotedList(by), "none"), runners[i].Name)
						}
					}
				}
				return nil
			})
		},
	}
}

// checkServer finds the primary at its server, and that builds of its jobs wait
// for each other whatever runner they run on.
func (v *splitting) checkServer(ctx context.Context) error {
	remote, inventory, err := v.session.inventory(context.WithoutCancel(ctx), v.checkout) // to take it back after an interruption
	if err != nil {
		return refusedf("the runners' server cannot be asked: %w", err)
	}
	v.inventory = inventory
	names, unlisted := inventory.Siblings(remote.Repository)
	if unlisted != nil {
		names = []string{remote.Repository}
	}
	if v.takes, err = inventory.ScopeOf(v.h.Config.ID, v.h.Config.Name, names); err != nil {
		return refusedf("%w; whether the new runners serve their labels could not be seen: give a GITEA_TOKEN with %s", err, gitea.Scope{}.Reads())
	}
	if v.before, err = inventory.RunnersOf(v.takes); err != nil {
		return refusedf("%w", err)
	}
	if v.takes.Whole() {
		names, unlisted = inventory.Repositories()
	}
	if unlisted != nil {
		return refusedf("whether all builds take the lock is not known: %w", unlisted)
	}
	for full := range v.local {
		if !slices.Contains(names, full) {
			names = append(names, full)
		}
	}
	slices.Sort(names)
	var read []runner.Repository
	for _, f := range readRepositories(inventory, nil, names, v.local) {
		if f.err != nil {
			return refusedf("whether its builds take the lock is not known: %w; give -local-repo %s=PATH", f.err, word(f.repository.Name))
		}
		if len(f.broken) > 0 {
			return refusedf("whether its builds take the lock is not known: %s; mend the file", f.broken[0])
		}
		read = append(read, f.repository)
	}
	var labels []string
	for _, r := range v.plan {
		labels = append(labels, r.Labels...)
	}
	found := runner.CheckBuildLock(read, labels, defaultLockName)
	for _, f := range found[min(1, len(found)):] {
		v.Warning("%s; fix: %s", f.Evidence, f.Fix)
	}
	if len(found) > 0 {
		return refusedf("two runners would build at once on one Docker daemon and delete each other's containers: %s; fix: %s", found[0].Evidence, found[0].Fix)
	}
	v.Say("the primary is the runner %q of %s at %q; the builds of %d repositories take the lock", v.h.Config.Name, v.takes, remote.Server, len(read))
	return nil
}

// findToken gets the registration token, if one is needed now: from stdin, the
// environment or the server.
func (v *splitting) findToken(moves []runner.SplitRunner) error {
	if len(v.found) == len(moves) {
		return nil
	}
	switch given := v.Getenv(registrationVariable); {
	case given != "":
		v.Say("the registration token comes from %s", cond(v.stdin, "stdin", registrationVariable))
		v.token = strings.TrimSpace(given)
	default:
		v.Say("the registration token is asked for at the server, for %s", v.takes)
		if !v.apply {
			return nil
		}
		token, err := v.inventory.RegistrationToken(v.takes)
		if err != nil {
			return refusedf("%w; give a GITEA_TOKEN with %s, or the registration token in %s or by -token-stdin", err, v.takes.Writes(), registrationVariable)
		}
		v.token = token.Secret()
	}
	return nil
}
