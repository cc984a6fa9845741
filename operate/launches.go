package operate

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hostguard/internal/actrunner"
	"hostguard/internal/cli"
	"hostguard/internal/proc"
	"hostguard/internal/runnerdir"
	"hostguard/internal/systemd"
	"hostguard/runner"
)

// What runs a runner here: units by their commands, and processes.

// maxVariables bounds what is read of an EnvironmentFile.
const maxVariables = 64 << 10

// runs is a daemon that a unit or a process is.
type runs struct {
	uid       int // -1 if not known
	at        runnerdir.Place
	variables map[string]string // of its unit
	active    bool
}

// readRunners reads the units and the processes of this host, and returns the runners that
// they run.
func (o *hostOptions) readRunners(ctx context.Context, s *cli.Session, h *runner.Host) []runner.Found {
	h.Units, h.UnitsUnseen = readUnits(ctx, s)
	all := o.readLaunches(ctx, s, h.Units)
	return o.findRunners(ctx, append(all, o.readDaemons(ctx, h)...))
}

// starting returns what the command of a unit is started with.
func (o *hostOptions) starting(ctx context.Context, s *cli.Session, u runner.Unit) runner.Starting {
	home := s.Getenv("HOME")
	if u.Scope == systemd.System {
		home = "/root"
		if is, err := user.Lookup(u.User); err == nil {
			home = is.HomeDir
		}
	}
	at := runner.Starting{Dir: u.WorkDir, Variables: map[string]string{"HOME": home}}
	lines := slices.Clone(u.Environment)
	for _, file := range u.EnvironmentFiles {
		text, _ := o.files.Text(ctx, -1, strings.TrimPrefix(file, "-"), maxVariables)
		lines = append(lines, runner.ParseVariables(string(text))...)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		at.Variables[name] = value
	}
	switch {
	case at.Dir == "~":
		at.Dir = home
	case at.Dir == "" && u.Scope == systemd.System: // the default of a service
		at.Dir = "/"
	case at.Dir == "":
		at.Dir = home
	}
	at.Read = func(path string) string { return o.files.Script(ctx, uidOf(u.User), path) }
	return at
}

// readLaunches sets which daemon each unit starts, and its files.
func (o *hostOptions) readLaunches(ctx context.Context, s *cli.Session, units []runner.Unit) (all []runs) {
	for i := range units {
		u := &units[i]
		if u.Load == "not-found" || len(u.Exec) == 0 {
			continue
		}
		at := o.starting(ctx, s, *u)
		u.StartsOthers = runner.StartsOthers(u.Exec[0], at.Read)
		for _, argv := range u.Exec {
			l := runner.FindLaunch(argv, at)
			if l.Argv == nil {
				continue
			}
			is := runs{uidOf(u.User), place(l.Dir, l.Config()), at.Variables, u.Active == "active"}
			r, _, _ := o.files.Read(ctx, is.uid, is.at)
			if !l.Named && !r.Registered {
				continue // another program with such a subcommand
			}
			l.Argv[0] = o.findLaunched(ctx, l, at.Variables["PATH"])
			u.Launch, u.Config, u.Registration = l, is.at.Config, r.Registration
			u.Dir = o.dirOf(ctx, is.at, r)
			all = append(all, is)
		}
	}
	return all
}

// userUnit returns the file of a unit of the owner's manager, which root does not ask, that
// would run the runner of a service; "" for none.
func (o *hostOptions) userUnit(ctx context.Context, s *cli.Session, sv runner.Service, owner *user.User) string {
	dir := systemd.Dir(systemd.User, owner.HomeDir)
	if path := filepath.Join(dir, sv.Name); o.files.Exists(ctx, path) {
		return path
	}
	var h runner.Host
	for name, text := range o.files.UnitFiles(ctx, dir) {
		u := runner.ParseUnit(text, owner.HomeDir)
		u.Name, u.Scope, u.User, u.Load = name, systemd.System, owner.Username, "loaded" // read as root reads those
		h.Units = append(h.Units, u)
	}
	o.readLaunches(ctx, s, h.Units)
	for _, u := range h.UnitsOf(sv) {
		return filepath.Join(dir, u.Name)
	}
	return ""
}

// place returns the place of a daemon. What is not known of it, such as the value of a
// variable, leaves it empty.
func place(dir, config string) runnerdir.Place {
	if !filepath.IsAbs(dir) {
		dir = ""
	}
	if strings.Contains(config, "$") || !filepath.IsAbs(config) {
		config = ""
	}
	return runnerdir.Place{Dir: dir, Config: config}
}

// unitPath is where systemd finds programs without a directory, unless a unit sets PATH.
const unitPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// findLaunched returns the full path of the program of a daemon, or its name if that is not
// found.
func (o *hostOptions) findLaunched(ctx context.Context, l runner.Launch, path string) string {
	program := l.Argv[0]
	switch {
	case filepath.IsAbs(program):
		return program
	case strings.Contains(program, "/") && l.Dir != "":
		return filepath.Join(l.Dir, program)
	}
	var paths []string
	for _, dir := range filepath.SplitList(cmp.Or(path, unitPath)) {
		paths = append(paths, filepath.Join(dir, program))
	}
	return cmp.Or(o.files.Program(ctx, paths), program)
}

