package operate

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostguard/internal/cli"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/finding"
)

const helpRunnerAudit = `Prints what runs jobs on this host: the runner's service and configuration, its
labels and their owners, a runner in a container, the containers of jobs, and the
tasks of the last 2 hours by repository; then each problem and its fix. Changes
nothing and needs no root; it reports what it could not see.

{inputs}

TASK_LOG_LINES=20 in the environment also prints the last 20 lines of the tasks' log.

exit status: 0 printed, 2 wrong use.

example: ssh HOST TASK_LOG_LINES=20 hostguard runner audit
`

// audit is one run of runner audit.
type audit struct {
	hostOptions
	json bool
}

func (a *audit) Inputs() []cli.Input {
	return append(a.hostOptions.Inputs(), cli.JSONInput(&a.json))
}

func (a *audit) Run(ctx context.Context, s *cli.Session) error {
	lines := 0
	if v := s.Getenv("TASK_LOG_LINES"); v != "" {
		var err error
		if lines, err = strconv.Atoi(v); err != nil || lines < 0 {
			return cli.Usagef("TASK_LOG_LINES is %q; it must be a whole number such as 20", v)
		}
	}
	h := a.look(ctx, s)
	readTasks(ctx, &h)
	a.readSchedule(ctx, s, &h)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	report := newAuditReport(h, lines)
	if a.json {
		return s.JSON(report)
	}
	report.print(s)
	return nil
}

// auditReport is what "runner audit -json" prints.
type auditReport struct {
	Version    int                      `json:"version"` // of this format
	Time       time.Time                `json:"time"`
	Services   []serviceReport          `json:"services"`
	Config     string                   `json:"config"`
	Runner     *runnerReport            `json:"runner,omitempty"`
	Owner      string                   `json:"owner"` // the labels of others are foreign
	Labels     []labelReport            `json:"labels"`
	Docker     []wrappedReport          `json:"docker"`
	Active     []string                 `json:"active_action_containers"`
	ActiveHost []string                 `json:"active_host_jobs"`
	Recent     []runner.RepositoryCount `json:"recent_2h_repo_counts"`
	Log        []string                 `json:"task_log,omitempty"`
	Findings   []finding.Finding        `json:"findings"`
	Unseen     []string                 `json:"unseen"`

	host runner.Host
}

type serviceReport struct {
	Name     string `json:"name"`
	Scope    string `json:"scope"`
	Active   string `json:"ActiveState"`
	Sub      string `json:"SubState"`
	MainPID  int    `json:"MainPID"`
	Restarts int    `json:"NRestarts"`
}

type runnerReport struct {
	Capacity        int    `json:"capacity"`
	Timeout         string `json:"timeout"`
	ShutdownTimeout string `json:"shutdown_timeout"`
}

type labelReport struct {
	Label string `json:"label"`
	Class string `json:"class"`
}

type wrappedReport struct {
	Name    string `json:"name"`
	Restart string `json:"Restart"`
	Status  string `json:"Status"`
	Running bool   `json:"Running"`
}

func newAuditReport(h runner.Host, lines int) auditReport {
	r := auditReport{
		Version: 1, Time: time.Now().UTC(), Services: []serviceReport{}, Config: h.ConfigPath, Owner: h.OwnedBy(),
		Labels: []labelReport{}, Docker: []wrappedReport{}, Active: append([]string{}, h.ActiveContainers...),
		ActiveHost: append([]string{}, h.ActiveHostJobs...),
		Recent:     runner.CountTasks(h.Tasks),
		Findings:   append([]finding.Finding{}, runner.Audit(h)...), Unseen: []string{}, host: h,
	}
	for _, u := range h.Services() {
		r.Services = append(r.Services, serviceReport{u.Name, u.Scope, u.Active, u.Sub, u.MainPID, u.Restarts})
	}
	if h.ConfigUnseen == "" {
		r.Runner = &runnerReport{h.Config.Capacity, config.Duration(h.Config.Timeout),
			config.Duration(h.Config.ShutdownTimeout)}
	}
	for _, l := range h.Config.Labels {
		class := config.ClassOf(l.Name, r.Owner)
		if class == "foreign_dedicated" {
			class = "foreign_or_cross_repo"
		}
		r.Labels = append(r.Labels, labelReport{l.Full, class})
	}
	for _, c := range h.Containers {
		r.Docker = append(r.Docker, wrappedReport{c.Name, c.Restart, c.Status, c.Running})
	}
	for _, t := range h.Tasks[max(0, len(h.Tasks)-lines):] {
		r.Log = append(r.Log, t.Line)
	}
	r.Unseen = unseenOf(h)
	return r
}

