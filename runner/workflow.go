package runner

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Workflow is what a workflow's file says that matters to its host.
type Workflow struct {
	File             string
	Push             bool // runs by itself: on push, pull requests or a schedule
	Concurrency      bool
	CancelInProgress bool
	Jobs             []Job
}

// Job is one job, in the order of the file.
type Job struct {
	ID               string
	Needs            []string
	Concurrency      bool
	CancelInProgress bool
	RunsOn           []Demand // one for each different set of labels of its matrix
	Calls            string   // the workflow that it is instead, else ""
	Steps            []Step
}

// Step is one step.
type Step struct {
	If, Uses, Run string
	With          map[string]string
	Line          int
}

// Demand are the labels that one runner must have, all of them, to run a job.
type Demand struct {
	Labels     []string
	Unresolved string // why the labels are not known, else ""
}

// maxLegs bounds the jobs of a file, each for its different runners.
const maxLegs = 1000

// ParseWorkflow reads one file. Names of the YAML 1.1 kind ("on" is a truth
// value there) are read as they are written.
func ParseWorkflow(file string, data []byte) (Workflow, error) {
	root, err := parseYAML(data)
	if err != nil {
		return Workflow{}, err
	}
	if root.Kind != yaml.MappingNode {
		return Workflow{}, errNoMapping
	}
	w := Workflow{File: file}
	on := value(root, "on")
	for _, event := range append(texts(on), keys(on)...) {
		switch event {
		case "push", "pull_request", "pull_request_target", "schedule":
			w.Push = true
		}
	}
	w.Concurrency, w.CancelInProgress = concurrency(root)
	legs := 0
	for _, p := range pairs(value(root, "jobs")) {
		j := parseJob(p.key, p.value)
		if legs += max(1, len(j.RunsOn)); legs > maxLegs {
			return Workflow{}, fmt.Errorf("it has more than %d jobs, with those of matrices", maxLegs)
		}
		w.Jobs = append(w.Jobs, j)
	}
	return w, nil
}

func keys(n *yaml.Node) []string {
	var all []string
	for _, p := range pairs(n) {
		all = append(all, p.key)
	}
	return all
}

func concurrency(n *yaml.Node) (given, cancels bool) {
	c := value(n, "concurrency")
	cancel := text(value(c, "cancel-in-progress"))
	return c != nil, cancel != "" && cancel != "false" // an expression may be true
}

func parseJob(id string, n *yaml.Node) Job {
	j := Job{ID: id, Needs: texts(value(n, "needs"))}
	j.Concurrency, j.CancelInProgress = concurrency(n)
	if uses := text(value(n, "uses")); uses != "" {
		j.Calls = uses
		j.RunsOn = []Demand{{Unresolved: "the job calls the workflow " + uses}}
		return j
	}
	j.RunsOn = demands(value(n, "runs-on"), value(value(n, "strategy"), "matrix"))
	if steps := value(n, "steps"); steps != nil && steps.Kind == yaml.SequenceNode {
		for _, s := range steps.Content {
			step := Step{If: text(value(s, "if")), Uses: text(value(s, "uses")), Run: text(value(s, "run")), With: map[string]string{}, Line: s.Line}
			for _, p := range pairs(value(s, "with")) {
				step.With[p.key] = strings.TrimSpace(text(p.value))
			}
			j.Steps = append(j.Steps, step)
		}
	}
	return j
}

// WorkflowDirs are where Gitea looks for workflows: in the first that there is.
var WorkflowDirs = []string{".gitea/workflows", ".github/workflows"}

// IsWorkflow tells a workflow by its file's name.
func IsWorkflow(name string) bool {
	return strings.HasSuffix(name, ".yml") || strings.HasSuffix(name, ".yaml")
}