// dirOf returns the directory of a runner: where it works, if its registration or its
// configuration is there, too. Else it is where these are: a unit without a directory works
// in the root directory, or in its user's home.
func (o *hostOptions) dirOf(ctx context.Context, at runnerdir.Place, r runnerdir.Runner) string {
	registration := ""
	if r.Registered && r.Registration != "" {
		registration = filepath.Dir(r.Registration)
	}
	switch {
	case at.Dir != "" && (registration == o.files.Resolve(ctx, at.Dir) ||
		at.Config != "" && filepath.Dir(at.Config) == at.Dir):
		return at.Dir
	case registration != "":
		return registration
	case at.Config != "":
		return filepath.Dir(at.Config)
	}
	return at.Dir
}

// readDaemons sets the daemons that run, and what their units do not tell of them.
func (o *hostOptions) readDaemons(ctx context.Context, h *runner.Host) (all []runs) {
	processes, roots, err := proc.Local().Runners()
	h.GitHubRoots = roots
	if err != nil {
		h.ProcessesUnseen = cli.OneLine(err)
	}
	for _, p := range processes {
		d := runner.Daemon{PID: p.PID, Unit: p.Unit, Scope: scopeOf(p), Forgejo: actrunner.IsForgejo(p.Argv)}
		if p.Dir == "" && p.Named {
			h.ProcessesUnseen = fmt.Sprintf("the directory of process %d, a runner: needs root or its user", p.PID)
			h.Daemons = append(h.Daemons, d)
		}
		if p.Dir == "" {
			continue
		}
		config := actrunner.ConfigOf(p.Argv)
		if config != "" && !filepath.IsAbs(config) {
			config = filepath.Join(p.Dir, config)
		}
		is := runs{p.UID, place(p.Dir, config), nil, true}
		r, _, _ := o.files.Read(ctx, p.UID, is.at)
		if !p.Named && !r.Registered && p.Open == "" {
			continue // another program with such a subcommand
		}
		d.Registration = r.Registration
		if p.Open != "" {
			d.Registration = o.files.Resolve(ctx, p.Open)
		}
		h.Daemons, all = append(h.Daemons, d), append(all, is)
		for i := range h.Units { // a command with parts that are not known
			if u := &h.Units[i]; u.Launch.Argv != nil && u.Config == "" && u.Registration == "" && d.Of(*u) {
				u.Config, u.Registration, u.Dir = is.at.Config, d.Registration, o.dirOf(ctx, is.at, r)
			}
		}
	}
	return all
}

// scopeOf returns whose systemd has the unit of a process.
func scopeOf(p proc.RunnerProcess) string {
	switch p.Manager {
	case -1:
		return systemd.System
	case os.Getuid():
		return systemd.User
	}
	return "user " + strconv.Itoa(p.Manager)
}

// findRunners returns the runners that units and processes of this host run.
func (o *hostOptions) findRunners(ctx context.Context, all []runs) []runner.Found {
	var found []runner.Found
	for _, is := range all {
		if is.at == (runnerdir.Place{}) {
			continue
		}
		f := o.readRunner(ctx, is)
		same := func(other runner.Found) bool {
			return other.Registration == f.Registration && f.Registration != "" ||
				f.ConfigPath != "" && o.files.Resolve(ctx, other.ConfigPath) == o.files.Resolve(ctx, f.ConfigPath) &&
					(f.Registration == "" || other.Registration == "")
		}
		if i := slices.IndexFunc(found, same); i >= 0 {
			found[i].Active = found[i].Active || f.Active
			continue
		}
		found = append(found, f)
	}
	return found
}

// readRunner reads the configuration of a runner.
func (o *hostOptions) readRunner(ctx context.Context, is runs) runner.Found {
	r, c, _ := o.files.Read(ctx, is.uid, is.at)
	docker := is.variables["DOCKER_HOST"]
	if docker == "" || c.DockerHost != "-" { // by which the runner finds it by itself
		docker = cmp.Or(c.DockerHost, docker)
	}
	return runner.Found{
		Dir: o.dirOf(ctx, is.at, r), WorkDir: is.at.Dir, ConfigPath: is.at.Config, Registration: r.Registration,
		Config: c, Active: is.active, Home: is.variables["HOME"],
		DockerHost: docker,
	}
}

// uidOf returns the number of a user; -1 for "" and for one who is not known.
func uidOf(name string) int {
	is, err := user.Lookup(name)
	if err != nil {
		is = &user.User{Uid: name} // a unit may name the number
	}
	uid, err := strconv.Atoi(is.Uid)
	if err != nil {
		return -1
	}
	return uid
}
