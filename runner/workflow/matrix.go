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

// Pool is the list of known runners.
type Pool struct {
	Runners []Runner
	Whole   bool // whether it has all runners of the server
}

// Repository is one repository's workflows.
type Repository struct {
	Name      string // OWNER/NAME
	Workflows []Workflow
	LastRun   map[string]Run // by the workflow's file, if known
}

// Run is a run as its task describes it. It is identified by the number of the run, since
// a task's id is neither the run's nor the job's.
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
	NotSeen       = "unknown"       // no known runner has them
	Unresolved    = "unresolved"    // the labels are not in the file
)

// The class of a demand's labels, from the view of its repository.
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

// Matrix matches the labels that the jobs of repositories want with the known runners.
func Matrix(repositories []Repository, pool Pool) []Want {
	wants := []Want{}
	owns := func(word string) bool {
		return slices.ContainsFunc(repositories, func(r Repository) bool { return ownedBy(r.Name, word) })
	}
	for _, r := range repositories {
		for _, w := range r.Workflows {
			var last *Run
			if run, known := r.LastRun[w.File]; known {
				last = &run
			}
			for _, j := range w.Jobs {
				for _, d := range j.RunsOn {
					want := Want{Repository: r.Name, Workflow: w.File, Job: j.ID, RunsOn: d.Labels, LastRun: last}
					want.judge(d, pool, owns)
					wants = append(wants, want)
				}
			}
		}
	}
	return wants
}

// judge sets the verdict on a demand. owns reports whether a known repository is called by
// a word, or is its owner's.
func (w *Want) judge(d Demand, pool Pool, owns func(word string) bool) {
	w.Runners = []Runner{}
	if w.RunsOn == nil {
		w.RunsOn = []string{}
	}
	if d.Unresolved != "" {
		w.Verdict, w.Why = Unresolved, d.Unresolved
		return
	}
	if d.Alias != "" {
		w.Why = fmt.Sprintf("runs-on is the alias *%.50s: runners with act 0.261.8 or before read no label there",
			d.Alias)
	}
	w.Class = classFor(w.Repository, d.Labels, owns)
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

// classFor returns foreign if any label is another owner's, else dedicated if any is the
// repository's own, else shared.
func classFor(repository string, labels []string, owns func(word string) bool) string {
	class := ClassShared
	for _, l := range labels {
		switch word := config.Word(l); {
		case word == config.Shared:
		case ownedBy(repository, word):
			class = ClassDedicated
		case config.OwnerOf(l) != config.Shared || owns(word):
			return ClassForeign
		}
	}
	return class
}

// ownedBy reports whether the owner of a label is the repository or its owner; the label
// stockplatform-host also belongs to the repository stockplatform-v2.
func ownedBy(repository, word string) bool {
	owner, name, _ := strings.Cut(strings.ToLower(repository), "/")
	return word == owner || word == name || strings.HasPrefix(name, word+"-")
}

// CheckReplaced fails unless other runners, online and enabled, have the labels that the
// runner own would lose: jobs that want one would wait for ever. A runner of the same
// name counts as this one.
func (p Pool) CheckReplaced(labels []string, own string) error {
	if own == "" {
		return errors.New("which of the server's runners this is, is not known: the registration has no name")
	}
	for _, label := range labels {
		served := slices.ContainsFunc(p.Runners, func(r Runner) bool {
			return r.Name != own && r.Online && !r.Disabled && slices.Contains(r.Labels, label)
		})
		if !served {
			return fmt.Errorf("no other runner that is online and enabled has the label %.100q: its jobs would wait for "+
				"ever; register one first", label)
		}
	}
	return nil
}

// Served returns the names of the runners that take jobs of a label now: those that are
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
