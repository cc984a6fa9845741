package runner

import (
	"cmp"
	"fmt"
	"hostguard/runner/config"
	"hostguard/runner/finding"
	"hostguard/runner/shell"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// grace is the time that a unit needs after shutdown_timeout: the runner's post-task
// script may take 5 minutes, and then the runner reports.
const grace = 6 * time.Minute

// Audit returns the problems of a host's runner.
func Audit(h Host) []finding.Finding {
	return slices.Concat(auditConfig(h), auditUnits(h), auditWrapped(h), auditDaemons(h), auditLeftovers(h),
		checkSchedule(h.Schedule, h.wrapped()), checkGuards(h, h.wrapped()))
}

// configFix is the fix for a configuration that could not be read.
const configFix = "run it as the runner's user, or give -runner-dir"

func auditConfig(h Host) []finding.Finding {
	var all finding.List
	if h.ConfigUnseen != "" {
		all.Warn(4, configFix, "the runner's configuration was not read: %s", h.ConfigUnseen)
		return all
	}
	if h.Config.Refused != "" {
		all.Bad(4, "correct it; the runner's own log names the same", "the runner does not start with %.200q: %.300q",
			h.ConfigPath, h.Config.Refused)
	}
	for _, p := range h.Config.Problems {
		all.Bad(4, "write a number or a duration such as 1h there", "%.200q: %s", h.ConfigPath, p)
	}
	if h.Config.Capacity > 1 {
		all.Bad(4, h.ConfigFix(),
			"capacity is %d: jobs of several repositories run at once on one Docker daemon and delete each "+
				"other's containers", h.Config.Capacity)
	}
	for _, hook := range h.Config.JobHooks {
		if h.Config.RunsContainers() && !h.Config.Mounts(hook) {
			all.Warn(4, "add the mounts that hostguard install prints, or remove it from runner.hooks",
				"the hook %.200q runs in the containers of jobs and is not mounted there: "+
					"each job whose image has no such file fails", hook)
		}
	}
	if h.Config.HealthScript != "" && !h.Config.HealthEnabled {
		all.Warn(4, "set health_check.enabled to true", "the health check %.200q never runs", h.Config.HealthScript)
	}
	if len(h.Config.Labels) > 0 && len(h.HostLabels()) == 0 {
		all.Warn(4, fmt.Sprintf("add one to runner.labels in %.200q, if builds must run on the host",
			cmp.Or(h.ConfigPath, filepath.Join(h.Dir, "config.yaml"))),
			"no label runs jobs on the host itself, such as ci-host:host")
	}
	if h.Config.ShutdownTimeout == 0 {
		all.Bad(6, h.ConfigFix(), "shutdown_timeout is 0s: a restart cancels the jobs that run")
	}
	if foreign := config.Foreign(h.Config.Labels, h.OwnedBy()); len(foreign) > 0 && !h.Separated() {
		names := make([]string, 0, len(foreign))
		for _, l := range foreign {
			names = append(names, fmt.Sprintf("%.100q", l.Name))
		}
		all.Warn(9, "hostguard runner split; never remove one without a runner that replaces it",
			"labels of other owners share this queue: %s", strings.Join(names, ", "))
	}
	return all
}

func auditUnits(h Host) []finding.Finding {
	var all finding.List
	services := h.Services()
	primary, found := h.Primary()
	switch {
	case h.Retired():
		for _, name := range h.stoppedSplits() {
			u, _ := h.Named(name)
			all.Bad(6, systemctl(u)+"start "+shell.Quote(name),
				"the service %q of a split-off runner does not run: its jobs wait", name)
		}
	case !found && len(h.UnitsUnseen) > 0:
		all.Warn(6, "run it on the host, as the runner's user",
			"the runner's service was not seen: %s", strings.Join(h.UnitsUnseen, "; "))
	case !found:
		all.Warn(6, h.newServiceFix(),
			"no service runs the runner in %.200q: after a crash or a reboot nothing starts it", h.Dir)
	case primary.Active != "active":
		all.Bad(6, systemctl(primary)+"start "+shell.Quote(primary.Name),
			"%.100q is %q/%q", primary.Name, primary.Active, primary.Sub)
	}
	for _, u := range services {
		if u.Active != "active" {
			continue
		}
		if u.KillMode != "mixed" {
			all.Bad(6, h.UnitFix(u),
				"unit %q has KillMode=%q: systemd ends the jobs' steps together with the runner, and "+
					"shutdown_timeout has no effect", u.Name, u.KillMode)
		}
		if shutdown := h.Config.ShutdownTimeout; shutdown > 0 && u.StopTimeout > 0 &&
			u.StopTimeout < StopTimeout(shutdown) {
			all.Bad(6, h.UnitFix(u),
				"unit %q has TimeoutStopSec=%s, less than shutdown_timeout (%s) and the time to report after it",
				u.Name, config.Duration(u.StopTimeout), config.Duration(shutdown))
		}
		if u.Scope == "user" && !h.Lingers {
			all.Warn(6, "sudo loginctl enable-linger",
				"unit %q is a user unit, and Linger=no: after a reboot it does not start without a login", u.Name)
		}
	}
	return all
}

// serviceFix returns the command that fixes a runner's configuration and its unit.
func serviceFix(dir string) string {
	return "hostguard runner service -runner-dir " + shell.Quote(dir) + " -apply"
}

// ConfigFix returns the fix for a setting of the primary's configuration. What the command
// would refuse to do comes first.
func (h Host) ConfigFix() string {
	primary, found := h.Primary()
	switch {
	case h.ConfigFixed != "":
		return fmt.Sprintf("set it in what %.200q is made from, since %s; NixOS: "+
			"services.gitea-actions-runner.instances.NAME.settings.runner", h.ConfigPath, h.ConfigFixed)
	case found && primary.unconfigured():
		return primary.configFix(h.Dir) + ", then " + serviceFix(h.Dir)
	case h.Config.Refused != "":
		return fmt.Sprintf("correct %.200q, then %s", h.ConfigPath, serviceFix(h.Dir))
	case !found:
		return h.newServiceFix()
	}
	return serviceFix(h.Dir)
}

// newServiceFix returns the fix for a runner that no unit runs.
func (h Host) newServiceFix() string {
	for _, d := range h.Daemons {
		if d.Registration != "" && d.Registration == h.RegistrationPath {
			return fmt.Sprintf("process %d runs it, %s; then %s", d.PID, d.without(), serviceFix(h.Dir))
		}
	}
	switch {
	case h.ConfigUnseen != "":
		return configFix
	case !h.Registered:
		return fmt.Sprintf("register it in %.200q, then %s", h.Dir, serviceFix(h.Dir))
	case h.Config.Refused != "":
		return fmt.Sprintf("correct %.200q, then %s", h.ConfigPath, serviceFix(h.Dir))
	}
	return serviceFix(h.Dir)
}

// UnitFix returns the fix for the settings of a unit.
func (h Host) UnitFix(u Unit) string {
	dir := cmp.Or(u.Dir, h.Dir)
	switch {
	case u.Scope == "system" && h.UnitsFixed != "":
		return fmt.Sprintf("set KillMode=mixed and TimeoutStopSec=%d in what %q is made from, since %s; NixOS: "+
			"systemd.services.%s.serviceConfig", int(StopTimeout(max(time.Hour, h.Config.ShutdownTimeout)).Seconds()),
			u.Name, h.UnitsFixed, strings.TrimSuffix(u.Name, ".service"))
	case u.unconfigured():
		return u.configFix(dir) + ", then " + serviceFix(dir)
	case dir == h.Dir && h.Config.Refused != "":
		return fmt.Sprintf("correct %.200q, then %s", h.ConfigPath, serviceFix(h.Dir))
	}
	return serviceFix(dir)
}

func systemctl(u Unit) string {
	if u.Scope == "user" {
		return "systemctl --user "
	}
	return "sudo systemctl "
}

func auditWrapped(h Host) []finding.Finding {
	var all finding.List
	if why, fix := h.dockerUnseen(); why != "" {
		all.Warn(7, fix, "containers were not seen: %s", why)
	}
	for _, c := range h.Containers {
		switch {
		case c.Unsure && (c.Running || c.Restart != "no" && c.Restart != ""):
			all.Warn(7, "if it is: "+c.drain(),
				"the container %.100q may be a runner's: it has a registration mounted (Status=%.20q, Restart=%.20q)",
				c.Name, c.Status, c.Restart)
		case c.Running && c.servesHost(h):
			all.Bad(7, c.drain(),
				"the container %.100q serves a label with :host, so those jobs run inside it and not on the host",
				c.Name)
		case c.Running && c.Name == WrappedContainer:
			all.Bad(7, c.drain(), "the container %q takes jobs again", c.Name)
		case c.Running:
			all.Warn(7, "if the host's own runner is to take its jobs: "+c.drain(),
				"the container %.100q runs a runner", c.Name)
		case !c.Unsure && c.Restart != "no" && c.Restart != "":
			all.Bad(7, c.drain(),
				"the container %.100q has Restart=%.20q: Docker may start it again", c.Name, c.Restart)
		}
	}
	return all
}

// wrapped returns the retired container, or only its name if there is none.
func (h Host) wrapped() Container {
	if i := slices.IndexFunc(h.Containers, func(c Container) bool { return c.Name == WrappedContainer }); i >= 0 {
		return h.Containers[i]
	}
	return Container{Name: WrappedContainer}
}

// servesHost reports whether the container would take jobs of a :host label, by the
// labels in its environment or by the configuration that it mounts.
func (c Container) servesHost(h Host) bool {
	for _, l := range c.Labels {
		if config.ParseLabel(l).Schema == "host" {
			return true
		}
	}
	return len(h.HostLabels()) > 0 && (c.mounts(h.ConfigPath) || len(c.Labels) == 0 && c.mounts(h.RegistrationPath))
}

// mounts reports whether the container mounts a file of the host.
func (c Container) mounts(file string) bool {
	return file != "" && slices.ContainsFunc(c.Mounts, func(m string) bool {
		return m != "/" && (m == file || strings.HasPrefix(file, strings.TrimSuffix(m, "/")+"/"))
	})
}

func auditDaemons(h Host) []finding.Finding {
	var all finding.List
	users := map[string][]string{}
	var files []string
	add := func(file, who string) {
		if users[file] = append(users[file], who); len(users[file]) == 2 {
			files = append(files, file)
		}
	}
	seen := false
	for _, d := range h.Daemons {
		if d.Registration != "" {
			seen = true
			add(d.Registration, fmt.Sprintf("process %d", d.PID))
		}
	}
	if !seen && h.RegistrationPath != "" { // the directories of another user's processes may not be visible
		for _, u := range h.UnitsOf(h.PrimaryUnit()) {
			if u.Active == "active" {
				add(h.RegistrationPath, fmt.Sprintf("the %s's unit %q", u.Scope, u.Name))
			}
		}
	}
	for _, c := range h.Containers {
		if c.Running && c.mounts(h.RegistrationPath) {
			add(h.RegistrationPath, fmt.Sprintf("container %.100q", c.Name))
		}
	}
	for _, file := range files {
		all.Bad(9, "stop all but one; each runner needs a registration of its own",
			"%s take jobs with one registration, %.200q, and cancel each other's",
			strings.Join(users[file], " and "), file)
	}
	listeners := map[string]int{}
	for _, root := range h.GitHubRoots {
		if listeners[root]++; listeners[root] == 2 {
			all.Bad(9, "stop all but the service's: pgrep -af Runner.Listener",
				"more than one listener of GitHub's runner runs in %.200q: they take each other's jobs and leave "+
					"_diag behind", root)
		}
	}
	return all
}

func auditLeftovers(h Host) []finding.Finding {
	var all finding.List
	if len(h.JobDirs) > 0 {
		oldest := slices.MinFunc(h.JobDirs, func(a, b JobDir) int { return a.Changed.Compare(b.Changed) })
		all.Warn(9, "while no job runs: rm -rf "+shell.Quote(filepath.Dir(oldest.Path))+"/"+strings.Repeat("[0-9a-f]", 16),
			"job directories that no process uses: %d, the oldest %.200q of %s; "+
				"act_runner before v3 never removes those of a killed runner",
			len(h.JobDirs), oldest.Path, oldest.Changed.UTC().Format(time.DateOnly))
	}
	return all
}
