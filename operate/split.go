package operate

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/systemd"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/shell"
)

const helpRunnerSplit = `usage: hostguard runner split [-runner-dir DIR] [-owner WORD]
       hostguard runner split -plan FILE [-wait 1h] [-apply] [-checkout DIR]
                 [-local-repo OWNER/NAME=PATH]... [-token-stdin]

Splits a runner that serves several owners into one runner for each of them. Without
-plan it prints the plan that the labels suggest, as YAML to be saved. With a plan it
prints what it would do. With -apply, for each runner of the plan, it creates the
directory with a copy of the primary's config.yaml, registers the runner, installs
its service, and checks at the server that it is online with exactly its labels. Then
the primary loses these labels, or is stopped for good if it has no others, and
each label must be served by one runner alone. At the first failure everything is
undone; a second run changes nothing.

{inputs}

It refuses unless every job of every repository that wants one of the labels and
builds images takes the same lock: runners that share a Docker daemon run at once.

GITEA_TOKEN, or the token of the remote's URL, needs read:repository and read:admin
(for a runner of an organization, read:organization). The registration token comes
from stdin, from GITEA_RUNNER_REGISTRATION_TOKEN, or from the server, for which the
token needs write:admin. hostguard registers the runners itself: no token is ever
printed, passed as an argument or given to another process, nor sent to any server
but that of GITEA_SERVER_URL or the checkout's remote, which the primary's
registration must name.

exit status: 0 done, planned or nothing to change, 1 refused (something is missing,
or a new runner does not serve its labels), 2 wrong use or an invalid plan,
3 hostguard could not do its work, 130 or 143 interrupted.

example: hostguard runner split >split.yaml
         hostguard runner split -plan split.yaml -wait 1h -apply
`

// split is one run of runner split.
type split struct{ splitting }

func newSplit() *split {
	return &split{splitting{local: localRepositories{}, found: map[string]config.Config{}}}
}

func (v *split) Inputs() []cli.Input {
	return slices.Concat([]cli.Input{
		{Name: "plan", Kind: cli.Text(&v.path, nil), FlagOnly: true, Arg: "FILE",
			Text: "runners: a list of owner, labels, directory and service; the last two have defaults. The runner " +
				"with the primary's directory is the primary, and keeps those labels"},
		{Name: "wait", Kind: cli.Duration(&v.wait, 0, 24*time.Hour), FlagOnly: true,
			Text: "how long to wait until no job of the primary runs; no waiting by default"},
		checkoutInput(&v.checkout, "; its remote names the server"), v.local.input(),
		{Name: "token-stdin", Kind: cli.Bool(&v.stdin), FlagOnly: true, Text: "read the registration token from stdin"},
	}, v.planOptions.Inputs(), v.host.Inputs())
}

func (v *split) Run(ctx context.Context, s *cli.Session) (err error) {
	v.Session = s
	if v.path == "" && (v.apply || v.stdin || v.wait > 0) {
		return cli.Usagef("no plan is given: \"hostguard runner split >split.yaml\" proposes one; then give -plan " +
			"split.yaml")
	}
	if v.checkout, err = filepath.Abs(v.checkout); err != nil {
		return err
	}
	if v.stdin {
		if err := v.readToken(); err != nil {
			return err
		}
	}
	v.h = v.host.look(ctx, s)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if v.path == "" {
		return v.propose()
	}
	return v.run(ctx)
}

// readToken reads the registration token from stdin, and makes Getenv return it.
func (v *split) readToken() error {
	line, err := bufio.NewReader(io.LimitReader(v.Stdin, 4096)).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the registration token from stdin: %w", err)
	}
	token, getenv := strings.TrimSpace(line), v.Getenv
	if token == "" {
		return cli.Usagef("no registration token on stdin")
	}
	v.Getenv = func(name string) string {
		if name == cli.RegistrationVariable {
			return token
		}
		return getenv(name)
	}
	return nil
}

// proposalReport is what "runner split -json" prints without a plan.
type proposalReport struct {
	Version int              `json:"version"` // of this format
	Runners []proposedRunner `json:"runners"`
}

// proposedRunner has the keys that it has in a plan.
type proposedRunner struct {
	Owner   string   `json:"owner"`
	Labels  []string `json:"labels"`
	Dir     string   `json:"directory"`
	Service string   `json:"service"`
}

