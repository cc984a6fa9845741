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
	"syscall"
	"time"

	"hostguard/internal/actrunner"
	"hostguard/internal/cli"
	"hostguard/internal/docker"
	"hostguard/internal/proc"
	"hostguard/internal/runnerdir"
	"hostguard/internal/schedule"
	"hostguard/internal/systemd"
	"hostguard/runner"
)

// taskLog is the age of the oldest journal lines that are read.
const taskLog = 2 * time.Hour

// hostOptions are the inputs of the commands that look at the host's runner.
type hostOptions struct{ dir, owner string }

// Inputs returns the table of the options.
func (o *hostOptions) Inputs() []cli.Input {
	return []cli.Input{runnerDir(&o.dir),
		{Name: "owner", Kind: cli.Text(&o.owner, nil), FlagOnly: true, Arg: "WORD",
			Text: "the owner of the host, such as awoooi of awoooi-host; default the most common owner of its labels"},
	}
}

func runnerDir(dir *string) cli.Input {
	return cli.Input{Name: "runner-dir", Kind: cli.Text(dir, nil), FlagOnly: true, Arg: "DIR",
		Text: "the directory of the host's runner; default that of its service, else ~/act-runner"}
}

// lookAtHost returns what can be seen of the host's runner. It never fails: the result
// also names what could not be seen.
func lookAtHost(ctx context.Context, s *cli.Session, in hostOptions) runner.Host {
	h := runner.Host{Owner: in.owner, Lingers: true}
	h.Units, h.UnitsUnseen = readUnits(ctx, s)
	processes, roots, err := proc.Local().Runners()
	h.GitHubRoots = roots
	if err != nil {
		h.ProcessesUnseen = cli.OneLine(err)
	}
	for _, p := range processes {
		d := runner.Daemon{PID: p.PID, Unit: p.Unit, Scope: choose(p.User, systemd.User, systemd.System)}
		if p.Dir == "" {
			h.ProcessesUnseen = fmt.Sprintf("the directory of process %d, a runner: that takes root or its user", p.PID)
		} else {
			d.Registration = registrationOf(p.Dir, actrunner.ConfigOf(p.Argv))
		}
		h.Daemons = append(h.Daemons, d)
	}
	nameFiles(h.Units)
	found := findRunners(h, processes)
	readPrimary(s, &h, in.dir, found)
	if me, err := user.Current(); err == nil {
		h.Lingers = systemd.Lingers(me.Username)
	}
	if len(h.LabelOwners()) > 1 {
		for _, owner := range h.LabelOwners() {
			h.SplitDirs = append(h.SplitDirs, splitOf(h, owner, found))
		}
	}
	readJobs(ctx, s, &h)
	return h
}

// findRunners returns the runners that units and processes of this host run.
func findRunners(h runner.Host, processes []proc.RunnerProcess) []runner.Found {
	var found []runner.Found
	add := func(dir string, argv, environ []string, active bool) {
		dir = strings.TrimPrefix(dir, "!") // systemd's mark of a directory that may be missing
		config := cmp.Or(actrunner.ConfigOf(argv), "config.yaml")
		switch {
		case dir == "" && filepath.IsAbs(config):
			dir = filepath.Dir(config)
		case dir == "":
			return
		case !filepath.IsAbs(config):
			config = filepath.Join(dir, config)
		}
		known := func(f runner.Found) bool { return resolveLinks(f.ConfigPath) == resolveLinks(config) }
		if i := slices.IndexFunc(found, known); i >= 0 {
			found[i].Active = found[i].Active || active
			return
		}
		f := readRunner(dir, config, environ)
		f.Active = active
		found = append(found, f)
	}
	for _, u := range h.Units {
		for _, argv := range u.Exec {
			if actrunner.IsDaemon(argv) {
				add(u.WorkDir, argv, u.Environment, u.Active == "active")
			}
		}
	}
	for _, p := range processes {
		add(p.Dir, p.Argv, nil, true)
	}
	return found
}

// readRunner reads the configuration of a runner, whose unit sets environ.
func readRunner(dir, config string, environ []string) runner.Found {
	f := runner.Found{Dir: dir, ConfigPath: config}
	f.Config, _, _, _ = runnerdir.Read(dir, config)
	for _, variable := range environ {
		if host, set := strings.CutPrefix(variable, "DOCKER_HOST="); set {
			f.DockerHost = host
		}
	}
	f.DockerHost = cmp.Or(f.Config.DockerHost, f.DockerHost)
	return f
}

