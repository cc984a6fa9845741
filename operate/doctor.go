package operate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/docker"
	"hostguard/internal/lockwire"
	"hostguard/internal/pressurewire"
	"hostguard/internal/proc"
	"hostguard/lock"
	"hostguard/pressure"
	"hostguard/runner"
	"hostguard/runner/finding"
	"hostguard/runner/shell"
	"hostguard/runner/workflow"
)

// doctor is one run of doctor, with its own findings beside those about the runner.
type doctor struct {
	hostOptions
	checkout string
	json     bool

	*cli.Session
	found []finding.Finding
	good  map[int]string
}

func (d *doctor) Inputs() []cli.Input {
	return slices.Concat([]cli.Input{checkoutInput(&d.checkout, "")}, d.hostOptions.Inputs(),
		[]cli.Input{cli.JSONInput(&d.json)})
}

func (d *doctor) Run(ctx context.Context, s *cli.Session) error {
	d.Session, d.good = s, map[int]string{}
	h := d.look(ctx, s)
	readTasks(ctx, &h)
	d.readSchedule(ctx, s, &h)
	workflows := d.workflows(ctx, d.checkout, h.Server())
	d.leftDiagnostics(ctx, h)
	d.cleaning(h)
	d.locks(ctx)
	d.pressure(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	report := doctorReport{Version: 1, Time: time.Now().UTC(), Layers: runner.Diagnose(h, workflows, d.found, d.good),
		Unseen: unseenOf(h)}
	if d.json {
		if err := s.JSON(report); err != nil {
			return err
		}
	} else {
		report.print(s)
	}
	if slices.ContainsFunc(report.Layers, func(l runner.Layer) bool { return l.Level == finding.Bad }) {
		return cli.WithStatus(cli.StatusRefused, cli.ErrReported)
	}
	return nil
}

// doctorReport is what "doctor -json" prints.
type doctorReport struct {
	Version int            `json:"version"` // of this format
	Time    time.Time      `json:"time"`
	Layers  []runner.Layer `json:"layers"`
	Unseen  []string       `json:"unseen"`
}

// print prints a line for each layer, each cause once, and how many layers are how.
func (r doctorReport) print(s *cli.Session) {
	evidence, fixes := map[string]string{}, map[string]string{} // each with the layer that has printed it
	var printed strings.Builder
	count := map[finding.Level]int{}
	for _, l := range r.Layers {
		count[l.Level]++
		text := l.Evidence
		switch {
		case l.Level == finding.OK:
		case evidence[text] != "":
			text = "as " + evidence[text]
		default:
			evidence[text] = l.Layer
			if as := fixes[l.Fix]; as != "" {
				text += "; fix: as " + as
			} else {
				text += "; fix: " + l.Fix
				fixes[l.Fix] = l.Layer
			}
		}
		if more := len(l.Findings) - 1; more > 0 {
			text += fmt.Sprintf(" (%d more: -json)", more)
		}
		s.Print("%-4s %-4s %s: %s", l.Layer, l.Level, l.Title, text)
		fmt.Fprintln(&printed, l.Evidence)
	}
	for _, why := range r.Unseen {
		cause := why
		if i := strings.LastIndex(why, "; "); i > 0 { // what helps follows
			cause = why[:i]
		}
		if !strings.Contains(printed.String(), cause) {
			s.Print("not seen: %s", why)
		}
	}
	s.Print("%d bad, %d warn, %d ok", count[finding.Bad], count[finding.Warn], count[finding.OK])
}

func (d *doctor) find(layer int, level finding.Level, fix, format string, args ...any) {
	d.found = append(d.found, finding.Finding{Layer: layer, Level: level, Evidence: fmt.Sprintf(format, args...),
		Fix: fix})
}

// workflows returns the workflows of the checkout, if it is one.
func (d *doctor) workflows(ctx context.Context, checkout string, server runner.Server) []workflow.Workflow {
	workflows, problems, err := localWorkflows(ctx, &d.files, checkout, server)
	if err != nil {
		d.find(5, finding.Warn, "give -checkout a directory that can be read", "%s", err)
	}
	for _, p := range problems {
		d.find(5, finding.Bad, "fix the file; Gitea runs nothing of it", "%s", p)
	}
	forgejos := func(w workflow.Workflow) bool { return strings.HasPrefix(w.File, workflow.ForgejoDir+"/") }
	if slices.ContainsFunc(workflows, forgejos) {
		d.find(5, finding.Warn, "remove the one that the server does not read",
			"Forgejo reads %q in place of other workflows, and Gitea does not read it: both were checked",
			workflow.ForgejoDir)
	}
	if len(workflows) == 0 {
		dir, _ := filepath.Abs(checkout)
		d.good[5] = fmt.Sprintf("%q has no workflows to check", dir)
		d.good[10] = d.good[5]
	}
	return workflows
}

// leftDiagnostics looks for files that would make the next "Set up job" of a GitHub
// runner fail.
func (d *doctor) leftDiagnostics(ctx context.Context, h runner.Host) {
	roots := slices.Compact(slices.Clone(h.GitHubRoots))
	if len(roots) == 0 {
		d.good[1] = "no listener of GitHub's runner runs here"
		if why := proc.Local().OutOfSight(); why != "" {
			d.find(1, finding.Warn, "run it on the host, as root",
				"whether a listener of GitHub's runner runs here was not seen: %s", why)
		}
		return
	}
	for _, root := range roots {
		left, err := askAbout[int](ctx, &d.files, root, "diagnostics", diagnostics{Root: root, Home: d.Getenv("HOME")})
		switch {
		case err != nil:
			d.find(1, finding.Warn, "run it as the runner's user", "%.200q was not inspected: %.200q", root, err)
		case left > 0:
			d.find(1, finding.Bad, "hostguard clean-diag -runner-root "+shell.Quote(root),
				"files of dead jobs in %.200q make the next \"Set up job\" fail: %d", root, left)
		}
	}
	d.good[1] = fmt.Sprintf("nothing left behind in %s", cli.Plural(len(roots), "root"))
}

// cleaning checks the timer that cleans in the background, if a GitHub runner runs here.
func (d *doctor) cleaning(h runner.Host) {
	timers := h.Cleanups()
	active := slices.IndexFunc(timers, func(u runner.Unit) bool { return u.Active == "active" })
	install := "hostguard runner cleanup-timer -runner-root ROOT -apply"
	if len(h.GitHubRoots) > 0 {
		install = "hostguard runner cleanup-timer -runner-root " + shell.Quote(h.GitHubRoots[0]) + " -apply"
	}
	switch {
	case active >= 0:
		d.good[2] = timers[active].Name + " is active"
	case len(h.GitHubRoots) == 0:
		d.good[2] = "not needed: no listener of GitHub's runner runs here"
	case len(timers) == 0 && len(h.UnitsUnseen) > 0:
		d.find(2, finding.Warn, "run it on the host, as the runner's user", "%s was not seen: %s", runner.CleanupTimer,
			strings.Join(h.UnitsUnseen, "; "))
	case len(timers) == 0:
		d.find(2, finding.Warn, install, "there is no %s", runner.CleanupTimer)
	default:
		d.find(2, finding.Bad, install, "%s is %q", timers[0].Name, timers[0].Active)
	}
}

// locks checks the locks of the host.
func (d *doctor) locks(ctx context.Context) {
	store, err := lockwire.Open(ctx, d.Session, lockwire.BackendDocker, 0)
	var surveys []lock.Survey
	if err == nil {
		surveys, err = store.Survey(ctx, lockwire.DefaultLockName)
	}
	if err != nil {
		why, fix := cli.OneLine(err), "see the daemon's log"
		if known, ok := errors.AsType[*docker.Unusable](err); ok {
			why, fix = known.What, known.Fix
		}
		if errors.Is(err, docker.ErrNoDaemon) {
			fix += "; or use lock-backend: file for jobs of a host without Docker"
		}
		d.find(3, finding.Bad, fix, "no lock can be acquired: %s", why)
		return
	}
	held := 0
	for _, survey := range surveys {
		for _, h := range survey.Holders {
			held++
			what := fmt.Sprintf("lock %.100q, %s: %s, %s", survey.Name, lockwire.DescribeHolder(h.Entry, time.Now()),
				h.Verdict.Life, h.Verdict.Evidence)
			if h.Verdict.Life == lock.Stale || h.Verdict.Life == lock.Dead {
				d.find(3, finding.Warn, "hostguard status; the next acquire-lock takes it over", "%s", what)
			}
		}
	}
	place := store.Self.Place
	d.good[3] = fmt.Sprintf("%d held, none by a dead job", held)
	if version := store.Podman(ctx); version != "" {
		d.good[3] += fmt.Sprintf("; Podman %.20q keeps locks as ordinary networks: never run its network prune or "+
			"system prune", version)
	}
	switch {
	case place.Boot == "" || place.PIDs == "":
		d.find(3, finding.Warn, "mount /proc as on any Linux",
			"whether a holder is alive cannot be checked: the boot id or the pid namespace of this process cannot be "+
				"read")
	case !place.Local:
		d.good[3] += "; the daemon may be on another machine: whether a holder on a host is alive is not checked"
	case place.Machine == "":
		d.good[3] += "; /etc/machine-id has no ID: only the boot id identifies this machine"
	}
}

// pressure looks once for heavy builds.
func (d *doctor) pressure(ctx context.Context) {
	gate, docker := pressurewire.New(d.Getenv, pressure.Known())
	look, err := gate.Look(ctx)
	if err != nil {
		d.find(8, finding.Warn, "run it where /proc can be read", "heavy builds cannot be seen: %s", cli.OneLine(err))
		return
	}
	docker.Name(ctx, look)
	d.good[8] = "no heavy build runs (" + pressurewire.LookedAt(look) + ")"
	if !look.Clear() {
		d.good[8] = "under pressure now: " + pressurewire.Pressing(look)
	}
}

const helpDoctor = `Checks each layer that keeps this host usable, L1 to L12, the workflows of a checkout,
and what cron, timers and units run. Prints a line for each layer: ok, warn or bad,
the evidence, and how to fix it, and at the end how many are bad, warn and ok. Changes
nothing and needs no root; it reports what it could not see.

{inputs}

exit status: 0 nothing is bad, 1 something is bad, 2 wrong use.

example: hostguard doctor -checkout ~/src/shop
`
