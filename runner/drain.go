package runner

import (
	"slices"

	"hostguard/internal/actrunner"
	"hostguard/runner/finding"
	"hostguard/runner/shell"
)

// IsRunner tells a runner's container by its name or its image.
func IsRunner(name, image string) bool { return name == WrappedContainer || IsDaemonImage(image) }

// drain is the command that retires a container.
func (c Container) drain() string {
	if c.Name == WrappedContainer {
		return "hostguard runner drain -apply"
	}
	return "hostguard runner drain -container " + shell.Quote(c.Name) + " -apply"
}

// OwnJobs are the processes of a runner's container that are neither its daemon
// nor what started that: steps of jobs that run inside it, or what these left, or
// a Docker daemon beside it. Without a daemon among them it is not known.
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

// Revivers find what starts a container again by itself, from cron, a timer or a
// unit: Bad where it does, Warn where it may. What is not seen is not in it.
func Revivers(h Host, c Container) []finding.Finding {
	return slices.DeleteFunc(checkSchedule(h.Schedule, c), func(f finding.Finding) bool { return f.Layer != 7 })
}

// Rivals find who would take jobs by the registration of a container if that
// ran: two daemons on one cancel each other's jobs.
func Rivals(h Host, c Container) []finding.Finding {
	c.Running = true
	h.Containers, h.GitHubRoots = []Container{c}, nil
	all := finding.List(auditDaemons(h))
	for _, d := range h.Daemons {
		if d.Registration == "" && c.mounts(h.RegistrationPath) && len(all) == 0 {
			all.Bad(9, "run it as root, who may see where that works",
				"process %d, a runner, may work by the same registration", d.PID)
		}
	}
	return all
}
