package lockwire

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"hostguard/history"
	"hostguard/internal/proc"
	"hostguard/lock"
)

// Who returns who made an entry, as its claim describes it.
func Who(e lock.Entry) history.Who {
	c, ours := e.Claim()
	if !ours {
		return history.Who{}
	}
	return WhoIs(c)
}

// WhoIs returns who describes itself by a claim: its job, or outside any its process, with the
// user where that can be seen from here.
func WhoIs(c lock.Claim) history.Who {
	w := history.Who{
		Repository: c.Job.Repository, Workflow: c.Job.Workflow, Job: c.Job.Job, RunURL: c.Job.RunURL,
		Run: cmp.Or(c.Job.RunNumber, runNumber(c.Job.RunURL)), Actor: c.Job.Actor,
	}
	switch {
	case w.Repository != "":
	case c.Reserved > 0: // by a process that has ended
		w.Person = c.Job.Actor
	case c.Process.PID > 0:
		p := personOf(c)
		w.Person = fmt.Sprintf("pid %d", p.pid)
		if p.user != "" {
			w.Person = p.user + hostSuffix() + ", " + w.Person
		}
	}
	return w
}

// person is who called hostguard outside any job.
type person struct {
	pid           int
	user, program string // empty where the process is gone, or cannot be seen from here
}

// hostSuffix returns "@" and this host's name, if it has one.
func hostSuffix() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return ""
	}
	return "@" + name
}

// personOf returns whose shell a claim is of: the process that made it ends at once if that was
// acquire-lock.
func personOf(c lock.Claim) person {
	host := proc.Local()
	if here := host.Place(); c.Place.PIDs == "" || c.Place.PIDs != here.PIDs || c.Place.Boot != here.Boot {
		return person{pid: c.Process.PID}
	}
	for _, p := range []lock.Process{c.Process, c.Parent} {
		if name, program, seen := host.Person(p); seen {
			return person{p.PID, name, program}
		}
	}
	return person{pid: c.Process.PID}
}

// runNumber returns a run's number by its page, where that shows it: a ticket has no other.
func runNumber(page string) string {
	page, byIndex := strings.CutSuffix(page, "?by_index=1")
	_, number, found := strings.Cut(page, "/actions/runs/")
	if !byIndex || !found || strings.Trim(number, "0123456789") != "" {
		return ""
	}
	return number
}
