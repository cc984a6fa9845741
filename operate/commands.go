// Package operate holds the commands for the operator of a host. They inspect the host,
// or change it by a plan that is printed first and can be undone.
package operate

import "hostguard/internal/cli"

// Commands returns the commands of the operator.
func Commands() []cli.Command {
	return []cli.Command{
		{Name: "doctor", Help: helpDoctor, New: func() cli.Action { return new(doctor) },
			Summary: "problems found here and in this checkout, and how to fix each"},
		{Name: "runner audit", Help: helpRunnerAudit, New: func() cli.Action { return new(audit) },
			Summary: "the host's runner: service, labels, containers, tasks"},
		{Name: "runner labels", Help: helpRunnerLabels, New: func() cli.Action { return newLabels() },
			Summary: "which job of which repository can run on which runner"},
		{Name: "runner readiness", Help: helpRunnerReadiness, New: func() cli.Action { return new(readiness) },
			Summary: "whether a runner of several owners can be split now"},
		{Name: "runner drain", Help: helpRunnerDrain, New: func() cli.Action { return new(drain) },
			Summary: "retire the runner in a container once its jobs have ended"},
		{Name: "runner resume", Help: helpRunnerResume, New: func() cli.Action { return new(resume) },
			Summary: "start a drained runner again"},
		{Name: "runner service", Help: helpRunnerService, New: func() cli.Action { return new(servicing) },
			Summary: "run the runner as a service that lets its jobs end"},
		{Name: "runner split", Help: helpRunnerSplit, New: func() cli.Action { return newSplit() },
			Summary: "split a runner of several owners into one for each"},
		{Name: "runner cleanup-timer", Help: helpRunnerCleanupTimer,
			New:     func() cli.Action { return new(cleaningTimer) },
			Summary: "run clean-diag every 5 minutes"},
		{Name: "backend gitea", Help: helpBackendGitea, New: func() cli.Action { return new(backendGitea) },
			Summary: "whether locks of several hosts can be kept in a Gitea, and make what that needs"},
		{Name: "why", Help: helpWhy, New: func() cli.Action { return new(why) },
			Summary: "for whom a job waited"},
		{Name: "report", Help: helpReport, New: func() cli.Action { return new(report) },
			Summary: "who waited for whom on this host, and for how long"},
		{Name: "observe", Help: helpObserve, New: func() cli.Action { return new(watching) },
			Summary: "keep a history of who held and who waited, and serve a page and metrics"},
		{Name: "install", Help: helpInstall, New: func() cli.Action { return new(installation) },
			Summary: "put this program and its hooks in place"},
	}
}
