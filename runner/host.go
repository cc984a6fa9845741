package runner

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostguard/internal/actrunner"
	"hostguard/runner/config"
)

// PrimaryService is the unit of the host's own runner, if it has none yet. An existing
// unit is recognized by what it runs, whatever its name.
const PrimaryService = "gitea-act-runner-host.service"

// WrappedContainer is the container of the runner that the host's own runner replaced.
const WrappedContainer = "gitea-runner"

// Host is what could be seen of a host. A text in one of the Unseen fields is the reason
// why the facts beside it are missing or incomplete.
type Host struct {
	Owner string // of the host; "" for the most common owner of its labels

	Units       []Unit
	UnitsUnseen []string // one for each scope
	Lingers     bool     // the user's units start without a login

	Dir              string // of the primary runner
	Home             string // of its user, as its unit sets it; "" if it does not
	WorkDir          string // where it works: relative paths of its configuration are below it
	ConfigPath       string // "" if it has none
	ConfigFixed      string // why its configuration cannot be changed here, "" if it can
	UnitsFixed       string // why units cannot
	ConfigText       []byte // of which Config is the content
	ConfigChanged    time.Time
	Config           config.Config
	ConfigUnseen     string
	Registered       bool
	RegistrationPath string
	SplitDirs        []SplitDir
	JobDirs          []JobDir // that no process uses
	JobDirsUnseen    string
	Containers       []Container // that run a runner, or may
	Guards           []Container // that may start others
	ComposeFiles     []Script    // of the containers
	ActiveContainers []string    // that run a job
	ActiveHostJobs   []string    // of a :host label: directories in use by processes, or a process of the runner
	DockerUnseen     string
	DockerFix        string   // what helps to see it
	DockerHost       string   // of the primary's containers, "" for the usual one
	Daemons          []Daemon // processes of this host
	GitHubRoots      []string // of running listeners of GitHub's runner, one each
	ProcessesUnseen  string
	Tasks            []Task
	TasksUnseen      string
	Schedule         []Scheduled
	ScheduleUnseen   []string
}

// Unit is a service or a timer of systemd.
type Unit struct {
	Name, Scope       string // system or user
	Load, Active, Sub string
	File              string // enabled, disabled, static, ...
	MainPID, Restarts int
	Started           time.Time // its main process; zero if it has none
	Result            string    // of its last run: success, exit-code, ...
	KillMode          string
	StopTimeout       time.Duration // 0 for none
	Exec              [][]string    // the arguments of each ExecStart
	WorkDir           string        // "" for the manager's own, "~" for the home of its user
	User              string        // as whom a service of the system runs; "" for root
	Environment       []string      // NAME=value, perhaps with secrets
	EnvironmentFiles  []string      // with a "-" before one that may be missing
	Triggers          []string      // of a timer
	Last, Next        time.Time     // of a timer; zero for never

	Launch       Launch // the daemon that it starts
	StartsOthers bool   // its command is a shell's, so that what runs in it is what it is for

	Dir                  string // of its runner, "" if not known
	Config, Registration string // of a daemon: files, "" if not known
}

// Enabled reports whether the unit starts at boot, or with a unit that wants it.
func (u Unit) Enabled() bool { return strings.HasPrefix(u.File, "enabled") }

// SplitDir is the directory of a runner for one owner alone, and the unit that runs it,
// or would.
type SplitDir struct {
	Path, Status string // missing, unregistered or registered
	Service      string
}

// JobDir is a job's private directory.
type JobDir struct {
	Path    string
	Changed time.Time
}

// Container is a container that runs a runner.
type Container struct {
	ID, Name, Image            string
	Restart, Status            string
	Running                    bool
	Unsure                     bool              // only a registration shows that it may be a runner's
	Started                    string            // the time of its last start, "" if never
	Labels                     []string          // from its environment
	Command                    []string          // its entry point and arguments
	Processes                  [][]string        // the commands that run in it; nil if that is not known
	Variables                  []string          // the names of its environment
	Settings                   map[string]string // those of GuardSettings in it
	Mounts                     []string          // directories and files of the host
	Registration               bool              // one of them is or has a runner's
	Marks                      map[string]string // its labels
	ComposeDir, ComposeService string            // "" if docker compose did not create it
	ComposeFiles               []string
}

// Process is a process of a container, as ps on the host shows it.
type Process struct {
	PID, Parent int
	Argv        []string
}

// Daemon is a process that takes jobs.
type Daemon struct {
	PID          int
	Registration string // the file, "" if not known
	Unit, Scope  string // of its control group, "" for none; "user 1001" is another user's manager
	Forgejo      bool   // it is Forgejo's
}

// Server is what a runner's server is.
type Server string

const (
	UnknownServer Server = ""
	Gitea         Server = "gitea"
	Forgejo       Server = "forgejo"
)

// Server returns what the server of this host's runners is, by their programs.
func (h Host) Server() Server {
	all, forgejos := 0, 0
	see := func(forgejo bool) {
		if all++; forgejo {
			forgejos++
		}
	}
	for _, d := range h.Daemons {
		see(d.Forgejo)
	}
	for _, u := range h.Units {
		for _, argv := range u.Exec {
			if actrunner.IsDaemon(argv) {
				see(actrunner.IsForgejo(argv))
			}
		}
	}
	switch {
	case all > 0 && forgejos == 0:
		return Gitea
	case all > 0 && forgejos == all:
		return Forgejo
	}
	return UnknownServer
}

