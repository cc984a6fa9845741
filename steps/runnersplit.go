package steps

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hostguard/install"
	"hostguard/internal/actrunner"
	"hostguard/internal/gitea"
	"hostguard/internal/runnerdir"
	"hostguard/internal/systemd"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/workflow"
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
	found   map[string]config.Config // of those that are registered already, by directory

	inventory *gitea.Inventory
	takes     gitea.Scope       // whose jobs the primary takes
	before    []workflow.Runner // before anything is done
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
	v := &splitting{session: s, in: in, path: *plan, local: local, wait: *wait, stdin: *stdin, apply: *apply, found: map[string]config.Config{}}
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
	unit, found := v.h.Primary()
	if !found && v.h.Retired() { // its unit was removed; those of the split are of the same manager
		unit, _ = v.h.Named(v.h.SplitDirs[0].Service)
	}
	// Root sees all that has to be known.
	if unit.Scope == systemd.System && os.Geteuid() != 0 {
		if scope, _ := v.scope(ctx); scope != systemd.System {
			return fmt.Errorf("the unit %q is the system's, and sudo asks for a password: run it as root, with -runner-dir %s", unit.Name, word(v.h.Dir))
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
	moved := map[string][]config.Label{}
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
	case !found && v.h.Retired(): // its unit was removed since the split
		return nil
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
		if actrunner.IsDaemon(argv) {
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
	if err := config.CheckShareable(v.config); err != nil {
		return refusedf("%q: %w", v.h.ConfigPath, err)
	}
	return nil
}
