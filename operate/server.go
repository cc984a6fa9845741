package operate

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hostguard/internal/cli"
	"hostguard/internal/gitea"
	"hostguard/internal/lockwire"
	"hostguard/internal/runnerdir"
	"hostguard/runner"
	"hostguard/runner/shell"
	"hostguard/runner/workflow"
)

// What a split needs from the runners' server.

// checkServer finds the primary at its server, and fails unless builds of its jobs wait
// for each other on whichever runner they run.
func (v *splitting) checkServer(ctx context.Context) error {
	remote, inventory, err := openInventory(ctx, v.Session, v.checkout)
	if err == nil {
		// For the undo after an interruption.
		v.inventory, err = gitea.NewInventory(context.WithoutCancel(ctx), remote.Server, remote.Token)
	}
	if err != nil {
		return cli.Refusedf("the runners' server cannot be queried: %w", err)
	}
	if version := inventory.Forgejo(); version != "" {
		return cli.Refusedf("%q is Forgejo %.50q: a split is for Gitea", remote.Server, version)
	}
	// Who can write the registration could name a server of his own.
	if strings.TrimSuffix(v.h.Config.Server, "/") != remote.Server {
		return cli.Refusedf("%q names the server %.200q, but the checkout %q is of %q: no token is sent to any other; "+
			"give -checkout, or the address of the registration in %s", v.h.RegistrationPath, v.h.Config.Server,
			v.checkout, remote.Server, serverVariable)
	}
	names, unlisted := inventory.Siblings(remote.Repository)
	if unlisted != nil {
		names = []string{remote.Repository}
	}
	if v.takes, err = inventory.ScopeOf(v.h.Config.ID, v.h.Config.Name, names); err != nil {
		return cli.Refusedf("%w; whether the new runners serve their labels could not be checked: give a GITEA_TOKEN "+
			"with %s", err, gitea.Scope{}.Reads())
	}
	if v.takes.Whole() { // or another owner's
		if names, unlisted = inventory.Repositories(); unlisted == nil {
			v.takes, err = inventory.ScopeOf(v.h.Config.ID, v.h.Config.Name, names)
		}
	}
	if err == nil {
		v.before, err = inventory.RunnersOf(v.takes)
	}
	if err != nil {
		return cli.Refusedf("%w", err)
	}
	if unlisted != nil {
		return cli.Refusedf("whether all builds take the lock is not known: %w", unlisted)
	}
	builds, err := v.checkBuilds(ctx, inventory, names)
	if err == nil {
		v.Print("the primary is the runner %q of %s at %q, which alone gets tokens; "+
			"repositories whose builds take the lock: %d",
			v.h.Config.Name, v.takes, remote.Server, builds)
	}
	return err
}

// checkBuilds refuses unless all builds for the labels of the plan take the same lock.
// It returns the number of repositories that were read.
func (v *splitting) checkBuilds(ctx context.Context, inventory *gitea.Inventory, names []string) (int, error) {
	for full := range v.local {
		if !slices.Contains(names, full) {
			names = append(names, full)
		}
	}
	slices.Sort(names)
	var read []workflow.Repository
	for _, f := range readRepositories(ctx, inventory, nil, names, v.local) {
		if f.err != nil {
			return 0, cli.Refusedf("whether its builds take the lock is not known: %w; give -local-repo %s=PATH", f.err,
				shell.Quote(f.repository.Name))
		}
		if len(f.broken) > 0 {
			return 0, cli.Refusedf("whether its builds take the lock is not known: %s; fix the file", f.broken[0])
		}
		read = append(read, f.repository)
	}
	var labels []string
	for _, r := range v.plan {
		labels = append(labels, r.Labels...)
	}
	found := workflow.CheckBuildLock(read, labels, lockwire.DefaultLockName)
	for _, f := range found[min(1, len(found)):] {
		v.Warning("%s; fix: %s", f.Evidence, f.Fix)
	}
	if len(found) > 0 {
		return 0, cli.Refusedf("two runners would build at once on one Docker daemon and delete each other's "+
			"containers: %s; fix: %s", found[0].Evidence, found[0].Fix)
	}
	return len(read), nil
}

// findToken gets the registration token from stdin, the environment or the server, if
// one is needed now.
func (v *splitting) findToken(moves []runner.SplitRunner) error {
	if len(v.found) == len(moves) {
		return nil
	}
	switch given := v.Getenv(cli.RegistrationVariable); {
	case given != "":
		v.Print("the registration token comes from %s", choose(v.stdin, "stdin", cli.RegistrationVariable))
		v.token = gitea.NewToken(strings.TrimSpace(given))
	default:
		v.Print("the registration token is requested from the server, for %s", v.takes)
		if !v.apply {
			return nil
		}
		token, err := v.inventory.RegistrationToken(v.takes)
		if err != nil {
			return cli.Refusedf("%w; give a GITEA_TOKEN with %s, or the registration token in %s or by -token-stdin",
				err, v.takes.Writes(), cli.RegistrationVariable)
		}
		v.token = token
	}
	return nil
}

// live returns the runner of the server's list that is registered in a directory.
func (v *splitting) live(ctx context.Context, runners []workflow.Runner, dir string) (workflow.Runner, error) {
	c := v.h.Config
	if dir != v.h.Dir {
		var err error
		at := runnerdir.Place{Dir: dir, Config: filepath.Join(dir, "config.yaml")}
		if _, c, err = v.host.files.Read(ctx, -1, at); err != nil {
			return workflow.Runner{}, err
		}
	}
	for _, l := range runners {
		if l.ID == c.ID && l.Name == c.Name {
			return l, nil
		}
	}
	return workflow.Runner{}, fmt.Errorf("the runner %q (id %d) is not among those of %s; was the registration token "+
		"for that?", c.Name, c.ID, v.takes)
}

// runners returns the runners that the server lists.
func (v *splitting) runners() ([]workflow.Runner, error) {
	all, err := v.inventory.RunnersOf(v.takes)
	if err != nil {
		err = fmt.Errorf("%w; a token with %s shows them", err, v.takes.Reads())
	}
	return all, err
}