// propose prints a plan, ready to be saved.
func (v *split) propose() error {
	if v.h.ConfigUnseen != "" {
		return cli.Refusedf("the primary's configuration was not read: %s; run it as the runner's user, or give "+
			"-runner-dir", v.h.ConfigUnseen)
	}
	if err := checkAccepted(v.h); err != nil {
		return err
	}
	plan := runner.ProposeSplit(v.h)
	if v.json {
		report := proposalReport{Version: 1, Runners: []proposedRunner{}}
		for _, r := range plan {
			report.Runners = append(report.Runners, proposedRunner{r.Owner, r.Labels, r.Dir, r.Service})
		}
		return v.JSON(report)
	}
	if len(plan) < 2 {
		v.Print("# nothing to split: the runner in %q has labels of one owner, or none", v.h.Dir)
		return nil
	}
	v.Print("# Which runner takes which labels of the runner in %q.", v.h.Dir)
	v.Print("# Give labels that stay there to a runner with that directory. Then: hostguard runner split -plan FILE")
	for line := range strings.Lines(runner.FormatSplit(plan)) {
		v.Print("%s", strings.TrimSuffix(line, "\n"))
	}
	return nil
}

func (v *split) run(ctx context.Context) error {
	if err := v.readPlan(ctx); err != nil {
		return err
	}
	unit, found := v.h.Primary()
	if !found && v.h.Retired() { // its unit was removed; the units of the split have the same manager
		unit, _ = v.h.Named(v.h.SplitDirs[0].Service)
	}
	// Only root sees everything that must be known.
	if unit.Scope == systemd.System && os.Geteuid() != 0 {
		if scope, _ := unitScope(ctx, v.Session); scope != systemd.System {
			return fmt.Errorf("the unit %q is the system's, and sudo asks for a password: run it as root, with "+
				"-runner-dir %s", unit.Name, shell.Quote(v.h.Dir))
		}
		return v.AsRoot("runner split", v.arguments()...)
	}
	if err := v.place(ctx); err != nil {
		return err
	}
	changes, moves, err := v.planChanges(ctx)
	if err != nil {
		return err
	}
	if err := runPlan(ctx, v.Session, changes, v.planOptions, strings.Join(v.back, "; ")); err != nil {
		return err
	}
	if changes != nil && v.primary.Scope == systemd.User && !v.h.Lingers {
		warnLinger(v.Session, moves[0].Service)
	}
	return nil
}

// planChanges returns the changes of the plan, none if the host matches it already, and
// the runners that it creates.
func (v *split) planChanges(ctx context.Context) (changes []change, moves []runner.SplitRunner, err error) {
	moves = runner.Moves(v.plan, v.h.Dir)
	var runners [][]change
	todo := 0
	for _, r := range moves {
		changes, err := v.planRunner(ctx, r)
		if err != nil {
			return nil, nil, err
		}
		runners, todo = append(runners, changes), todo+len(changes)
	}
	primary, err := v.planPrimary()
	if err != nil {
		return nil, nil, err
	}
	if todo+len(primary) == 0 {
		return nil, moves, nil
	}
	if err := v.checkShared(); err != nil {
		return nil, nil, err
	}
	if err := v.checkServer(ctx); err != nil {
		return nil, nil, err
	}
	if busy := v.busy(ctx); busy != "" && len(primary) > 0 && v.wait == 0 {
		return nil, nil, cli.Refusedf("the primary is not stopped while jobs run: %s; give -wait 1h", busy)
	}
	for i, r := range moves {
		changes = append(append(changes, runners[i]...), v.smokeTest(r))
	}
	changes = append(append(changes, primary...), v.servedOnce())
	return changes, moves, v.findToken(moves)
}

// arguments returns the arguments for the same run as root.
func (v *split) arguments() []string {
	path, err := filepath.Abs(v.path)
	if err != nil {
		path = v.path
	}
	args := []string{"-plan", path, "-runner-dir", v.h.Dir, "-checkout", v.checkout}
	if v.host.owner != "" {
		args = append(args, "-owner", v.host.owner)
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
	if v.json {
		args = append(args, "-json")
	}
	return args
}