// unseenOf returns what the look at the host could not see, without duplicates.
func unseenOf(h runner.Host) []string {
	all := []string{}
	for _, why := range slices.Concat(h.UnitsUnseen, []string{h.ConfigUnseen, h.DockerUnseen, h.ProcessesUnseen,
		h.JobDirsUnseen, h.TasksUnseen}, h.ScheduleUnseen) {
		if why != "" && !slices.Contains(all, why) {
			all = append(all, why)
		}
	}
	return all
}

func (r auditReport) print(s *cli.Session) {
	h := r.host
	for _, u := range r.Services {
		s.Print("service=%s %s/%s, NRestarts=%d, MainPID=%d, scope=%s", cli.Word(u.Name), cli.Word(u.Active),
			cli.Word(u.Sub), u.Restarts, u.MainPID, u.Scope)
	}
	if len(r.Services) == 0 {
		s.Print("service=%s %s", runner.PrimaryService, choose(len(h.UnitsUnseen) > 0, "unknown", "not-found"))
	}
	s.Print("runner.config=%s", choose(r.Config == "", "none", cli.Word(r.Config)))
	if r.Runner == nil {
		s.Print("runner.capacity=unknown")
	} else {
		s.Print("runner.capacity=%d", r.Runner.Capacity)
		s.Print("runner.timeout=%s", r.Runner.Timeout)
		s.Print("runner.shutdown_timeout=%s", r.Runner.ShutdownTimeout)
	}
	if len(h.Containers) == 0 {
		s.Print("docker %s: %s", runner.WrappedContainer, choose(h.DockerUnseen != "", "unknown", "none"))
	}
	for _, c := range r.Docker {
		s.Print("docker %s: Restart=%s Status=%s Running=%t", cli.Word(c.Name), cli.Word(c.Restart), cli.Word(c.Status),
			c.Running)
	}
	s.Print("active_action_containers=%s", active(h))
	s.Print("active_host_jobs=%s", activeHostJobs(h))
	s.Print("owner=%s", choose(r.Owner == "", "none", cli.Word(r.Owner)))
	var foreign []string
	for _, l := range r.Labels {
		s.Print("label %s %s", cli.Word(l.Label), cli.Word(l.Class))
		if l.Class == "foreign_or_cross_repo" {
			foreign = append(foreign, cli.Word(l.Label))
		}
	}
	s.Print("foreign_labels=%s", choose(foreign == nil, "none", strings.Join(foreign, ",")))
	var counts []string
	for _, c := range r.Recent {
		counts = append(counts, fmt.Sprintf("%s=%d", cli.Word(c.Repository), c.Tasks))
	}
	none := choose(h.TasksUnseen != "", "unknown", "none")
	s.Print("recent 2h repo counts: %s", choose(counts != nil, strings.Join(counts, " "), none))
	for _, line := range r.Log {
		s.Print("  log %.500q", line)
	}
	for _, f := range r.Findings {
		s.Print("%s: %s; fix: %s", f.Level, f.Evidence, f.Fix)
	}
	for _, why := range r.Unseen {
		s.Print("not seen: %s", why)
	}
}

// active returns the containers of running jobs.
func active(h runner.Host) string {
	if h.DockerUnseen != "" {
		return "unknown"
	}
	return listed(h.ActiveContainers)
}

// activeHostJobs returns the directories of jobs that run on the host itself.
func activeHostJobs(h runner.Host) string {
	if h.JobDirsUnseen != "" {
		return "unknown"
	}
	return listed(h.ActiveHostJobs)
}
