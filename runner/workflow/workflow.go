// Package workflow parses the workflows of repositories, finds problems for a shared host
// in them, and matches the labels of their jobs with the existing runners.
package workflow

import (
	"fmt"
	"hostguard/runner/yamltree"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Workflow holds the parts of a workflow file that matter to its host.
type Workflow struct {
	File             string
	Push             bool // triggered by push, pull requests or a schedule
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
	Calls            string   // the workflow that it calls instead of having steps, or ""
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
	Unresolved string // why the labels are not known, or ""
	// Alias is the YAML alias that stands for them, or "". Gitea's act 0.261.8 and before
	// reads no label there (measured), and gives the job to any runner.
	Alias string
}

// maxLegs bounds the jobs of a file, counted once for each set of labels.
const maxLegs = 1000

// Parse parses one file. Keys such as "on", which is a boolean in YAML 1.1, are texts. It
// fails where Gitea fails and runs nothing of the file: a job or a key that stands twice.
func Parse(file string, data []byte) (Workflow, error) {
	root, err := yamltree.Parse(data)
	if err != nil {
		return Workflow{}, err
	}
	if root.Kind != yaml.MappingNode {
		return Workflow{}, yamltree.ErrNoMapping
	}
	if err := yaml.Unmarshal(data, new(any)); err != nil {
		return Workflow{}, yamltree.Reason(err)
	}
	w := Workflow{File: file}
	on := yamltree.Value(root, "on")
	for _, event := range append(yamltree.Texts(on), keys(on)...) {
		switch event {
		case "push", "pull_request", "pull_request_target", "schedule":
			w.Push = true
		}
	}
	w.Concurrency, w.CancelInProgress = concurrency(root)
	legs := 0
	for _, p := range yamltree.Pairs(yamltree.Value(root, "jobs")) {
		j := parseJob(p.Key, p.Value)
		if legs += max(1, len(j.RunsOn)); legs > maxLegs {
			return Workflow{}, fmt.Errorf("more than %d jobs, with those of matrices", maxLegs)
		}
		w.Jobs = append(w.Jobs, j)
	}
	return w, nil
}

func keys(n *yaml.Node) []string {
	var all []string
	for _, p := range yamltree.Pairs(n) {
		all = append(all, p.Key)
	}
	return all
}

func concurrency(n *yaml.Node) (given, cancels bool) {
	c := yamltree.Value(n, "concurrency")
	cancel := yamltree.Text(yamltree.Value(c, "cancel-in-progress"))
	return c != nil, cancel != "" && cancel != "false" // an expression may be true
}

func parseJob(id string, n *yaml.Node) Job {
	j := Job{ID: id, Needs: yamltree.Texts(yamltree.Value(n, "needs"))}
	j.Concurrency, j.CancelInProgress = concurrency(n)
	if uses := yamltree.Text(yamltree.Value(n, "uses")); uses != "" {
		j.Calls = uses
		j.RunsOn = []Demand{{Unresolved: "the job calls the workflow " + uses}}
		return j
	}
	j.RunsOn = demands(yamltree.Value(n, "runs-on"), yamltree.Value(yamltree.Value(n, "strategy"), "matrix"))
	if steps := yamltree.Value(n, "steps"); steps != nil && steps.Kind == yaml.SequenceNode {
		for _, s := range steps.Content {
			step := Step{If: yamltree.Text(yamltree.Value(s, "if")), Uses: yamltree.Text(yamltree.Value(s, "uses")),
				Run: yamltree.Text(yamltree.Value(s, "run")), With: map[string]string{}, Line: s.Line}
			for _, p := range yamltree.Pairs(yamltree.Value(s, "with")) {
				step.With[p.Key] = strings.TrimSpace(yamltree.Text(p.Value))
			}
			j.Steps = append(j.Steps, step)
		}
	}
	return j
}

// ForgejoDir is the directory of workflows that Forgejo prefers, and Gitea does not read.
const ForgejoDir = ".forgejo/workflows"

// Dirs returns the directories of workflows, of which the server reads the first that
// exists.
func Dirs(forgejo bool) []string {
	dirs := []string{ForgejoDir, ".gitea/workflows", ".github/workflows"}
	if !forgejo {
		dirs = dirs[1:]
	}
	return dirs
}

// IsFile reports whether a file is a workflow, by its name.
func IsFile(name string) bool {
	return strings.HasSuffix(name, ".yml") || strings.HasSuffix(name, ".yaml")
}
