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

// maxListed is the number of entries of a directory that are printed one by one.
const maxListed = 20

const helpCleanDiag = `Removes what dead jobs left behind, without waiting:

  - files in _diag/pages and _diag/blocks of GitHub's runner that make "Set up
    job" fail with "already exists": regular files with a name that the runner
    gives, open in no process, older than the oldest live worker of this runner;
  - the paths inside the workspace (.claude/worktrees), completely, unless a
    process other than hostguard and its ancestors works in them. Worktrees among
    them are also removed from git;
  - with -jobs, the job directories that a killed act_runner left behind,
    completely. Without -jobs they are only printed.

{inputs}

Never touched: directories in _diag, symbolic links, files with several hard links,
_work, _temp, and the files of a running job.

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
	json       bool
}

func (c *cleanDiag) Inputs() []cli.Input {
	return []cli.Input{
		{Name: "runner-root", Kind: cli.Text(&c.runnerRoot, nil), Arg: "DIR",
			Text: "the directory of run.sh and _diag, or the one in which act_runner creates its job directories; " +
				"derived from RUNNER_TEMP, and outside a job ~/.cache/act. A host without one has nothing to clean " +
				"there, which is reported"},
		{Name: "jobs", Kind: cli.Bool(&c.removeJobs),
			Text: "also remove <16 hex digits>/{act,hostexecutor,tmp} that are older than every living runner of " +
				"their owner, and that no process works in, has open, mounted or in its environment. A process that " +
				"cannot be inspected and is not older keeps the directory: run it as root"},
		{Name: "min-age", Kind: cli.Duration(&c.minAge, 0, 10000*time.Hour), Arg: "AGE",
			Text: "minimum age of a file in _diag, or of a job directory. Where live workers cannot be seen (in a " +
				"container) the default is 10m, else 0s"},
		{Name: "paths", Kind: cli.List(&c.paths, clean.CheckPath), Arg: "PATH,...",
			Text: "directories inside GITHUB_WORKSPACE, separated by commas; default .claude/worktrees"},
		{Name: "dry-run", Kind: cli.Bool(&c.dryRun), Text: "print the same, but remove nothing"},
		{Name: "mode", Kind: cli.Choice(&c.mode, cli.WarnOnly, cli.HardFail), Default: cli.WarnOnly,
			Text: "warn-only turns exit statuses 1 and 3 into a warning"},
		cli.JSONInput(&c.json), cli.QuietInput(),
	}
}

// cleanReport is what "clean-diag -json" prints.
type cleanReport struct {
	Version  int             `json:"version"` // of this format
	DryRun   bool            `json:"dry_run"`
	Planned  []plannedReport `json:"planned"`
	Removed  int             `json:"removed"` // files
	Freed    int64           `json:"freed_bytes"`
	Skipped  int             `json:"skipped"`
	Problems []string        `json:"problems"` // what could not be cleaned, and why
}

func (c *cleanDiag) Run(ctx context.Context, s *cli.Session) error {
	c.Session = s
	s.PrintInputs()
	defer c.close()
	return s.Soften(ctx, c.mode, c.clean(ctx))
}

// clean makes the plan, prints it and carries it out. A dry run stops before the
// removal, so it prints the same.
func (c *cleanDiag) clean(ctx context.Context) error {
	if err := c.CheckFiles(); err != nil {
		return err
	}
	if err := c.plan(ctx); err != nil {
		return err
	}
	c.Print("clean-diag: files to remove: %d (%d bytes), skipped: %d", c.files, c.bytes, c.skipped)
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
		return fmt.Errorf("%w (%s in total, listed above)", c.problems[0], cli.Plural(len(c.problems), "problem"))
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
	var printed error
	if c.json {
		r := cleanReport{Version: 1, DryRun: c.dryRun, Planned: append([]plannedReport{}, c.planned...),
			Removed: done.Files, Freed: done.Bytes, Skipped: skipped, Problems: []string{}}
		for _, err := range c.problems {
			r.Problems = append(r.Problems, cli.OneLine(err))
		}
		printed = c.JSON(r)
	}
	return errors.Join(printed,
		c.Output("removed", strconv.Itoa(done.Files)),
		c.Output("freed-bytes", strconv.FormatInt(done.Bytes, 10)),
		c.Output("skipped", strconv.Itoa(skipped)))
}

// planRunner plans the cleaning of a runner's directory: _diag in the root of GitHub's
// runner, or the job directories of Gitea's. Without runner-root the directory follows
// from RUNNER_TEMP, which is <root>/_work/_temp for GitHub's runner and
// <parent>/<job>/tmp for Gitea's; a wrong guess is no error. Outside a job, Gitea's
// runner has its job directories in the home of its user.
func (c *cleanDiag) planRunner(ctx context.Context) error {
	path, home := c.runnerRoot, c.Getenv("HOME")
	if temp := filepath.Clean(c.Getenv("RUNNER_TEMP")); path == "" && filepath.IsAbs(temp) {
		path = filepath.Dir(filepath.Dir(temp))
	} else if path == "" {
		if err := c.planJobs(ctx, filepath.Join(home, ".cache", "act"), home); !isNotRunner(err) {
			return err
		}
		c.Print("no runner to clean: neither runner-root nor RUNNER_TEMP is set")
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
		c.Print("no GitHub runner to clean: %s (two levels above RUNNER_TEMP)", err)
	}
	switch jobsErr := c.planJobs(ctx, path, home); {
	case !isNotRunner(jobsErr):
		return jobsErr
	case c.runnerRoot != "":
		return cli.Usagef("runner-root %w; give the directory that holds run.sh and _diag, or omit the input", err)
	}
	return nil
}

func isNotRunner(err error) bool {
	_, ok := errors.AsType[*clean.NotRunner](err)
	return ok
}

// planDiag plans the cleaning of _diag in the root of a GitHub runner.
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
		c.add(plan, plan.Path, len(plan.Files), plan.Bytes)
		c.skipped += plan.Skipped()
		c.Print("in %q: remove %d (%d bytes); skip %d newer, %d open, %d unexpected", plan.Path,
			len(plan.Files), plan.Bytes, plan.Newer, plan.Open, len(plan.Odd))
		for _, file := range plan.Files[:min(maxListed, len(plan.Files))] {
			c.Print("  remove %q", file.Name)
		}
		if more := len(plan.Files) - maxListed; more > 0 {
			c.Print("  remove %d more", more)
		}
		for _, odd := range plan.Odd[:min(maxListed, len(plan.Odd))] {
			c.Print("  skip %q: %s", odd.Name, odd.Why)
		}
		if more := len(plan.Odd) - maxListed; more > 0 {
			c.Print("  skip %d more unexpected", more)
		}
	}
	return nil
}

// evidence returns what the processes of the host show about the files of a runner.
func (c *cleanDiag) evidence(root string) (clean.Evidence, error) {
	now := time.Now() // first: files of a process that starts during this look are newer
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return clean.Evidence{}, err
	}
	workers := proc.Local().GitHubWorkers(root)
	open, err := proc.Local().OpenFilesNamed(clean.IsDiagName)
	if err != nil {
		workers.Unseen = "this machine has no process table"
	} else if open.Blind && workers.Unseen == "" {
		workers.Unseen = "processes do not show their open files to this user namespace"
	}
	before, others := c.limits(now, workers, open.Complete)
	return clean.Evidence{Before: before, OthersBefore: others, Open: open.Has}, nil
}

// limits returns the time before which a file may be removed, and that for files of
// other users.
func (c *cleanDiag) limits(now time.Time, workers proc.RunnerWorkers, complete bool) (before, others time.Time) {
	before = now
	blind := now.Add(-clean.BlindAge)
	if c.minAge >= 0 {
		c.Print("only what is older than min-age (%v) may be removed", c.minAge)
		before = now.Add(-c.minAge)
		blind = before
	}
	if len(workers.PIDs) > 0 {
		c.Print("live workers of this runner: %d; only what is older than the oldest (%s) may be removed",
			len(workers.PIDs), workers.Oldest.UTC().Format(time.DateTime+"Z"))
		before = earlier(before, workers.Oldest)
	}
	if workers.Unseen != "" {
		c.Print("live workers cannot be seen: %s; only what is older than %v may be removed", workers.Unseen,
			now.Sub(blind))
		before = earlier(before, blind)
	}
	others = before
	if !complete {
		c.Print("open files of some processes cannot be seen: files of other users may be removed when older than %v",
			now.Sub(blind))
		others = earlier(before, blind)
	}
	return before, others
}

// planWorkspace plans the removal of the paths in the workspace.
func (c *cleanDiag) planWorkspace(ctx context.Context) {
	paths := c.paths
	if paths == nil {
		paths = []string{".claude/worktrees"}
	}
	given := c.Getenv("GITHUB_WORKSPACE")
	if given == "" {
		if c.paths != nil {
			c.Print("paths are skipped: they are inside the workspace, and GITHUB_WORKSPACE is not set")
		}
		return
	}
	workspace, err := clean.OpenWorkspace(given, c.Getenv("HOME"))
	if errors.Is(err, fs.ErrNotExist) {
		c.Print("paths are skipped: there is no workspace %q (GITHUB_WORKSPACE)", given)
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
			continue // does not exist
		}
		if len(tree.Users) > 0 {
			c.plans = append(c.plans, tree)
			c.skipped++
			c.Print("keep %q: processes work in it: %v", tree.Path, tree.Users)
			continue
		}
		c.add(tree, tree.Path, tree.Files, tree.Bytes)
		c.Print("remove %q completely: %s (%d bytes)", tree.Path, cli.Plural(tree.Files, "file"), tree.Bytes)
		for _, id := range tree.Worktrees {
			c.Print("  remove git's worktree %q", id)
		}
	}
}
