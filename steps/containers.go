package steps

import (
	"context"
	"fmt"
	"strings"
	"time"

	"hostguard/internal/docker"
	"hostguard/internal/proc"
	"hostguard/pressure"
)

// How long Docker may take to tell of containers: a hung daemon must not hold up
// a look, and least of all the one that a runner waits for, which has checkTime
// in all. What is left after the look is for the containers' names.
const (
	dockerTime      = 3 * time.Second
	checkDockerTime = 200 * time.Millisecond
	checkTime       = 250 * time.Millisecond
)

// containers asks Docker what the process table does not tell.
type containers struct {
	getenv func(string) string
	limit  time.Duration
	engine *docker.Engine
	names  map[string]string // by ID
}

func (c *containers) connect(ctx context.Context) (*docker.Engine, error) {
	if c.engine != nil {
		return c.engine, nil
	}
	engine, err := docker.Connect(ctx, c.getenv)
	if err == nil {
		c.engine = engine
	}
	return engine, err
}

// others lists the processes of all containers but this one.
func (c *containers) others(ctx context.Context) (pressure.List, pressure.Scope, error) {
	host := proc.Host{Proc: "/proc"}
	if !host.InContainer() { // a machine that is a container, such as LXC's: its jobs can be seen
		return nil, pressure.OnlyContainer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	engine, err := c.connect(ctx)
	var own string
	if err == nil {
		if own, _ = ownContainer(ctx, engine, host); own == "" {
			err = fmt.Errorf("the Docker daemon at %q does not tell which container this is", engine.Address())
		}
	}
	var list pressure.List
	var all, unread int
	if err == nil {
		list, all, unread, err = engine.Processes(ctx, own)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, "", fmt.Errorf("no answer of Docker within %s", c.limit)
	case err != nil:
		return nil, "", err
	case unread > 0 && unread == all:
		return nil, "", fmt.Errorf("none of the %d other containers could be looked into through Docker", all)
	}
	return list, pressure.Scope(fmt.Sprintf("this container, and %d of %d others through Docker; "+
		"builds outside containers, and those of docker build, are out of sight", all-unread, all)), nil
}

// ownContainer finds the container that this process is in, and when that was
// started.
func ownContainer(ctx context.Context, engine *docker.Engine, host proc.Host) (id, started string) {
	group, network, root := host.Container()
	return engine.Own(ctx, docker.Inside{Group: group, Network: network, Root: root})
}

// name puts names to the containers of blockers, where Docker tells them in time.
func (c *containers) name(ctx context.Context, blockers []pressure.Blocker) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	for i := range blockers[:min(mostNamed, len(blockers))] {
		b := &blockers[i]
		if !isContainerID(b.Container) {
			continue
		}
		name, known := c.names[b.Container]
		if !known && ctx.Err() == nil {
			if engine, err := c.connect(ctx); err == nil {
				name = engine.ContainerName(ctx, b.Container)
			} else {
				cancel() // for the others it would be no different
			}
			if c.names == nil {
				c.names = map[string]string{}
			}
			c.names[b.Container] = name
		}
		if name != "" {
			b.InContainer(name)
		} else {
			b.Container = b.Container[:12]
		}
	}
}

func isContainerID(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}