// Named returns the unit of a name, preferably an active one; false if there is none.
func (h Host) Named(name string) (Unit, bool) {
	best, found := Unit{}, false
	for _, u := range h.Units {
		if u.Name == name && u.Load != "not-found" && (!found || u.Active == "active" && best.Active != "active") {
			best, found = u, true
		}
	}
	return best, found
}

// Off reports whether the unit does not run and does not start at boot.
func (u Unit) Off() bool {
	return (u.Active == "inactive" || u.Active == "failed") && !strings.HasPrefix(u.File, "enabled")
}

// Of reports whether the unit has started the daemon, itself or by a script.
func (d Daemon) Of(u Unit) bool {
	return u.MainPID != 0 && d.PID == u.MainPID || u.Name != "" && d.Unit == u.Name && d.Scope == u.Scope
}

// daemonUnits returns the units that run a runner, by their command or by one of their
// processes. What starts anything, such as cron, is not the unit of a runner that it has
// started.
func (h Host) daemonUnits() []Unit {
	var units []Unit
	for _, u := range h.Units {
		if u.Load == "not-found" || !strings.HasSuffix(u.Name, ".service") {
			continue
		}
		started := func(d Daemon) bool {
			return u.MainPID != 0 && d.PID == u.MainPID || u.StartsOthers && d.Of(u)
		}
		if u.Launch.Argv != nil || slices.ContainsFunc(h.Daemons, started) {
			units = append(units, u)
		}
	}
	return units
}

// Services returns the units that run a runner, the primary's first.
func (h Host) Services() []Unit {
	services := h.daemonUnits()
	primary, _ := h.Primary()
	i := slices.IndexFunc(services, func(u Unit) bool { return u.Name == primary.Name && u.Scope == primary.Scope })
	if i > 0 {
		services = slices.Insert(slices.Delete(services, i, i+1), 0, primary)
	}
	return services
}

// Primary returns the unit that runs the host's own runner, preferably an active one;
// false if there is none.
func (h Host) Primary() (Unit, bool) {
	units := h.UnitsOf(h.PrimaryUnit())
	if len(units) == 0 {
		return Unit{}, false
	}
	return units[max(0, slices.IndexFunc(units, func(u Unit) bool { return u.Active == "active" }))], true
}

// Found is a runner that something on this host runs, or would.
type Found struct {
	Dir, ConfigPath string // without a configuration that is ""
	WorkDir         string // where it works
	Registration    string // the file
	Home            string // of its user, as its unit sets it; "" if it does not
	Config          config.Config
	Active          bool
	DockerHost      string // of its daemon, "" for the default
}

// Split reports whether a split created the runner: it serves one owner, in the directory
// of that name.
func (f Found) Split() bool {
	owners := config.OwnersOf(f.Config.Labels)
	return len(owners) == 1 && filepath.Base(f.Dir) == filepath.Base(SplitDirOf(f.Dir, owners[0]))
}

// SplitDirOf returns the directory for the runner of one owner, beside the primary's.
func SplitDirOf(primary, owner string) string {
	return filepath.Join(filepath.Dir(primary), "act-runner-"+owner)
}

// ChoosePrimary returns the host's own runner among all its runners. It prefers, in this
// order, one that no split created, the one of the most owners, one that runs, and the
// one registered first. It returns false if there is none.
func ChoosePrimary(found []Found) (Found, bool) {
	if len(found) == 0 {
		return Found{}, false
	}
	last := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return slices.MinFunc(found, func(a, b Found) int {
		return cmp.Or(
			cmp.Compare(last(a.Split()), last(b.Split())),
			cmp.Compare(len(config.OwnersOf(b.Config.Labels)), len(config.OwnersOf(a.Config.Labels))),
			cmp.Compare(last(!a.Active), last(!b.Active)),
			cmp.Compare(a.Config.ID, b.Config.ID),
		)
	}), true
}

// OwnedBy returns the owner of the host.
func (h Host) OwnedBy() string {
	if h.Owner != "" {
		return h.Owner
	}
	return config.MostCommonOwner(h.Config.Labels)
}

// HostLabels returns the labels whose jobs run on the host itself.
func (h Host) HostLabels() []string {
	var labels []string
	for _, l := range h.Config.Labels {
		if l.Schema == "host" {
			labels = append(labels, l.Name)
		}
	}
	return labels
}

// IsDaemonImage reports whether an image is a runner's by its name, without its tag
// and digest.
func IsDaemonImage(image string) bool {
	image, _, _ = strings.Cut(image, "@")
	name, _, _ := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	return actrunner.RoleOf(name) == actrunner.Daemon ||
		name == "runner" && (strings.Contains(image, "gitea") || strings.Contains(image, "forgejo"))
}

// CannotMount returns why a file of this host cannot be mounted into the containers of
// all jobs of a runner, or "" if it can.
func (f Found) CannotMount(file string) string {
	for _, l := range f.Config.Labels {
		if l.Schema != "host" && l.Schema != "docker" {
			return fmt.Sprintf("since jobs of %q do not run in this host's containers", l.Full)
		}
	}
	host := f.DockerHost
	local := host == "" || host == "-" || strings.HasPrefix(host, "unix://") || strings.HasPrefix(host, "/")
	if !local && f.Config.RunsContainers() {
		return fmt.Sprintf("since their containers run on the Docker daemon at %q, which has other files", host)
	}
	if strings.Trim(file, pathCharacters) != "" {
		return "since container.options cannot name its path"
	}
	return ""
}

// pathCharacters need no quotes in the options of a container or in a volume.
const pathCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@"