// splitOf returns the runner that serves one owner of the primary's labels alone: in
// the directory that a split creates, or in the one that a plan named.
func splitOf(h runner.Host, owner string, found []runner.Found) runner.SplitDir {
	d := runner.SplitDir{Path: runner.SplitDirOf(h.Dir, owner)}
	if d.Status = runnerdir.Status(d.Path); d.Status != "registered" {
		for _, f := range found {
			if f.Dir != h.Dir && f.ConfigPath == filepath.Join(f.Dir, "config.yaml") &&
				h.ServesAlone(owner, f.Config) && runnerdir.Status(f.Dir) == "registered" {
				d.Path, d.Status = f.Dir, "registered"
			}
		}
	}
	d.Service = runner.SplitServiceOf(owner)
	config := filepath.Join(d.Path, "config.yaml")
	units := h.UnitsOf(runner.Service{Dir: d.Path, ConfigPath: config,
		RegistrationPath: registrationOf(d.Path, config)})
	if d.Status == "registered" && len(units) > 0 {
		d.Service = units[0].Name
	}
	return d
}

// readJobs reads the containers, and the jobs that run now.
func readJobs(ctx context.Context, s *cli.Session, h *runner.Host) {
	h.DockerUnseen, h.JobDirsUnseen = "", ""
	engine, err := docker.Connect(ctx, s.Getenv)
	if err == nil {
		h.Containers, h.ActiveContainers, err = engine.Runners(ctx)
	}
	if err != nil {
		h.DockerUnseen = cli.OneLine(err)
	}
	for _, c := range h.Containers {
		for i := range c.Mounts {
			c.Mounts[i] = resolveLinks(c.Mounts[i])
		}
	}
	readJobDirs(s, h)
}

// readUnits returns the units of the system and of this user, including the timers that
// clean and the service that a new runner would get, even if they do not exist.
func readUnits(ctx context.Context, s *cli.Session) (units []runner.Unit, unseen []string) {
	named := []string{runner.PrimaryService, runner.CleanupTimer, runner.OldCleanupTimer}
	for _, scope := range []string{systemd.System, systemd.User} {
		some, err := systemd.Units(ctx, scope, s.Getenv, named)
		units = append(units, some...)
		if err != nil {
			unseen = append(unseen, cli.OneLine(err))
		}
	}
	return units, unseen
}

// readPrimary reads the directory and the configuration of the host's own runner: the
// given directory, or that of the runner that runs here, or ~/act-runner.
func readPrimary(s *cli.Session, h *runner.Host, dir string, found []runner.Found) {
	config, usual := "", filepath.Join(s.Getenv("HOME"), "act-runner")
	// The unit of a retired primary may have been removed.
	if own, known := runner.ChoosePrimary(found); dir == "" && known &&
		!(own.Split() && runnerdir.Status(usual) == "registered") {
		dir, config = own.Dir, own.ConfigPath
	}
	dir = cmp.Or(dir, usual)
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	if config == "" {
		config = filepath.Join(dir, "config.yaml")
	}
	h.Dir, h.ConfigPath = dir, config
	var err error
	h.Config, h.RegistrationPath, h.Registered, err = runnerdir.Read(dir, config)
	h.RegistrationPath = resolveLinks(h.RegistrationPath)
	if err != nil {
		h.ConfigUnseen = fmt.Sprintf("%.200q: %.200q", config, cli.Pathless(err))
	}
}

// registrationOf returns the registration file of a daemon that works in dir.
func registrationOf(dir, config string) string {
	if config == "" {
		return resolveLinks(filepath.Join(dir, ".runner"))
	}
	if !filepath.IsAbs(config) {
		config = filepath.Join(dir, config)
	}
	_, registration, _, _ := runnerdir.Read(dir, config)
	return resolveLinks(registration)
}

// resolveLinks returns a path that is equal for two names of one file: a daemon that is
// known by the name of a link must not get a second one beside it.
func resolveLinks(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil && path != "" {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}

// nameFiles sets the configuration and the registration of each daemon's unit.
func nameFiles(units []runner.Unit) {
	for i := range units {
		u := &units[i]
		dir := strings.TrimPrefix(u.WorkDir, "!")
		if dir == "" && u.Scope == systemd.System {
			dir = "/" // the default of a service
		}
		for _, argv := range u.Exec {
			if !actrunner.IsDaemon(argv) || dir == "" {
				continue
			}
			u.Registration = registrationOf(dir, actrunner.ConfigOf(argv))
			if u.Config = actrunner.ConfigOf(argv); u.Config != "" && !filepath.IsAbs(u.Config) {
				u.Config = filepath.Join(dir, u.Config)
			}
		}
	}
}

// runnerUser returns the owner of the runner's directory, and so of its processes.
func runnerUser(dir string) (*user.User, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("inspect the runner's directory %q: %w", dir, cli.Pathless(err))
	}
	return user.LookupId(strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Uid)))
}

