package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"hostguard/clean"
	"hostguard/internal/cli"
	"hostguard/internal/proc"
)

// toldByName is how many entries of a folder are told one by one.
const toldByName = 20

const helpCleanDiag = `Removes what dead jobs left behind, and waits for nothing:

  - files in _diag/pages and _diag/blocks of GitHub's runner that make "Set up
    job" fail with "already exists": regular files named as the runner names
    them, open in no process, older than the oldest live worker of this runner;
  - the paths inside the workspace (.claude/worktrees), whole, unless a process
    other than hostguard and its ancestors works in them. Git forgets the
    worktrees among them;
  - with -jobs, the directories that a killed act_runner left of its jobs, whole.
    Without it they are only printed.

{inputs}

Never touched: directories in _diag, links, files with a second name, _work,
_temp, and the files of a running job.

exit status: 0 done, 2 wrong use, 3 something could not be cleaned,
130 or 143 interrupted.

example: hostguard clean-diag -runner-root /home/ci/actions-runner -dry-run
`

// cleanDiag is one run of clean-diag.
type cleanDiag struct {
	cleaning
	runnerRoot string   // empty: not given
	paths      []string // nil: not given
	dryRun     bool
	mode       string
}

func (c *cleanDiag) Inputs() []cli.Input {
	return []cli.Input{
		{Name: "runner-root", Kind: cli.Text(&c.runnerRoot, nil), Arg: "DIR",
			Text: "the directory of run.sh and _diag, or the one in which act_runner makes those of its jobs; found " +
				"from RUNNER_TEMP, and outside a job ~/.cache/act. A host without one has nothing to clean there, " +
				"and that is said"},
		{Name: "jobs", Kind: cli.Bool(&c.removeJobs),
			Text: "also remove <16 hex digits>/{act,hostexecutor,tmp} that are older than every living runner of " +
				"their owner, and that no process works in, has open, mounted or in its environment. Processes that " +
				"may not be looked into and are not older keep it: run it as root"},
		{Name: "min-age", Kind: cli.Duration(&c.minAge, 0, 10000*time.Hour), Arg: "AGE",
			Text: "how old a file in _diag, or such a directory, must be as well. Where live workers cannot be seen " +
				"(in a container) the default is 10m, else 0s"},
		{Name: "paths", Kind: cli.List(&c.paths, clean.CheckPath), Arg: "PATH,...",
			Text: "directories inside GITHUB_WORKSPACE, separated by commas; default .claude/worktrees"},
		{Name: "dry-run", Kind: cli.Bool(&c.dryRun), Text: "tells the same and removes nothing"},
		{Name: "mode", Kind: cli.Choice(&c.mode, cli.WarnOnly, cli.HardFail), Default: cli.WarnOnly,
			Text: "warn-only makes a warning of statuses 1 and 3"},
	}
}

func (c *cleanDiag) Run(ctx context.Context, s *cli.Session) error {
	c.Session = s
	s.SayInputs()
	defer c.close()
	return s.Soften(ctx, c.mode, c.clean(ctx))
}

// clean plans, tells the plan and removes. A dry run stops before the removal,
// so that both tell the same.
func (c *cleanDiag) clean(ctx context.Context) error {
	if err := c.CheckFiles(); err != nil {
		return err
	}
	if err := c.plan(ctx); err != nil {
		return err
	}
	c.Say("clean-diag: files to remove: %d (%d bytes), skipped: %d", c.files, c.bytes, c.skipped)
	var done clean.Done
	if !c.dryRun {
		done = c.remove(ctx)
	}
	if err := c.report(done); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(c.problems) > 0 {
		return fmt.Errorf("%w (problems in all: %d, told above)", c.problems[0], len(c.problems))
	}
	return nil
}

func (c *cleanDiag) plan(ctx context.Context) error {
	end := c.Group("Clean what dead jobs left behind")
	defer end()
	if err := c.planRunner(ctx); err != nil {
		return err
	}
	c.planWorkspace(ctx)
	return nil
}

func (c *cleanDiag) report(done clean.Done) error {
	what := fmt.Sprintf("files removed: %d (%d bytes)", done.Files, done.Bytes)
	if c.dryRun {
		what = fmt.Sprintf("dry run, files to remove: %d (%d bytes)", c.files, c.bytes)
	}
	skipped := c.skipped + done.Changed
	c.Summary(fmt.Sprintf("**clean-diag** %s, skipped: %d\n", what, skipped))
	return errors.Join(
		c.Output("removed", strconv.Itoa(done.Files)),
		c.Output("freed-bytes", strconv.FormatInt(done.Bytes, 10)),
		c.Output("skipped", strconv.Itoa(skipped)))
}

