// Package operate holds the commands that the operator of a host calls: what looks
// at the host, and what changes it by a plan that is printed first and can be
// taken back.
package operate

import "hostguard/internal/cli"

// Commands are those of the operator.
func Commands() []cli.Command {
	return []cli.Command{
		{Name: "doctor", Help: helpDoctor, New: func() cli.Action { return new(doctor) },
			Summary: "what is wrong here and in this checkout, and what mends it"},
		{Name: "runner audit", Help: helpRunnerAudit, New: func() cli.Action { return new(audit) },
			Summary: "the host's runner: service, labels, containers, tasks"},
		{Name: "runner labels", Help: helpRunnerLabels, New: func() cli.Action { return newLabels() },
			Summary: "which job of which repository can run on which runner"},
		{Name: "runner readiness", Help: helpRunnerReadiness, New: func() cli.Action { return new(readiness) },
			Summary: "whether the runner of several owners can be split now"},
		{Name: "runner drain", Help: helpRunnerDrain, New: func() cli.Action { return new(drain) },
			Summary: "retire the runner in a container when its jobs have ended"},
		{Name: "runner resume", Help: helpRunnerResume, New: func() cli.Action { return new(resume) },
			Summary: "start it again"},
		{Name: "runner service", Help: helpRunnerService, New: func() cli.Action { return new(servicing) },
			Summary: "make the runner a service that lets its jobs end"},
		{Name: "runner split", Help: helpRunnerSplit, New: func() cli.Action { return newSplit() },
			Summary: "make one runner for each owner out of one for all"},
		{Name: "runner cleanup-timer", Help: helpRunnerCleanupTimer,
			New:     func() cli.Action { return new(cleaningTimer) },
			Summary: "run clean-diag every 5 minutes"},
		{Name: "install", Help: helpInstall, New: func() cli.Action { return new(installation) },
			Summary: "put this program and its hooks in place"},
	}
}
