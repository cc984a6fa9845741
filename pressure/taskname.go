package pressure

import (
	"cmp"
	"regexp"
)

// taskName is what Gitea's runner calls the container of a job.
var taskName = regexp.MustCompile(`^GITEA-ACTIONS-TASK-([0-9]+)_WORKFLOW-(.*)_JOB-(.*)$`)

// InContainer puts a blocker into the container of that name, and tells of its
// job what the name says and its environment did not.
func (b *Blocker) InContainer(name string) {
	b.Container = name
	if said := taskName.FindStringSubmatch(name); said != nil {
		b.Job.Task = said[1]
		b.Job.Workflow = cmp.Or(b.Job.Workflow, said[2])
		b.Job.Job = cmp.Or(b.Job.Job, said[3])
	}
}
