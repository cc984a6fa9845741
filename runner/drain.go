package runner

import (
	"slices"

	"hostguard/internal/actrunner"
	"hostguard/runner/finding"
	"hostguard/runner/shell"
)

// IsRunner reports whether a container is a runner's: by its name, by what it runs, as far
// as its entry point and command name that, or by its image.
func IsRunner(name, image string, command []string) bool {
	return name == WrappedContainer || IsDaemonImage(image) ||
		slices.ContainsFunc(command, func(word string) bool { return actrunner.RoleOf(word) == actrunner.Daemon })
}

// drain returns the command that retires a container.
func (c Container) drain() string {
	if c.Name == WrappedContainer {
		return "hostguard runner drain -apply"
	}
	return "hostguard runner drain -container " + shell.Quote(c.Name) + " -apply"
}

// OwnJobs returns the processes of a runner's container that are neither its daemon nor
// an ancestor of it: steps of jobs that run inside it, processes that these left behind,
// or a Docker daemon beside it. Without a daemon among the processes they are not known.
func OwnJobs(processes []Process) (jobs []Process, known bool) {
	parents := map[int]int{}
	for _, p := range processes {
		parents[p.PID] = p.Parent
	}
	daemon := map[int]bool{}
	for _, p := range processes {
		if !actrunner.IsDaemon(p.Argv) {
			continue
		}
		known = true
		for pid := p.PID; !daemon[pid]; pid = parents[pid] { // ends with what the container has no parent of
			daemon[pid] = true
		}
	}
	for _, p := range processes {
		if !daemon[p.PID] {
			jobs = append(jobs, p)
		}
	}
	return jobs, known
}

// RestartTriggers returns what starts a container again by itself, from cron, a timer or
// a unit, or from another container: Bad if it does, Warn if it may. Schedules that could not be seen are missing.
func RestartTriggers(h Host, c Container) []finding.Finding {
	return slices.DeleteFunc(slices.Concat(checkSchedule(h.Schedule, c), checkGuards(h, c)),
		func(f finding.Finding) bool { return f.Layer != 7 })
}

// DuplicateDaemons returns the daemons that would take jobs with the registration of a
// container if that ran: two daemons with one registration cancel each other's jobs.
func DuplicateDaemons(h Host, c Container) []finding.Finding {
	c.Running = true
	h.Containers, h.GitHubRoots = []Container{c}, nil
	all := finding.List(auditDaemons(h))
	for _, d := range h.Daemons {
		if d.Registration == "" && c.mounts(h.RegistrationPath) && len(all) == 0 {
			all.Bad(9, "run it as root, who can see the directory of that process",
				"process %d, a runner, may use the same registration", d.PID)
		}
	}
	return all
}
