package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"hostguard/clean"
	"hostguard/internal/actrunner"
	"hostguard/internal/cli"
	"hostguard/internal/proc"
)

// planJobs finds the directories of jobs whose runner was killed, prints them, and
// plans their removal if -jobs is given.
func (c *cleaning) planJobs(ctx context.Context, path, home string) (err error) {
	if c.jobs, err = clean.OpenJobs(path, home); err != nil {
		return err
	}
	now := time.Now() // first: a directory created during this look is newer
	runners := proc.Local().JobRunners(c.jobs.Owner())
	runners.Unseen = cmp.Or(proc.Local().OutOfSight(), runners.Unseen)
	dirs, odd, err := c.jobs.List()
	if err != nil {
		return err
	}
	parent, err := filepath.EvalSymlinks(c.jobs.Path())
	if err != nil {
		return err
	}
	before := c.jobLimit(now, runners)
	own := filepath.Base(actrunner.JobDir(c.Getenv("RUNNER_TEMP")))
	var old []*clean.JobDir
	var names []string
	for _, dir := range dirs {
		if dir.Name != own && dir.Made.Before(before) {
			old, names = append(old, dir), append(names, dir.Name)
		}
	}
	if len(old) == 0 && (len(odd) == 0 || !c.removeJobs) {
		return nil
	}
	var look proc.JobLook
	if len(old) > 0 {
		look = proc.Local().LookForJobs(parent, names)
	}
	c.Print("in %q: job directories left by a killed runner, older than the oldest living one: %d",
		c.jobs.Path(), len(old))
	var blind error
	for _, dir := range old {
		use, err := look.Use(dir.Name, dir.Made)
		if err == nil && runners.Unseen != "" {
			err = errors.New(runners.Unseen)
		}
		blind = cmp.Or(blind, err)
		if err := c.planJob(ctx, parent, dir, use, err); err != nil {
			return err
		}
	}
	if !c.removeJobs {
		return nil
	}
	for _, o := range odd {
		c.skipped++
		c.Print("  skip %q: %s", o.Name, o.Why)
	}
	if blind != nil {
		c.problem(fmt.Errorf("job directories stay if a process may use them unseen: %w; run clean-diag as root on "+
			"the host", blind))
	}
	return nil
}

// jobLimit returns the time before which a job directory cannot belong to a running
// job. Between two steps a job has no process, and only its runner shows that it runs:
// every directory that a living runner may have created stays.
func (c *cleaning) jobLimit(now time.Time, runners proc.RunnerWorkers) time.Time {
	before := now
	if c.minAge >= 0 {
		before = now.Add(-c.minAge)
	}
	if len(runners.PIDs) > 0 {
		before = earlier(before, runners.Oldest)
	}
	return before
}

func (c *cleaning) planJob(ctx context.Context, parent string, dir *clean.JobDir, use proc.JobUse, unseen error) error {
	made := dir.Made.UTC().Format(time.DateTime + "Z")
	switch {
	case use.PID != 0:
		c.Print("  keep %q of %s: process %d %s", dir.Name, made, use.PID, use.How)
	case !c.removeJobs:
		c.Print("  left behind: %q of %s; clean-diag -jobs (jobs: true) removes it", dir.Name, made)
		return nil
	case unseen != nil:
		c.Print("  keep %q of %s: some processes cannot be seen", dir.Name, made)
	default:
		if err := dir.Measure(ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			c.problem(err)
			return nil
		}
		dir.Guard(func() (string, error) {
			use, err := proc.Local().LookForJobs(parent, []string{dir.Name}).Use(dir.Name, dir.Made)
			return use.How, err
		})
		c.add(dir, filepath.Join(c.jobs.Path(), dir.Name), dir.Files, dir.Bytes)
		c.Print("  remove %q of %s completely: %s (%d bytes)", dir.Name, made, cli.Plural(dir.Files, "file"), dir.Bytes)
		return nil
	}
	if c.removeJobs {
		c.skipped++
	}
	return nil
}
