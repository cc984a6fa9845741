package runner

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"hostguard/runner/shell"
)

// Service describes the unit for one runner: one daemon with one registration.
type Service struct {
	Name, Scope      string // system or user
	Dir, ConfigPath  string
	RegistrationPath string
	Binary           string
	User             string        // of a system unit; a user unit runs as its user
	ShutdownTimeout  time.Duration // of the configuration
	Environment      []string      // NAME=value
	EnvironmentFiles []string      // with a "-" before one that may be missing
}

// PrimaryUnit returns the service for the host's own runner; Adopt finds the one that
// it has.
func (h Host) PrimaryUnit() Service {
	return Service{Name: PrimaryService, Dir: h.Dir, ConfigPath: h.ConfigPath, RegistrationPath: h.RegistrationPath,
		ShutdownTimeout: h.Config.ShutdownTimeout}
}

// StopTimeout returns the TimeoutStopSec that lets jobs end and be reported.
func StopTimeout(shutdown time.Duration) time.Duration { return shutdown + grace }

// StopsGracefully reports whether the unit lets jobs end when it is stopped: systemd
// signals only the runner, and kills it no sooner than necessary.
func (u Unit) StopsGracefully(shutdown time.Duration) bool {
	return u.KillMode == "mixed" && (u.StopTimeout == 0 || u.StopTimeout >= StopTimeout(shutdown))
}

const stopLines = `# systemd signals the runner alone, which then waits for its jobs
# (shutdown_timeout), runs its post-task script and reports.
KillMode=mixed
TimeoutStopSec=%d
`

// DropIn returns the text of a drop-in for an existing unit.
func DropIn(shutdown time.Duration) string {
	return "# Written by hostguard runner service.\n[Service]\n" +
		fmt.Sprintf(stopLines, int(StopTimeout(shutdown).Seconds()))
}

// Unit returns the text of a new unit.
func (s Service) Unit() (string, error) {
	for _, path := range []string{s.Dir, s.ConfigPath, s.Binary} {
		if err := CheckUnitPath(path); err != nil {
			return "", err
		}
	}
	var t strings.Builder
	t.WriteString("# Written by hostguard runner service.\n[Unit]\nDescription=Gitea Actions runner\n")
	wantedBy, user := "default.target", ""
	if s.Scope == "system" {
		t.WriteString("Wants=network-online.target\nAfter=network-online.target docker.service\n")
		wantedBy, user = "multi-user.target", "User="+s.User+"\n"
	}
	fmt.Fprintf(&t, "\n[Service]\n%sWorkingDirectory=%s\nExecStart=%q daemon --config %q\n"+
		"Restart=on-failure\nRestartSec=5\n", user, s.Dir, s.Binary, s.ConfigPath)
	for _, file := range s.EnvironmentFiles {
		if err := CheckUnitPath(strings.TrimPrefix(file, "-")); err != nil {
			return "", err
		}
		fmt.Fprintf(&t, "EnvironmentFile=%s\n", file)
	}
	for _, variable := range s.Environment {
		if strings.ContainsFunc(variable, func(r rune) bool { return !unicode.IsPrint(r) }) {
			name, _, _ := strings.Cut(variable, "=")
			return "", fmt.Errorf("the value of the variable %.100q has characters that a unit cannot have in one "+
				"line; set it in an EnvironmentFile", name)
		}
		fmt.Fprintf(&t, "Environment=\"%s\"\n", unitEscapes.Replace(variable))
	}
	fmt.Fprintf(&t, stopLines, int(StopTimeout(s.ShutdownTimeout).Seconds()))
	fmt.Fprintf(&t, "\n[Install]\nWantedBy=%s\n", wantedBy)
	return t.String(), nil
}

// unitEscapes escapes a text in double quotes (systemd.syntax(7), systemd.unit(5)).
var unitEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%")

