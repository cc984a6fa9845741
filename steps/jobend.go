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
// succeeded. The action knows how the job goes, and its post step says so where no
// runner tells; a hook is always at the end. A release in the midst of a job, or in
// a shell, has no status.
func jobMayHaveFailed(s *cli.Session) bool {
	status := s.JobStatus()
	if strings.HasPrefix(s.Name, "hostguard-") { // a hook
		status = cmp.Or(s.Getenv("GITEA_JOB_RESULT"), status, "unknown")
	} else if strings.HasPrefix(status, "$") { // as it was written: no runner filled it in
		return false
	}
	return status != "" && status != "success"
}

// waitsForSurvivors reports that a lock has to stay for now, and warns: something
// of a job that is over still runs, and may still use what the lock is for.
func waitsForSurvivors(ctx context.Context, s *cli.Session, store *lockwire.Store, e lock.Entry) bool {
	left, found := store.AwaitEnd(ctx, e)
	if found {
		s.Warning("lock %q (id %.12s) stays: %s is left of this job; who waits takes the lock over when that has "+
			"ended or come to rest", e.Name, e.ID, left)
	}
	return found
}
