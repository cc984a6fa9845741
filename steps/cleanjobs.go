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
	"hostguard/internal/proc"
)

// planJobs looks for the directories of jobs whose runner was killed, prints them,
// and plans their removal if that is asked for.
func (c *cleaning) planJobs(ctx context.Context, path, home string) (err error) {
	if c.jobs, err = clean.OpenJobs(path, home); err != nil {
		return err
	}
	now := time.Now() // first: what is made after this look is newer than this
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
	c.Say("in %q: %d job directories older than the oldest living runner, as a killed one leaves them",
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
		c.Say("  skip %q: %s", o.Name, o.Why)
	}
	if blind != nil {
		c.problem(fmt.Errorf("job directories stay where it cannot be seen whether anything works in them: %w; run "+
			"clean-diag as root on the host", blind))
	}
	return nil
}

// jobLimit is from when on a job directory may be that of a job that goes on.
// Between two steps no process shows such a job, so only its runner does: what a
// living runner may have made stays.
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
		c.Say("  keep %q of %s: process %d %s", dir.Name, made, use.PID, use.How)
	case !c.removeJobs:
		c.Say("  left: %q of %s; clean-diag -jobs (jobs: true) removes it", dir.Name, made)
		return nil
	case unseen != nil:
		c.Say("  keep %q of %s: not everything can be seen", dir.Name, made)
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
		c.plans = append(c.plans, dir)
		c.files += dir.Files
		c.bytes += dir.Bytes
		c.Say("  remove %q of %s whole: %d files (%d bytes)", dir.Name, made, dir.Files, dir.Bytes)
		return nil
	}
	if c.removeJobs {
		c.skipped++
	}
	return nil
}
