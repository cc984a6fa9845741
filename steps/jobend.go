package steps

import (
	"cmp"
	"context"
	"strings"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

// jobMayHaveFailed reports whether this is the end of a job that is not known to have
// succeeded. The action passes the job's status, and its post step does so where the
// runner does not; a hook always runs at the end. A release in the middle of a job, or
// in a shell, has no status.
func jobMayHaveFailed(s *cli.Session) bool {
	status := s.JobStatus()
	if strings.HasPrefix(s.Name, "hostguard-") { // a hook
		status = cmp.Or(s.Getenv("GITEA_JOB_RESULT"), status, "unknown")
	} else if strings.HasPrefix(status, "$") { // an expression that the runner did not evaluate
		return false
	}
	return status != "" && status != "success"
}

// awaitSurvivors waits for the remaining processes of a job that is over. If one still
// runs, and may still use what the lock protects, it warns and returns true: the lock
// has to stay.
func awaitSurvivors(ctx context.Context, s *cli.Session, store *lockwire.Store, e lock.Entry) bool {
	left, found := store.AwaitEnd(ctx, e)
	if found {
		s.Warning("lock %q (id %.12s) stays: %s of this job is still running; a waiting job takes the lock over when "+
			"it has ended or become idle", e.Name, e.ID, left)
	}
	return found
}
