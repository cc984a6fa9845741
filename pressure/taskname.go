package pressure

import (
	"cmp"

	"hostguard/internal/actrunner"
)

// InContainer sets the name of a blocker's container, and adds what the name shows
// of its job and its environment did not.
func (b *Blocker) InContainer(name string) {
	b.Container = name
	if task, ok := actrunner.TaskOf(name); ok {
		b.Job.Task = task.ID
		b.Job.Workflow = cmp.Or(b.Job.Workflow, task.Workflow)
		b.Job.Job = cmp.Or(b.Job.Job, task.Job)
	}
}
