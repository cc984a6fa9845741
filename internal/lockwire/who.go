package lockwire

import (
	"cmp"
	"fmt"
	"strings"

	"hostguard/history"
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

// WhoIs returns who describes itself by a claim: its job, or outside any its process.
func WhoIs(c lock.Claim) history.Who {
	w := history.Who{
		Repository: c.Job.Repository, Workflow: c.Job.Workflow, Job: c.Job.Job, RunURL: c.Job.RunURL,
		Run: cmp.Or(c.Job.RunNumber, runNumber(c.Job.RunURL)), Actor: c.Job.Actor,
	}
	if w.Repository == "" && c.Process.PID > 0 {
		w.Person = fmt.Sprintf("pid %d", c.Process.PID)
	}
	return w
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
