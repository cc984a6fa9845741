package operate

import (
	"context"
	"errors"
	"maps"
	"time"

	"hostguard/clean"
	"hostguard/internal/docker"
	"hostguard/internal/privsep"
	"hostguard/internal/proc"
	"hostguard/internal/runnerdir"
)

// Handlers returns what a helper process answers to these commands: see package privsep.
func Handlers() map[string]privsep.Handler {
	all := runnerdir.Handlers()
	maps.Copy(all, docker.Handlers())
	maps.Copy(all, map[string]privsep.Handler{
		"root": privsep.Handle(notRunner), "diagnostics": privsep.Handle(leftDiagnostics),
		"workflows": privsep.Handle(workflowFiles),
	})
	return all
}

// askAbout has whoever decides over a path answer a request about it.
func askAbout[A any](ctx context.Context, files *runnerdir.Files, path, kind string, q any) (answer A, err error) {
	uid, err := runnerdir.As(path)
	if err != nil {
		return answer, err
	}
	return privsep.Ask[A](ctx, &files.Helpers, uid, kind, q)
}

// diagnostics asks about a root of GitHub's runner, which is not the home directory.
type diagnostics struct{ Root, Home string }

// notRunner returns why a directory is not the root of a runner; "" if it is.
func notRunner(q diagnostics) (string, error) {
	r, err := clean.OpenRunner(q.Root, q.Home)
	if not, ok := errors.AsType[*clean.NotRunner](err); ok {
		return not.Error(), nil
	} else if err != nil {
		return "", err
	}
	return "", r.Close()
}

// leftDiagnostics returns how many files clean-diag would plan to remove. The open files of
// the user's workers are seen by that user.
func leftDiagnostics(q diagnostics) (int, error) {
	r, err := clean.OpenRunner(q.Root, q.Home)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	workers := proc.Local().GitHubWorkers(q.Root)
	before := time.Now().Add(-clean.BlindAge)
	if len(workers.PIDs) > 0 {
		if workers.Oldest.Before(before) {
			before = workers.Oldest
		}
	}
	open, err := proc.Local().OpenFilesNamed(clean.IsDiagName)
	if err != nil {
		return 0, err
	}
	plans, problems := r.PlanDiag(context.Background(), clean.Evidence{Before: before, OthersBefore: before,
		Open: open.Has})
	left := 0
	for _, plan := range plans {
		left += len(plan.Files)
		plan.Close()
	}
	return left, errors.Join(problems...)
}
