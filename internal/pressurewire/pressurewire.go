package pressurewire

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hostguard/internal/actrunner"
	"hostguard/internal/docker"
	"hostguard/internal/hexid"
	"hostguard/internal/lockwire"
	"hostguard/internal/mounts"
	"hostguard/internal/proc"
	"hostguard/pressure"
)

// How long Docker may take to list containers: a hung daemon must not hold up
// a look, and least of all the one that a runner waits for, which has checkTime
// in all. What is left after the look is for the containers' names.
const (
	DockerTime      = 3 * time.Second
	CheckDockerTime = 200 * time.Millisecond
	CheckTime       = 250 * time.Millisecond
)

// Containers asks Docker for what the process table does not show.
type Containers struct {
	getenv func(string) string
	Limit  time.Duration // for each answer
	Until  time.Time     // for all of them, if it is set
	engine *docker.Engine
	names  map[string]string // by ID
}

func (c *Containers) connect(ctx context.Context) (*docker.Engine, error) {
	if c.engine != nil {
		return c.engine, nil
	}
	engine, err := docker.Connect(ctx, c.getenv)
	if err == nil {
		c.engine = engine
	}
	return engine, err
}

// others returns the processes of all containers but this one.
func (c *Containers) others(ctx context.Context) (pressure.List, pressure.Scope, error) {
	host := proc.Local()
	if !host.InContainer() { // a machine that is a container, such as LXC's: its jobs can be seen
		return nil, pressure.OnlyContainer, nil
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	engine, err := c.connect(ctx)
	var own string
	if err == nil {
		if own, _ = lockwire.OwnContainer(ctx, engine); own == "" {
			err = fmt.Errorf("the Docker daemon at %q does not report which container this is", engine.Address())
		}
	}
	var list pressure.List
	var all, unread int
	if err == nil {
		list, all, unread, err = engine.Processes(ctx, own)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, "", fmt.Errorf("no answer from Docker within %s", c.Limit)
	case err != nil:
		return nil, "", err
	case unread > 0 && unread == all:
		return nil, "", fmt.Errorf("none of the %d other containers could be inspected through Docker", all)
	}
	return list, pressure.Scope(fmt.Sprintf("this container, and %d of %d others through Docker; builds outside "+
		"containers, and those of docker build, are out of sight", all-unread, all)), nil
}

// Name sets the names of the containers of a verdict, where Docker reports them in time.
func (c *Containers) Name(ctx context.Context, v pressure.Verdict) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	for _, list := range [][]pressure.Blocker{v.Blockers, v.Heavy} {
		for i := range list[:min(MostNamed, len(list))] {
			b := &list[i]
			if !hexid.Is(b.Container, 64) {
				continue
			}
			if name := c.named(ctx, b.Container); name != "" {
				b.InContainer(name)
			} else {
				b.Container = b.Container[:12]
			}
		}
	}
}

// named returns the name of a container, or "" if Docker does not report it in time.
// Then it is not asked for that one again.
func (c *Containers) named(ctx context.Context, id string) string {
	name, known := c.names[id]
	if known || ctx.Err() != nil {
		return name
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	if engine, err := c.connect(ctx); err == nil {
		name = engine.ContainerName(ctx, id)
	}
	if c.names == nil {
		c.names = map[string]string{}
	}
	c.names[id] = name
	return name
}

// within returns the time that Docker has for an answer.
func (c *Containers) within(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := c.Limit
	if !c.Until.IsZero() {
		limit = min(limit, time.Until(c.Until))
	}
	return context.WithTimeout(ctx, limit)
}

// New returns a gate that looks at this host for this job, and how it asks Docker.
func New(getenv func(string) string, rules []pressure.Rule) (*pressure.Gate, *Containers) {
	docker := &Containers{getenv: getenv, Limit: DockerTime}
	gate := &pressure.Gate{
		Table: proc.Table{}, Rules: rules, ByWeight: true,
		Own: pressure.Owner{
			PID: os.Getpid(), Dirs: ownDirs(getenv), Task: actrunner.TaskOfToken(getenv("ACTIONS_RUNTIME_TOKEN")),
		},
		Meter:     func() pressure.Reading { return proc.Local().Load() },
		Elsewhere: docker.others,
	}
	if gate.Own.Task != "" || getenv("GITHUB_ACTIONS") == "" { // else a task's container may be this job's own
		gate.Named = docker.named
	}
	return gate, docker
}

// ownDirs returns this job's own directories, by the kernel's names for them: a
// working directory is shown without symbolic links. An earlier job may have led them into
// a file system that never answers, so they are not followed there.
func ownDirs(getenv func(string) string) []string {
	resolved := func(dir string) string {
		if mounts.Check(dir) != nil {
			return dir
		}
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return real
		}
		return dir
	}
	workspace := resolved(getenv("GITHUB_WORKSPACE"))
	var trees []string
	table, err := mounts.Read("/proc/self")
	if err == nil && table.Between("/", filepath.Join(workspace, ".git")) == "" {
		trees = pressure.Worktrees(workspace, os.DirFS(workspace))
	}
	for i := range trees {
		trees[i] = resolved(trees[i])
	}
	return pressure.OwnDirs(resolved(getenv("HOME")), workspace, resolved(lockwire.JobDir(getenv)), trees)
}
