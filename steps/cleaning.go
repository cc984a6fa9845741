package steps

import (
	"context"
	"time"

	"hostguard/clean"
	"hostguard/internal/cli"
)

// cleaning holds the removals that a run of clean-diag plans.
type cleaning struct {
	*cli.Session
	minAge     time.Duration // negative: not given
	removeJobs bool          // else they are only printed

	workspace *clean.Workspace
	jobs      *clean.Jobs

	plans    []removal
	planned  []plannedReport // for each of plans
	files    int             // planned
	bytes    int64
	skipped  int
	problems []error
}

// plannedReport is what is removed at one path.
type plannedReport struct {
	Path  string `json:"path"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

type removal interface {
	Remove(context.Context) (clean.Done, error)
	Close() error
}

func (c *cleaning) close() {
	for _, plan := range c.plans {
		plan.Close()
	}
	if c.workspace != nil {
		c.workspace.Close()
	}
	if c.jobs != nil {
		c.jobs.Close()
	}
}

// add adds a removal to the plan.
func (c *cleaning) add(plan removal, path string, files int, bytes int64) {
	c.plans, c.planned = append(c.plans, plan), append(c.planned, plannedReport{path, files, bytes})
	c.files += files
	c.bytes += bytes
}

func (c *cleaning) remove(ctx context.Context) (done clean.Done) {
	for _, plan := range c.plans {
		part, err := plan.Remove(ctx)
		done.Add(part)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			c.problem(err)
		}
	}
	if done.Changed > 0 {
		c.Print("clean-diag: kept because they changed after the plan: %d", done.Changed)
	}
	return done
}

func (c *cleaning) problem(err error) {
	c.problems = append(c.problems, err)
	c.Print("not cleaned: %s", err)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
