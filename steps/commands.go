// Package steps holds the commands that a job calls, one file each: inputs, wiring and
// output. The algorithms are in lock, pressure and clean.
package steps

import "hostguard/internal/cli"

// Commands returns the steps of a workflow, the other commands for locks, and the hooks
// of the runner.
func Commands() []cli.Command {
	hook := func(run cli.Func) func() cli.Action { return func() cli.Action { return run } }
	return []cli.Command{
		{Name: "clean-diag", Step: true, Help: helpCleanDiag,
			New:     func() cli.Action { return &cleanDiag{cleaning: cleaning{minAge: -1}} },
			Summary: `remove leftover runner diagnostics that make "Set up job" fail`},
		{Name: "wait-pressure", Step: true, Help: helpWaitPressure, New: func() cli.Action { return newWaitPressure() },
			Summary: "wait until no other heavy build runs on this host"},
		{Name: "acquire-lock", Step: true, Help: helpAcquireLock,
			New:     func() cli.Action { return &acquireLock{acquireOptions: newAcquireOptions()} },
			Summary: "acquire the host-wide build lock, waiting its turn"},
		{Name: "release-lock", Step: true, Help: helpReleaseLock, New: func() cli.Action { return new(releaseLock) },
			Summary: "give the lock back; harmless if there is nothing to give back"},
		{Name: "with-lock", Wraps: true, Help: helpWithLock,
			New:     func() cli.Action { return &withLock{acquireOptions: newAcquireOptions()} },
			Summary: "run a command while holding the lock"},
		{Name: "reserve", Help: helpReserve,
			New:     func() cli.Action { return &reserve{acquireOptions: newAcquireOptions()} },
			Summary: "hold the lock for maintenance until a time"},
		{Name: "check-fence", Help: helpCheckFence, New: func() cli.Action { return new(checkFence) },
			Summary: "refuse to go on under a lock that a later holder has"},
		{Name: "break-lock", Help: helpBreakLock, New: func() cli.Action { return new(breakLock) },
			Summary: "take a lock away by force, and record who did it and why"},
		{Name: "status", Help: helpStatus, New: func() cli.Action { return new(hostStatus) },
			Summary: "who holds which lock, who waits, which heavy builds are running"},
		{Name: "hostguard-job-completed", Hook: true, Help: helpHooks, New: hook(jobCompleted)},
		{Name: "hostguard-post-task", Hook: true, Help: helpHooks, New: hook(postTask)},
		{Name: "hostguard-health", Hook: true, Help: helpHooks, New: hook(health)},
	}
}
