package runner

import (
	"cmp"
	"regexp"
	"slices"

	"hostguard/internal/actrunner"
)

// Task is a task in the runner's log.
type Task struct {
	ID         string // also in the name of its container
	Repository string
	Line       string
}

var taskLine = regexp.MustCompile(`level=info msg="task (\d+) repo is ([^\s"\\]+)`)

// ParseTask parses a line of the runner's log; false if it names no task.
func ParseTask(line string) (Task, bool) {
	m := taskLine.FindStringSubmatch(line)
	if m == nil {
		return Task{}, false
	}
	return Task{ID: m[1], Repository: m[2], Line: line}, true
}

// ContainersWithout returns the containers of jobs that run none of the tasks.
func ContainersWithout(containers []string, tasks []Task) []string {
	return slices.DeleteFunc(slices.Clone(containers), func(name string) bool {
		task, _ := actrunner.TaskOf(name)
		return slices.ContainsFunc(tasks, func(t Task) bool { return t.ID == task.ID })
	})
}

// RepositoryCount is the number of tasks of a repository.
type RepositoryCount struct {
	Repository string `json:"repository"`
	Tasks      int    `json:"tasks"`
}

// CountTasks returns the number of tasks of each repository, the highest first.
func CountTasks(tasks []Task) []RepositoryCount {
	counts := []RepositoryCount{}
	for _, t := range tasks {
		i := slices.IndexFunc(counts, func(c RepositoryCount) bool { return c.Repository == t.Repository })
		if i < 0 {
			i, counts = len(counts), append(counts, RepositoryCount{Repository: t.Repository})
		}
		counts[i].Tasks++
	}
	slices.SortStableFunc(counts, func(a, b RepositoryCount) int { return cmp.Compare(b.Tasks, a.Tasks) })
	return counts
}