// planRunner plans for what a runner keeps: _diag in the root of GitHub's, or the
// job directories of Gitea's. Without runner-root, RUNNER_TEMP hints at it: GitHub's
// has it at <root>/_work/_temp, Gitea's at <parent>/<job>/tmp. A wrong hint is no
// mistake of anybody's. Outside a job, Gitea's runner has them in the home of its
// user.
func (c *cleanDiag) planRunner(ctx context.Context) error {
	path, home := c.runnerRoot, c.Getenv("HOME")
	if temp := filepath.Clean(c.Getenv("RUNNER_TEMP")); path == "" && filepath.IsAbs(temp) {
		path = filepath.Dir(filepath.Dir(temp))
	} else if path == "" {
		if err := c.planJobs(ctx, filepath.Join(home, ".cache", "act"), home); !isNotRunner(err) {
			return err
		}
		c.Say("no runner to clean: neither runner-root nor RUNNER_TEMP is set")
		return nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	runner, err := clean.OpenRunner(path, home)
	if err == nil {
		defer runner.Close()
		return c.planDiag(ctx, runner)
	} else if !isNotRunner(err) {
		return err
	}
	if c.runnerRoot == "" {
		c.Say("no GitHub runner to clean: %s (two above RUNNER_TEMP)", err)
	}
	switch jobsErr := c.planJobs(ctx, path, home); {
	case !isNotRunner(jobsErr):
		return jobsErr
	case c.runnerRoot != "":
		return cli.Usagef("runner-root %w; give the directory that holds run.sh and _diag, or leave the input out", err)
	}
	return nil
}

func isNotRunner(err error) bool {
	_, ok := errors.AsType[*clean.NotRunner](err)
	return ok
}

// planDiag plans for _diag of a GitHub runner's root.
func (c *cleanDiag) planDiag(ctx context.Context, runner *clean.Runner) error {
	evidence, err := c.evidence(runner.Path())
	if err != nil {
		return err
	}
	plans, problems := runner.PlanDiag(ctx, evidence)
	for _, err := range problems {
		c.problem(err)
	}
	for _, plan := range plans {
		c.plans = append(c.plans, plan)
		c.files += len(plan.Files)
		c.bytes += plan.Bytes
		c.skipped += plan.Skipped()
		c.Say("in %q: remove %d (%d bytes); skip %d newer, %d open, %d odd", plan.Path,
			len(plan.Files), plan.Bytes, plan.Newer, plan.Open, len(plan.Odd))
		for _, file := range plan.Files[:min(toldByName, len(plan.Files))] {
			c.Say("  remove %q", file.Name)
		}
		if more := len(plan.Files) - toldByName; more > 0 {
			c.Say("  remove %d more", more)
		}
		for _, odd := range plan.Odd[:min(toldByName, len(plan.Odd))] {
			c.Say("  skip %q: %s", odd.Name, odd.Why)
		}
		if more := len(plan.Odd) - toldByName; more > 0 {
			c.Say("  skip %d more odd ones", more)
		}
	}
	return nil
}

// evidence looks at the processes of the host and says what that means.
func (c *cleanDiag) evidence(root string) (clean.Evidence, error) {
	now := time.Now() // first: who starts after this look writes later than this
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return clean.Evidence{}, err
	}
	workers := proc.Local().GitHubWorkers(root)
	open, err := proc.Local().OpenFilesNamed(clean.IsDiagName)
	if err != nil {
		workers.Unseen = "there is no process table here"
	} else if open.Blind && workers.Unseen == "" {
		workers.Unseen = "processes do not show their open files to this user namespace"
	}
	before, others := c.limits(now, workers, open.Complete)
	return clean.Evidence{Before: before, OthersBefore: others, Open: open.Has}, nil
}

// limits says how old a file has to be, and the file of another user.
func (c *cleanDiag) limits(now time.Time, workers proc.RunnerWorkers, complete bool) (before, others time.Time) {
	before = now
	blind := now.Add(-clean.BlindAge)
	if c.minAge >= 0 {
		c.Say("only what is older than min-age (%v) may go", c.minAge)
		before = now.Add(-c.minAge)
		blind = before
	}
	if len(workers.PIDs) > 0 {
		c.Say("live workers of this runner: %d; only what is older than the oldest (%s) may go",
			len(workers.PIDs), workers.Oldest.UTC().Format(time.DateTime+"Z"))
		before = earlier(before, workers.Oldest)
	}
	if workers.Unseen != "" {
		c.Say("live workers cannot be seen: %s; only what is older than %v may go", workers.Unseen, now.Sub(blind))
		before = earlier(before, blind)
	}
	others = before
	if !complete {
		c.Say("not every process shows its open files: files of other users may go when older than %v", now.Sub(blind))
		others = earlier(before, blind)
	}
	return before, others
}

// planWorkspace plans for the extra paths.
func (c *cleanDiag) planWorkspace(ctx context.Context) {
	paths := c.paths
	if paths == nil {
		paths = []string{".claude/worktrees"}
	}
	given := c.Getenv("GITHUB_WORKSPACE")
	if given == "" {
		if c.paths != nil {
			c.Say("paths are left alone: GITHUB_WORKSPACE is not set, they lie inside the workspace")
		}
		return
	}
	workspace, err := clean.OpenWorkspace(given, c.Getenv("HOME"))
	if errors.Is(err, fs.ErrNotExist) {
		c.Say("paths are left alone: there is no workspace %q (GITHUB_WORKSPACE)", given)
		return
	} else if err != nil {
		c.problem(err)
		return
	}
	c.workspace = workspace
	users := func(dir string) ([]int, error) { return proc.Local().WorkingBelow(dir, os.Getpid()) }
	for _, path := range paths {
		tree, err := workspace.PlanTree(ctx, path, users)
		switch {
		case err != nil:
			c.problem(err)
			continue
		case tree == nil:
			continue // not there
		}
		c.plans = append(c.plans, tree)
		if len(tree.Users) > 0 {
			c.skipped++
			c.Say("keep %q: processes work in it: %v", tree.Path, tree.Users)
			continue
		}
		c.files += tree.Files
		c.bytes += tree.Bytes
		c.Say("remove %q whole: %d files (%d bytes)", tree.Path, tree.Files, tree.Bytes)
		for _, id := range tree.Worktrees {
			c.Say("  git forgets its worktree %q", id)
		}
	}
}
