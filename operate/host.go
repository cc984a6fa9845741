package operate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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
type hostOptions struct {
	dir, owner string
	files      runnerdir.Files
}

// Inputs returns the table of the options.
func (o *hostOptions) Inputs() []cli.Input {
	return []cli.Input{runnerDir(&o.dir),
		{Name: "owner", Kind: cli.Text(&o.owner, nil), FlagOnly: true, Arg: "WORD",
			Text: "the owner of the host, such as shop of shop-host; default the most common owner of its labels"},
	}
}

func runnerDir(dir *string) cli.Input {
	return cli.Input{Name: "runner-dir", Kind: cli.Text(dir, checkDirectory), FlagOnly: true, Arg: "DIR",
		Text: "the directory of the host's runner; default that of its service, else ~/act-runner"}
}

// look returns what can be seen of the host's runner. It never fails: the result
// also names what could not be seen.
func (o *hostOptions) look(ctx context.Context, s *cli.Session) runner.Host {
	h := runner.Host{Owner: o.owner, Lingers: true}
	found := o.readRunners(ctx, s, &h)
	if o.files.ReadOnly(ctx, systemd.Dir(systemd.System, "")) {
		h.UnitsFixed = systemd.Dir(systemd.System, "") + " is on a read-only file system"
	}
	o.readPrimary(ctx, s, &h, found)
	if me, err := user.Current(); err == nil {
		h.Lingers = systemd.Lingers(me.Username)
	}
	if len(h.LabelOwners()) > 1 {
		for _, owner := range h.LabelOwners() {
			h.SplitDirs = append(h.SplitDirs, o.splitOf(ctx, h, owner, found))
		}
	}
	o.readJobs(ctx, s, &h)
	o.readContainers(ctx, s, &h)
	return h
}

// readContainers adds the containers that are not a runner's by their name or image, but by
// what runs in them, those that start others, and the files of docker compose.
func (o *hostOptions) readContainers(ctx context.Context, s *cli.Session, h *runner.Host) {
	if h.DockerUnseen != "" {
		return
	}
	var others []runner.Container
	engine, err := docker.Connect(ctx, s.Getenv)
	if err == nil {
		others, err = engine.Others(ctx)
	}
	if err != nil {
		h.DockerUnseen = cli.OneLine(err)
	}
	for _, c := range others {
		o.resolveMounts(ctx, c)
		if c.Guards() {
			h.Guards = append(h.Guards, c)
		}
		c.Registration = o.files.HasRegistration(ctx, c.Mounts)
		if c.Unsure = !c.RunsRunner(); !c.Unsure || c.MayRunRunner() {
			h.Containers = append(h.Containers, c)
		}
	}
	for _, c := range h.Containers {
		for _, path := range c.ComposeFiles {
			if text, err := o.files.Text(ctx, -1, path, maxCompose); err == nil {
				h.ComposeFiles = append(h.ComposeFiles, runner.Script{Path: path, Text: string(text)})
			}
		}
	}
}

// maxCompose bounds what is read of a compose file.
const maxCompose = 256 << 10

func (o *hostOptions) resolveMounts(ctx context.Context, c runner.Container) {
	for i := range c.Mounts {
		c.Mounts[i] = o.files.Resolve(ctx, c.Mounts[i])
	}
}

// splitOf returns the runner that serves one owner of the primary's labels alone: in
// the directory that a split creates, or in the one that a plan named.
func (o *hostOptions) splitOf(ctx context.Context, h runner.Host, owner string, found []runner.Found) runner.SplitDir {
	d := runner.SplitDir{Path: runner.SplitDirOf(h.Dir, owner)}
	if d.Status = o.files.Status(ctx, d.Path); d.Status != "registered" {
		for _, f := range found {
			if f.Dir != h.Dir && f.ConfigPath == filepath.Join(f.Dir, "config.yaml") &&
				h.ServesAlone(owner, f.Config) && o.files.Status(ctx, f.Dir) == "registered" {
				d.Path, d.Status = f.Dir, "registered"
			}
		}
	}
	d.Service = runner.SplitServiceOf(owner)
	config := filepath.Join(d.Path, "config.yaml")
	units := h.UnitsOf(runner.Service{Dir: d.Path, ConfigPath: config,
		RegistrationPath: o.registrationOf(ctx, d.Path, config)})
	if d.Status == "registered" && len(units) > 0 {
		d.Service = units[0].Name
	}
	return d
}