// readJobDirs reads the job directories of the primary and of the runners split from it.
func readJobDirs(s *cli.Session, h *runner.Host) {
	h.ActiveHostJobs, h.JobDirs, h.JobDirsUnseen = nil, nil, ""
	// Another user's job directories, and the processes in them, cannot be seen.
	if info, err := os.Stat(h.Dir); err == nil && os.Geteuid() != 0 &&
		int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		h.JobDirsUnseen = fmt.Sprintf("jobs on the host, of the owner of %.200q: that takes root or this user", h.Dir)
		return
	}
	home := s.Getenv("HOME")
	if owner, err := runnerUser(h.Dir); err == nil && os.Geteuid() == 0 { // root sees other users' jobs
		home = owner.HomeDir
	}
	parents := []string{h.Config.JobParent(home)}
	for _, d := range h.SplitDirs {
		if d.Status != "registered" {
			continue
		}
		c, _, _, err := runnerdir.Read(d.Path, filepath.Join(d.Path, "config.yaml"))
		if err != nil {
			h.JobDirsUnseen = fmt.Sprintf("jobs of the runner in %.200q: %.200q", d.Path, cli.Pathless(err))
		} else if parent := c.JobParent(home); !slices.Contains(parents, parent) {
			parents = append(parents, parent)
		}
	}
	for _, parent := range parents {
		active, left, err := runnerdir.Jobs(parent, time.Now(), func(dir string) ([]int, error) {
			return proc.Local().WorkingBelow(dir, os.Getpid())
		})
		h.ActiveHostJobs, h.JobDirs = append(h.ActiveHostJobs, active...), append(h.JobDirs, left...)
		if err != nil {
			h.JobDirsUnseen = fmt.Sprintf("%.200q", err)
		}
	}
	// A step may work elsewhere: "cd /srv/app && ./deploy".
	for _, d := range h.Daemons {
		if len(h.ActiveHostJobs) > 0 || differentFiles(d.Registration, h.RegistrationPath) {
			continue
		}
		if started, _ := proc.Local().Started(d.PID, os.Getpid()); len(started) > 0 {
			h.ActiveHostJobs = append(h.ActiveHostJobs, fmt.Sprintf("process %d of runner %d", started[0], d.PID))
		}
	}
}

// differentFiles reports whether two paths exist and name different files.
func differentFiles(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && !os.SameFile(one, other)
}

// readTasks reads the tasks of the last hours from the journal of the runner's
// services.
func readTasks(ctx context.Context, h *runner.Host) {
	services := h.Services()
	if len(services) == 0 {
		h.TasksUnseen = "no service whose journal could be read"
	}
	for _, u := range services {
		err := systemd.Log(ctx, u, taskLog, func(line string) {
			if task, found := runner.ParseTask(line); found {
				h.Tasks = append(h.Tasks, task)
			}
		})
		if err != nil {
			h.TasksUnseen = cli.OneLine(err)
		}
	}
}

// readSchedule reads cron tables, timers and services that are enabled or run,
// and the scripts that they name.
func readSchedule(ctx context.Context, s *cli.Session, h *runner.Host) {
	tables := schedule.Tables{Root: "/", Home: s.Getenv("HOME")}
	h.Schedule, h.ScheduleUnseen = tables.Cron(ctx)
	for _, timer := range h.Units {
		for _, triggered := range timer.Triggers {
			u, found := h.Named(triggered)
			if !found || !strings.HasSuffix(timer.Name, ".timer") {
				continue
			}
			for _, argv := range u.Exec {
				h.Schedule = append(h.Schedule, tables.Scheduled(fmt.Sprintf("the timer %q", timer.Name),
					strings.Join(argv, " ")))
			}
		}
	}
	for _, u := range h.Units {
		if !u.Enabled() && u.Active != "active" && u.Active != "activating" {
			continue
		}
		for _, argv := range u.Exec {
			h.Schedule = append(h.Schedule, tables.Scheduled(fmt.Sprintf("the unit %q", u.Name),
				strings.Join(argv, " ")))
		}
	}
	h.ScheduleUnseen = append(h.ScheduleUnseen, h.UnitsUnseen...)
}
