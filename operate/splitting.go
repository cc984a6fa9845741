package operate

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/gitea"
	"hostguard/internal/runnerdir"
	"hostguard/internal/systemd"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/workflow"
	"hostguard/runner/yamltree"
)

const (
	smokeTime  = time.Minute     // for a new runner to be online
	servedTime = 2 * time.Minute // Gitea shows a runner as online for a minute after its last request
)

// splitting is the state that the parts of a split share: the options, and what was
// seen of the host and the server.
type splitting struct {
	host           hostOptions
	path, checkout string
	local          localRepositories
	wait           time.Duration
	stdin          bool
	planOptions

	*cli.Session
	h       runner.Host
	primary runner.Service
	unit    runner.Unit // of the primary
	owner   *user.User
	plan    []runner.SplitRunner
	found   map[string]config.Config // of those that are registered already, by directory

	inventory *gitea.Inventory
	takes     gitea.Scope       // whose jobs the primary takes
	before    []workflow.Runner // runners before the first change
	token     gitea.Token       // of registrations
	back      []string          // commands that undo the changes
}

// readPlan reads the plan and checks what it names on this host.
func (v *splitting) readPlan(ctx context.Context) error {
	path, err := filepath.Abs(v.path)
	var data []byte
	if err == nil {
		data, err = v.host.files.Text(ctx, -1, path, yamltree.MaxFile+1)
	}
	if err != nil {
		return cli.Usagef("read the plan %q: %w", v.path, cli.Pathless(err))
	}
	service := runner.PrimaryService
	if units := v.h.UnitsOf(v.h.PrimaryUnit()); len(units) == 1 {
		service = units[0].Name
	}
	if v.plan, err = runner.ParseSplit(data, v.h.Dir, service); err != nil {
		return cli.Usagef("plan %q: %w", v.path, err)
	}
	if v.h.ConfigUnseen != "" {
		return cli.Refusedf("the primary's configuration was not read: %s; run it as the runner's user, or give "+
			"-runner-dir", v.h.ConfigUnseen)
	}
	if err := checkAccepted(v.h); err != nil {
		return err
	}
	if !v.h.Registered {
		return cli.Refusedf("the primary in %q is not registered: there is no %q; give -runner-dir the directory of "+
			"the runner that is", v.h.Dir, v.h.RegistrationPath)
	}
	if v.owner, err = runnerUser(ctx, &v.host.files, v.h.Dir); err != nil {
		return cli.Refusedf("%w", err)
	}
	uid, _ := strconv.Atoi(v.owner.Uid)
	moved := map[string][]config.Label{}
	for _, r := range runner.Moves(v.plan, v.h.Dir) {
		if err := v.host.files.CheckPlace(ctx, r.Dir, uid); err != nil {
			return cli.Usagef("plan %q: line %d: %w", v.path, r.Line, err)
		}
		if v.host.files.Status(ctx, r.Dir) == "registered" {
			_, c, err := v.host.files.Read(ctx, -1, runnerdir.Place{Dir: r.Dir, Config: configOf(r)})
			if err != nil {
				return fmt.Errorf("read the configuration of %q: %w", r.Dir, cli.Pathless(err))
			}
			v.found[r.Dir], moved[r.Dir] = c, c.Labels
		}
	}
	if err := runner.CheckSplit(v.plan, v.h.Config.Labels, moved); err != nil {
		return cli.Usagef("plan %q: %w", v.path, err)
	}
	return nil
}

func configOf(r runner.SplitRunner) string { return filepath.Join(r.Dir, "config.yaml") }

// place finds the unit of the primary; the other runners get units of the same manager.
func (v *splitting) place(ctx context.Context) error {
	v.primary = v.h.PrimaryUnit()
	if v.primary.Scope = systemd.User; os.Geteuid() == 0 {
		v.primary.Scope = systemd.System
	}
	unit, found, err := v.h.Adopt(v.primary)
	switch {
	case err != nil:
		return cli.Refusedf("%w", err)
	case !found && v.h.Retired(): // its unit was removed after the split
		return nil
	case !found:
		return cli.Refusedf("no service runs the primary in %q, so that it cannot be stopped and started again; "+
			"\"hostguard runner service -apply\" makes one", v.h.Dir)
	case v.h.ProcessesUnseen != "":
		return cli.Refusedf("whether something else runs the primary's registration is not known: %s",
			v.h.ProcessesUnseen)
	case v.h.DockerUnseen != "":
		return cli.Refusedf("whether a container runs the primary's registration is not known: %s", v.h.DockerUnseen)
	case unit.Active == "active" && (v.h.Config.ShutdownTimeout == 0 || !unit.StopsGracefully(v.h.Config.ShutdownTimeout)):
		return cli.Refusedf("the unit %q would cancel a job that begins while it is stopped; \"hostguard runner "+
			"service -apply\" fixes that", unit.Name)
	case unit.Config != v.h.ConfigPath:
		return cli.Refusedf("the unit %q runs the primary with %.200q, not with %.200q; give -runner-dir", unit.Name,
			unit.Config, v.h.ConfigPath)
	case unit.Scope == systemd.User && strconv.Itoa(os.Geteuid()) != v.owner.Uid:
		return cli.Refusedf("%q is %q's, and so is its unit: run it as that user", v.h.Dir, v.owner.Username)
	}
	v.unit, v.primary.Name, v.primary.Scope = unit, unit.Name, unit.Scope
	if unit.Scope == systemd.System {
		v.primary.User = v.owner.Username
	}
	if unit.Launch.Argv != nil {
		v.primary.Binary = unit.Launch.Argv[0]
	}
	if !filepath.IsAbs(v.primary.Binary) || v.host.files.Program(ctx, []string{v.primary.Binary}) == "" {
		return cli.Refusedf("the unit %q runs %.200q, which is not the full path of a program", unit.Name,
			v.primary.Binary)
	}
	return nil
}

// checkShared fails unless the primary's configuration can be copied.
func (v *splitting) checkShared() (err error) {
	server, err := url.Parse(v.h.Config.Server)
	if err != nil || server.Scheme != "http" && server.Scheme != "https" || server.Host == "" ||
		cli.Word(v.h.Config.Server) != v.h.Config.Server {
		return cli.Refusedf("the address in %q is %.200q, not that of a Gitea server; register the primary again",
			v.h.RegistrationPath, v.h.Config.Server)
	}
	if err := config.CheckShareable(v.h.ConfigText); err != nil {
		return cli.Refusedf("%q: %w", v.h.ConfigPath, err)
	}
	return nil
}

// manager returns the manager of the primary and of the runners beside it.
func (v *splitting) manager() manager { return manager{v.Session, v.primary.Scope} }