// readJobs reads the containers, and the jobs that run now.
func (o *hostOptions) readJobs(ctx context.Context, s *cli.Session, h *runner.Host) {
	h.DockerUnseen, h.DockerFix, h.JobDirsUnseen = "", "", ""
	engine, err := docker.Connect(ctx, s.Getenv)
	if err == nil {
		err = engine.CheckSame(h.DockerHost)
	}
	if err == nil {
		h.Containers, h.ActiveContainers, err = engine.Runners(ctx)
	}
	if err != nil {
		h.DockerUnseen = cli.OneLine(err)
		if known, ok := errors.AsType[*docker.Unusable](err); ok {
			h.DockerFix = known.Fix
		}
	}
	for _, c := range h.Containers {
		o.resolveMounts(ctx, c)
	}
	o.readJobDirs(ctx, s, h)
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

// readPrimary reads the directory and the configuration of the host's own runner: that of
// the given directory, or the one that runs here, or the one in ~/act-runner. What runs it
// decides over its configuration: another file may lie in its directory.
func (o *hostOptions) readPrimary(ctx context.Context, s *cli.Session, h *runner.Host, found []runner.Found) {
	dir, usual := o.dir, filepath.Join(s.Getenv("HOME"), "act-runner")
	if full, err := filepath.Abs(dir); err == nil && dir != "" {
		dir = full
	}
	own, known := runner.ChoosePrimary(o.foundIn(ctx, dir, found))
	// The unit of a retired primary may have been removed.
	if !known || dir == "" && own.Split() && o.files.Status(ctx, usual) == "registered" {
		dir = cmp.Or(dir, usual)
		own = runner.Found{Dir: dir, WorkDir: dir, ConfigPath: filepath.Join(dir, "config.yaml")}
	}
	h.Dir, h.WorkDir, h.ConfigPath, h.Home = own.Dir, own.WorkDir, own.ConfigPath, own.Home
	if err := o.readConfig(ctx, h); err != nil {
		h.ConfigUnseen = fmt.Sprintf("%.200q: %.200q", cmp.Or(h.ConfigPath, h.Dir), err)
	}
	h.DockerHost = cmp.Or(own.DockerHost, h.Config.DockerHost)
}

// foundIn returns the runners of a directory: those that work there, or else those whose
// configuration is there. For "" it returns all.
func (o *hostOptions) foundIn(ctx context.Context, dir string, found []runner.Found) (in []runner.Found) {
	if dir == "" {
		return found
	}
	real := o.files.Resolve(ctx, dir)
	for _, f := range found {
		if o.files.Resolve(ctx, f.Dir) == real {
			f.Dir = dir
			in = append(in, f)
		}
	}
	for _, f := range found {
		if len(in) == 0 && f.ConfigPath != "" && filepath.Dir(o.files.Resolve(ctx, f.ConfigPath)) == real {
			return []runner.Found{f}
		}
	}
	return in
}

// readConfig reads the configuration of the primary: what is written later is made of this
// one reading.
func (o *hostOptions) readConfig(ctx context.Context, h *runner.Host) error {
	r, c, err := o.files.Read(ctx, -1, runnerdir.Place{Dir: h.WorkDir, Config: h.ConfigPath})
	h.ConfigText, h.ConfigChanged, h.Config = r.Text, r.Changed, c
	h.RegistrationPath, h.Registered, h.ConfigFixed = r.Registration, r.Registered, ""
	if r.ReadOnly {
		h.ConfigFixed = "it is on a read-only file system"
	}
	return err
}

// registrationOf returns the registration file of a runner that works in dir.
func (o *hostOptions) registrationOf(ctx context.Context, dir, config string) string {
	r, _, _ := o.files.Read(ctx, -1, runnerdir.Place{Dir: dir, Config: config})
	return r.Registration
}

// runnerUser returns the owner of the runner's directory, and so of its processes.
func runnerUser(ctx context.Context, files *runnerdir.Files, dir string) (*user.User, error) {
	uid, err := files.Owner(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("whose the runner's directory %q is: %w", dir, cli.Pathless(err))
	}
	return user.LookupId(strconv.Itoa(uid))
}

// readJobDirs reads the job directories of the primary and of the runners split from it.
func (o *hostOptions) readJobDirs(ctx context.Context, s *cli.Session, h *runner.Host) {
	h.ActiveHostJobs, h.JobDirs, h.JobDirsUnseen = nil, nil, ""
	// Another user's job directories, and the processes in them, cannot be seen.
	owner, err := runnerUser(ctx, &o.files, h.Dir)
	if err == nil && os.Geteuid() != 0 && owner.Uid != strconv.Itoa(os.Geteuid()) {
		h.JobDirsUnseen = fmt.Sprintf("jobs on the host, of the owner of %.200q: needs root or this user", h.Dir)
		return
	}
	home := s.Getenv("HOME")
	if err == nil && os.Geteuid() == 0 { // root sees other users' jobs
		home = owner.HomeDir
	}
	parents := []string{h.Config.JobParent(cmp.Or(h.Home, home))}
	for _, d := range h.SplitDirs {
		if d.Status != "registered" {
			continue
		}
		_, c, err := o.files.Read(ctx, -1, runnerdir.Place{Dir: d.Path, Config: filepath.Join(d.Path, "config.yaml")})
		if err != nil {
			h.JobDirsUnseen = fmt.Sprintf("jobs of the runner in %.200q: %.200q", d.Path, cli.Pathless(err))
		} else if parent := c.JobParent(home); !slices.Contains(parents, parent) {
			parents = append(parents, parent)
		}
	}
	for _, parent := range parents {
		active, left, err := o.files.Jobs(ctx, parent, time.Now(), func(dir string) ([]int, error) {
			return proc.Local().WorkingBelow(dir, os.Getpid())
		})
		h.ActiveHostJobs, h.JobDirs = append(h.ActiveHostJobs, active...), append(h.JobDirs, left...)
		if err != nil {
			h.JobDirsUnseen = fmt.Sprintf("%.200q", err)
		}
	}
	// A step may work elsewhere: "cd /srv/app && ./deploy".
	for _, d := range h.Daemons {
		if len(h.ActiveHostJobs) > 0 || o.files.Different(ctx, d.Registration, h.RegistrationPath) {
			continue
		}
		if started, _ := proc.Local().Started(d.PID, os.Getpid()); len(started) > 0 {
			h.ActiveHostJobs = append(h.ActiveHostJobs, fmt.Sprintf("process %d of runner %d", started[0], d.PID))
		}
	}
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
func (o *hostOptions) readSchedule(ctx context.Context, s *cli.Session, h *runner.Host) {
	tables := schedule.Tables{Root: "/", Home: s.Getenv("HOME"),
		Script: func(name, path string, most int64) ([]byte, error) {
			return o.files.Text(ctx, uidOf(name), path, most)
		}}
	h.Schedule, h.ScheduleUnseen = tables.Cron(ctx)
	for _, timer := range h.Units {
		for _, triggered := range timer.Triggers {
			u, found := h.Named(triggered)
			if !found || !strings.HasSuffix(timer.Name, ".timer") {
				continue
			}
			for _, argv := range u.Exec {
				h.Schedule = append(h.Schedule, tables.Scheduled(u.User, fmt.Sprintf("the timer %q", timer.Name),
					strings.Join(argv, " ")))
			}
		}
	}
	for _, u := range h.Units {
		if !u.Enabled() && u.Active != "active" && u.Active != "activating" {
			continue
		}
		for _, argv := range u.Exec {
			h.Schedule = append(h.Schedule, tables.Scheduled(u.User, fmt.Sprintf("the unit %q", u.Name),
				strings.Join(argv, " ")))
		}
	}
	h.ScheduleUnseen = append(h.ScheduleUnseen, h.UnitsUnseen...)
}
