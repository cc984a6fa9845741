// Package operate holds the commands that the operator of a host calls: what looks
// at the host, and what changes it by a plan that is printed first and can be
// taken back.
package operate

import "hostguard/internal/cli"

// Commands are those of the operator.
func Commands() []cli.Command {
	return []cli.Command{
		{Name: "doctor", Help: helpDoctor, Run: doctor},
		{Name: "runner audit", Help: helpRunnerAudit, Run: runnerAudit},
		{Name: "runner labels", Help: helpRunnerLabels, Run: runnerLabels},
		{Name: "runner readiness", Help: helpRunnerReadiness, Run: runnerReadiness},
		{Name: "runner drain", Help: helpRunnerDrain, Run: runnerDrain},
		{Name: "runner resume", Help: helpRunnerResume, Run: runnerResume},
		{Name: "runner service", Help: helpRunnerService, Run: runnerService},
		{Name: "runner split", Help: helpRunnerSplit, Run: runnerSplit},
		{Name: "runner cleanup-timer", Help: helpRunnerCleanupTimer, Run: runnerCleanupTimer},
		{Name: "install", Help: helpInstall, Run: installFiles},
	}
}