// CheckUnitPath refuses a path that would change in the text of a unit: systemd expands
// % and $, and unescapes.
func CheckUnitPath(path string) error {
	switch {
	case !filepath.IsAbs(path) || filepath.Clean(path) != path:
		return fmt.Errorf("%.200q must be an absolute path without dots, for a unit", path)
	case strings.ContainsAny(path, `%$"'\`), strings.HasSuffix(path, " "),
		strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%.200q has characters that a unit cannot name; give the directory a plain name", path)
	}
	return nil
}

// UnitsOf returns the units that run this runner, now or when they are started.
func (h Host) UnitsOf(s Service) []Unit {
	var of []Unit
	for _, u := range h.daemonUnits() {
		runs := func(d Daemon) bool { return d.Registration == s.RegistrationPath && d.Of(u) }
		switch {
		case u.Registration != "" && u.Registration == s.RegistrationPath,
			u.Config != "" && u.Config == s.ConfigPath && (u.Registration == "" || s.RegistrationPath == ""),
			u.unconfigured() && u.Registration == "" && u.Launch.Dir == s.Dir,
			s.RegistrationPath != "" && slices.ContainsFunc(h.Daemons, runs):
			of = append(of, u)
		}
	}
	return of
}

// Adopt returns the unit that runs this runner already, or false if a new one may be
// created. It returns an error if neither is safe: two daemons with one registration
// cancel each other's jobs, and something that could not be seen may be such a daemon.
func (h Host) Adopt(s Service) (Unit, bool, error) {
	for _, scope := range s.scopes() {
		if !slices.ContainsFunc(h.Units, func(u Unit) bool { return u.Scope == scope }) {
			hint := ""
			if scope == "user" {
				hint = "; its manager runs without a login after sudo loginctl enable-linger"
			}
			return Unit{}, false, fmt.Errorf("whether a unit of the %s runs this runner is not known: %s%s", scope,
				strings.Join(h.UnitsUnseen, "; "), hint)
		}
	}
	units := h.UnitsOf(s)
	if on := slices.DeleteFunc(slices.Clone(units), Unit.Off); len(on) == 1 { // the others are disabled
		units = on
	}
	if len(units) > 1 {
		var names []string
		for _, u := range units {
			names = append(names, fmt.Sprintf("the %s's %q", u.Scope, u.Name))
		}
		slices.Sort(names)
		return Unit{}, false, fmt.Errorf("%d units run this runner: %s; remove all but one", len(units),
			strings.Join(names, " and "))
	}
	unit, found := Unit{}, len(units) == 1
	if found {
		unit = units[0]
		if unit.unconfigured() || s.ConfigPath == "" {
			return Unit{}, false, fmt.Errorf("the unit %q runs the runner without a configuration; %s", unit.Name,
				unit.configFix(s.Dir))
		}
	} else if u := h.unplaced(); u.Name != "" {
		return Unit{}, false, fmt.Errorf("whether the unit %q runs this runner is not known: its command is %.200q in "+
			"%.200q; write its paths out", u.Name, strings.Join(u.Launch.Argv, " "), u.Launch.Dir)
	} else if u, exists := h.Named(s.Name); exists {
		return Unit{}, false, fmt.Errorf("the %s's unit %q is there and does not run %.200q (LoadState=%.20q, "+
			"ExecStart=%.200q); remove it, or give -runner-dir the directory of its runner", u.Scope, u.Name,
			s.ConfigPath, u.Load, u.Exec)
	}
	if err := h.checkExclusive(s, unit); err != nil {
		return Unit{}, false, err
	}
	return unit, found, nil
}

// unplaced returns a unit that starts a runner of which it is not known where its files are.
func (h Host) unplaced() Unit {
	for _, u := range h.daemonUnits() {
		if u.Launch.Argv != nil && u.Registration == "" && u.Config == "" &&
			(u.Launch.Dir == "" || u.Launch.Config() != "") {
			return u
		}
	}
	return Unit{}
}

// scopes returns the managers that could have another unit of the runner.
func (s Service) scopes() []string {
	if s.Scope == "user" {
		return []string{"system", "user"}
	}
	return []string{"system"}
}

// checkExclusive fails if anything but the unit runs the runner, or if that could not be
// seen.
func (h Host) checkExclusive(s Service, unit Unit) error {
	for _, d := range h.Daemons {
		if d.Registration == s.RegistrationPath && !d.Of(unit) {
			return fmt.Errorf("process %d runs this runner, %s", d.PID, d.without())
		}
	}
	for _, c := range h.Containers {
		if c.Running && (c.mounts(s.RegistrationPath) || c.mounts(s.ConfigPath)) {
			return fmt.Errorf("the container %.100q runs this runner; hostguard runner drain retires it", c.Name)
		}
	}
	if unit.Active == "active" { // then nothing is started
		return nil
	}
	if h.ProcessesUnseen != "" {
		return fmt.Errorf("whether a process runs this runner is not known: %s", h.ProcessesUnseen)
	}
	if h.DockerUnseen != "" {
		return fmt.Errorf("whether a container runs this runner is not known: %s", h.DockerUnseen)
	}
	return nil
}

// without returns where a daemon comes from that no unit of the runner has started, and
// what to do about it.
func (d Daemon) without() string {
	switch {
	case strings.HasPrefix(d.Scope, "user "):
		return fmt.Sprintf("in the unit %q of %s: run hostguard as that user", d.Unit, d.Scope)
	case d.Unit != "":
		return fmt.Sprintf("and what started it is the unit %q, which is not the runner's own: remove it from what "+
			"that starts, and end it while no job runs", d.Unit)
	}
	return "outside of any unit that was seen; end it while no job runs"
}

// unconfigured reports whether the unit starts a daemon without a configuration: then
// the runner reads none, whatever lies in its directory.
func (u Unit) unconfigured() bool { return u.Launch.Argv != nil && u.Launch.Config() == "" }

// configFix returns how a unit gets a configuration.
func (u Unit) configFix(dir string) string {
	edit := "sudo systemctl edit --full "
	if u.Scope == "user" {
		edit = "systemctl --user edit --full "
	}
	return fmt.Sprintf("add \"--config %s\" to its ExecStart (%s%s)", filepath.Join(dir, "config.yaml"), edit,
		shell.Quote(u.Name))
}

// Busy describes the running jobs, or why they are not known; "" if there are none.
func (h Host) Busy() string {
	var busy []string
	if h.DockerUnseen != "" {
		busy = append(busy, "containers were not seen: "+h.DockerUnseen)
	}
	for _, c := range h.ActiveContainers {
		busy = append(busy, fmt.Sprintf("container %.100q", c))
	}
	if h.JobDirsUnseen != "" {
		busy = append(busy, "host jobs were not seen: "+h.JobDirsUnseen)
	}
	for _, dir := range h.ActiveHostJobs {
		busy = append(busy, fmt.Sprintf("host job in %.200q", dir))
	}
	return strings.Join(busy, ", ")
}
