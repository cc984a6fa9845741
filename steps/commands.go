// Package steps holds the commands that a job calls, one file each: their inputs,
// their wiring and what they print. The algorithms are in lock, pressure and clean.
package steps

import "hostguard/internal/cli"

// Commands are the steps of a workflow, what else handles locks, and the hooks of
// the runner.
func Commands() []cli.Command {
	return []cli.Command{
		{Name: "clean-diag", Step: true, Help: helpCleanDiag, Run: cleanDiag},
		{Name: "wait-pressure", Step: true, Help: helpWaitPressure, Run: waitPressure},
		{Name: "acquire-lock", Step: true, Help: helpAcquireLock, Run: acquireLock},
		{Name: "release-lock", Step: true, Help: helpReleaseLock, Run: releaseLock},
		{Name: "with-lock", Help: helpWithLock, Run: withLock},
		{Name: "break-lock", Help: helpBreakLock, Run: breakLock},
		{Name: "status", Help: helpStatus, Run: hostStatus},
		{Name: "hostguard-job-completed", Hook: true, Help: helpHooks, Run: jobCompleted},
		{Name: "hostguard-post-task", Hook: true, Help: helpHooks, Run: postTask},
		{Name: "hostguard-health", Hook: true, Help: helpHooks, Run: health},
	}
}
