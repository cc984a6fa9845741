package runner

import (
	"cmp"
	"fmt"
	"hostguard/runner/config"
	"hostguard/runner/finding"
	"hostguard/runner/workflow"
	"slices"
	"strings"
)

// Layer is one of the layers that keep a host usable, and its state on this host.
type Layer struct {
	Layer    string            `json:"layer"` // L1 to L12
	Title    string            `json:"title"`
	Level    finding.Level     `json:"level"`
	Evidence string            `json:"evidence"`
	Fix      string            `json:"fix,omitempty"`
	Findings []finding.Finding `json:"findings"` // the worst first, which the line shows
}

var titles = [...]string{
	"diagnostics of GitHub's runner", "background cleaning", "host-wide build lock", "runner capacity and labels",
	"jobs of the workflows", "graceful shutdown", "retired runner in a container", "build pressure", "runner pool",
	"labels that the workflows want", "isolation readiness", "split by owner",
}

// Diagnose returns the state of each layer. found holds findings of other checks, and
// good the evidence for layers without findings.
func Diagnose(h Host, workflows []workflow.Workflow, found []finding.Finding, good map[int]string) []Layer {
	found = slices.Concat(found, Audit(h), workflow.Check(workflows, h.HostLabels()), checkWanted(h, workflows),
		checkSplit(h), checkUnseen(h))
	layers := make([]Layer, 0, len(titles))
	for i, title := range titles {
		l := Layer{Layer: fmt.Sprintf("L%d", i+1), Title: title, Evidence: h.good(i+1, len(workflows)),
			Findings: []finding.Finding{}}
		if text := good[i+1]; text != "" {
			l.Evidence = text
		}
		for _, f := range found {
			if f.Layer == i+1 {
				l.Findings = append(l.Findings, f)
			}
		}
		slices.SortStableFunc(l.Findings, func(a, b finding.Finding) int { return int(b.Level - a.Level) })
		if len(l.Findings) > 0 {
			l.Level, l.Evidence, l.Fix = l.Findings[0].Level, l.Findings[0].Evidence, l.Findings[0].Fix
		}
		layers = append(layers, l)
	}
	return layers
}

// good returns the evidence for a layer without findings.
func (h Host) good(layer, workflows int) string {
	switch layer {
	case 4:
		return fmt.Sprintf("capacity %d, labels: %d", h.Config.Capacity, len(h.Config.Labels))
	case 5:
		return fmt.Sprintf("workflows checked: %d", workflows)
	case 6:
		return "KillMode=mixed, shutdown_timeout " + config.Duration(h.Config.ShutdownTimeout)
	case 7:
		for _, c := range h.Containers {
			if c.Name == WrappedContainer {
				return fmt.Sprintf("Restart=%.20q Status=%.20q, and nothing scheduled%s starts it", c.Restart, c.Status,
					h.visibleNote())
			}
		}
		return fmt.Sprintf("no runner in a container, and nothing scheduled%s starts one", h.visibleNote())
	case 9:
		return fmt.Sprintf("one daemon on each registration, no job directories left behind, recent tasks: %d",
			len(h.Tasks))
	case 10:
		return fmt.Sprintf("every label is served here, workflows checked: %d", workflows)
	case 11:
		return "isolation_ready=true"
	case 12:
		if len(h.LabelOwners()) < 2 {
			return "not needed: the labels are of one owner"
		}
		return "each owner has a runner of its own"
	}
	return "nothing found"
}

// visibleNote returns a restriction to what could be seen, if some schedules could not.
func (h Host) visibleNote() string {
	if len(h.ScheduleUnseen) > 0 {
		return " that could be seen"
	}
	return ""
}

// checkUnseen reports what could not be inspected of the runner pool.
func checkUnseen(h Host) []finding.Finding {
	var unseen []string
	for _, why := range []string{h.ProcessesUnseen, h.TasksUnseen, h.JobDirsUnseen} {
		if why != "" {
			unseen = append(unseen, why)
		}
	}
	var all finding.List
	if why, fix := h.dockerUnseen(); why != "" {
		all.Warn(9, fix, "containers were not seen: %s", why)
	}
	if unseen != nil {
		all.Warn(9, "run it on the host, as the runner's user", "some of it was not seen: %s",
			strings.Join(unseen, "; "))
	}
	return all
}

// dockerUnseen returns why containers were not seen, and what helps.
func (h Host) dockerUnseen() (why, fix string) {
	fix = cmp.Or(h.DockerFix, "run it as a user who may use the Docker socket")
	return strings.TrimSuffix(h.DockerUnseen, "; "+fix), fix
}

// checkWanted reports labels of the checkout's workflows that this host's runner does
// not serve. Other runners may serve them.
func checkWanted(h Host, workflows []workflow.Workflow) []finding.Finding {
	var all finding.List
	if h.ConfigUnseen != "" {
		all.Warn(10, configFix, "the labels that this host serves are not known")
		return all
	}
	serves := make([]string, 0, len(h.Config.Labels))
	for _, l := range h.Config.Labels {
		serves = append(serves, l.Name)
	}
	var missing []string
	for _, w := range workflows {
		for _, j := range w.Jobs {
			for _, d := range j.RunsOn {
				if d.Unresolved == "" && !d.MetBy(serves) {
					missing = append(missing, fmt.Sprintf("%.60q of %.60q", strings.Join(d.Labels, ", "), w.File))
				}
			}
		}
	}
	if missing != nil {
		all.Warn(10, "hostguard runner labels shows whether another does",
			"this host's runner does not serve %s", strings.Join(missing[:min(3, len(missing))], ", "))
	}
	return all
}

const splitFix = "hostguard runner split prints the plan and carries it out; safe_next_step="

func checkSplit(h Host) []finding.Finding {
	r := CheckReadiness(h)
	var all finding.List
	if !r.Ready {
		all.Warn(11, splitFix+r.Next, "isolation_ready=false blocker=%s", r.Blocker)
	}
	switch {
	case h.ConfigUnseen != "":
		all.Warn(12, configFix, "whose labels this host serves is not known")
	case r.Mixed:
		registered := 0
		for _, d := range r.SplitDirs {
			if d.Status == "registered" {
				registered++
			}
		}
		if registered < r.WantedServices || r.InstalledServices < r.WantedServices {
			all.Warn(12, splitFix+r.Next,
				"one runner serves %d owners; of their own runners %d are registered, and %d have a service",
				r.WantedServices, registered, r.InstalledServices)
		} else if !h.Separated() {
			all.Warn(12, splitFix+r.Next,
				"each of %d owners has a runner, and the first one still has the labels of all", r.WantedServices)
		}
	}
	return all
}
