package workflow

import (
	"errors"
	"fmt"
	"hostguard/runner/config"
	"slices"
	"strings"
	"time"
)

// Runner is a runner as its server knows it.
type Runner struct {
	ID       int64    `json:"-"`
	Name     string   `json:"name"`
	Labels   []string `json:"labels"`
	Online   bool     `json:"online"`
	Busy     bool     `json:"busy"`
	Disabled bool     `json:"disabled"`
}

// Pool are the runners that were told.
type Pool struct {
	Runners []Runner
	Whole   bool // all of the server; else there may be others
}

// Repository is one repository's workflows.
type Repository struct {
	Name      string // OWNER/NAME
	Workflows []Workflow
	LastRun   map[string]Run // by the workflow's file, as far as it was told
}

// Run is a run as its task tells it. A task's id is neither the run's nor the
// job's, so the number of the run is what names it.
type Run struct {
	Number  int64     `json:"number"`
	Status  string    `json:"status"`
	Started time.Time `json:"started,omitzero"`
}

// Whether a demand can be met.
const (
	Satisfiable   = "ok"
	Unsatisfiable = "unsatisfiable" // no runner of the server has these labels
	OfflineOnly   = "offline-only"  // those that have them are offline or disabled
	NotSeen       = "unknown"       // none of the runners that were told has them
	Unresolved    = "unresolved"    // the labels are not in the file
)

// Whose a demand's labels are, seen from its repository.
const (
	ClassShared    = "shared"
	ClassDedicated = "dedicated"
	ClassForeign   = "foreign"
)

// Want is one line of the matrix: what one job asks for.
type Want struct {
	Repository string   `json:"repository"`
	Workflow   string   `json:"workflow"`
	Job        string   `json:"job"`
	RunsOn     []string `json:"runs_on"`
	Verdict    string   `json:"verdict"`
	Class      string   `json:"class,omitempty"`
	Runners    []Runner `json:"runners"`
	Why        string   `json:"why,omitempty"`
	LastRun    *Run     `json:"last_run,omitempty"`
}

// Matrix joins what the jobs of repositories ask for with the runners there are.
func Matrix(repositories []Repository, pool Pool) []Want {
	wants := []Want{}
	for _, r := range repositories {
		for _, w := range r.Workflows {
			var last *Run
			if run, told := r.LastRun[w.File]; told {
				last = &run
			}
			for _, j := range w.Jobs {
				for _, d := range j.RunsOn {
					want := Want{Repository: r.Name, Workflow: w.File, Job: j.ID, RunsOn: d.Labels, LastRun: last}
					want.judge(d, pool)
					wants = append(wants, want)
				}
			}
		}
	}
	return wants
}

func (w *Want) judge(d Demand, pool Pool) {
	w.Runners = []Runner{}
	if w.RunsOn == nil {
		w.RunsOn = []string{}
	}
	if d.Unresolved != "" {
		w.Verdict, w.Why = Unresolved, d.Unresolved
		return
	}
	w.Class = classFor(w.Repository, d.Labels)
	ready := false
	for _, r := range pool.Runners {
		if !d.MetBy(r.Labels) {
			continue
		}
		w.Runners = append(w.Runners, r)
		ready = ready || r.Online && !r.Disabled
	}
	switch {
	case ready:
		w.Verdict = Satisfiable
	case len(w.Runners) > 0:
		w.Verdict = OfflineOnly
	case pool.Whole:
		w.Verdict = Unsatisfiable
	default:
		w.Verdict = NotSeen
	}
}

// MetBy reports whether a runner that has these labels can run the job.
func (d Demand) MetBy(has []string) bool {
	return !slices.ContainsFunc(d.Labels, func(label string) bool { return !slices.Contains(has, label) })
}

// classFor is foreign if any label is another owner's, else dedicated if any is
// the repository's own.
func classFor(repository string, labels []string) string {
	class := ClassShared
	for _, l := range labels {
		switch o := config.OwnerOf(l); {
		case o == config.Shared:
		case ownedBy(repository, o):
			class = ClassDedicated
		default:
			return ClassForeign
		}
	}
	return class
}

// ownedBy tells whether a label's owner word is the repository's: that of
// stockplatform-host is of stockplatform-v2 too, and the owner's is everybody's.
func ownedBy(repository, word string) bool {
	owner, name, _ := strings.Cut(strings.ToLower(repository), "/")
	return word == owner || word == name || strings.HasPrefix(name, word+"-")
}

// Replaced refuses to take labels away from the runner called own that no other
// runner, online and enabled, has: jobs that want one would wait for ever. A
// runner of the same name counts as this one.
func (p Pool) Replaced(labels []string, own string) error {
	if own == "" {
		return errors.New("which of the server's runners this one is, is not known: the registration has no name")
	}
	for _, label := range labels {
		served := slices.ContainsFunc(p.Runners, func(r Runner) bool {
			return r.Name != own && r.Online && !r.Disabled && slices.Contains(r.Labels, label)
		})
		if !served {
			return fmt.Errorf("no other runner that is online and enabled has the label %.100q: its jobs would wait for ever; register one first", label)
		}
	}
	return nil
}

// Served are the runners, by name, that take jobs of a label now: those that are
// online and not disabled.
func Served(label string, runners []Runner) []string {
	var by []string
	for _, r := range runners {
		if r.Online && !r.Disabled && slices.Contains(r.Labels, label) {
			by = append(by, r.Name)
		}
	}
	return by
}
