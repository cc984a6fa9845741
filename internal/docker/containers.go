package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"hostguard/internal/actrunner"
	"hostguard/internal/hexid"
	"hostguard/runner"
)

// Runners returns the containers that run a runner, and the names of those that run
// a job now. It takes only the labels from an environment, which also contains
// registration tokens.
func (e *Engine) Runners(ctx context.Context) (runners []runner.Container, active []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	ids, active, err := e.list(ctx)
	for _, id := range ids {
		r, err := e.inspect(ctx, id)
		if err != nil && ctx.Err() != nil {
			return nil, nil, err
		}
		if err == nil { // else it is gone by now
			runners = append(runners, r)
		}
	}
	return runners, active, err
}

// Tasks returns the names of the containers that run a job now.
func (e *Engine) Tasks(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, active, err := e.list(ctx)
	return active, err
}

// list returns the containers that run a runner, by ID, and those that run a job now, by
// name.
func (e *Engine) list(ctx context.Context) (runners, active []string, err error) {
	list, err := e.client.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, nil, e.classify(err)
	}
	for _, c := range list {
		name := nameOf(c)
		if _, isTask := actrunner.TaskOf(name); isTask {
			if c.State == "running" || c.State == "paused" {
				active = append(active, name)
			}
		} else if runner.IsRunner(name, c.Image, strings.Fields(c.Command)) {
			runners = append(runners, c.ID)
		}
	}
	slices.Sort(active)
	return runners, active, nil
}

// maxMounts bounds the mounts of a container that are looked into, as whoever can change
// what each leads to.
const maxMounts = 50

// composeLabel begins the labels that docker compose gives its containers.
const composeLabel = "com.docker.compose."

// maxNames bounds the variables and the labels that are kept of a container.
const maxNames = 200

// ErrNoContainer means that no container has that name or ID.
var ErrNoContainer = errors.New("there is no such container")

// Runner returns the container of that name, or of that full ID. Docker also takes
// the first digits of an ID for a name.
func (e *Engine) Runner(ctx context.Context, name string) (runner.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, containerTimeout)
	defer cancel()
	c, err := e.inspect(ctx, name)
	if err == nil && c.Name != name && c.ID != name {
		err = ErrNoContainer
	}
	return c, err
}

func (e *Engine) inspect(ctx context.Context, id string) (runner.Container, error) {
	c, err := e.client.ContainerInspect(ctx, id)
	switch {
	case cerrdefs.IsNotFound(err):
		return runner.Container{}, ErrNoContainer
	case err != nil:
		return runner.Container{}, e.classify(err)
	case c.ContainerJSONBase == nil || c.State == nil || c.HostConfig == nil:
		return runner.Container{}, fmt.Errorf("the Docker daemon at %q does not report the container's state", e.Address())
	case !hexid.Is(c.ID, 64): // it goes into the paths of requests
		return runner.Container{}, fmt.Errorf("the Docker daemon at %q reports %.80q as a container's ID",
			e.Address(), c.ID)
	}
	r := runner.Container{
		ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), Restart: restartText(c.HostConfig.RestartPolicy),
		Status: c.State.Status, Running: c.State.Running,
		Started: c.State.StartedAt,
	}
	if c.Config != nil {
		r.Image, r.Command = c.Config.Image, slices.Concat(c.Config.Entrypoint, c.Config.Cmd)
		for _, variable := range c.Config.Env {
			name, value, _ := strings.Cut(variable, "=")
			if len(r.Variables) < maxNames {
				r.Variables = append(r.Variables, name)
			}
			if slices.Contains(runner.GuardSettings, name) {
				if r.Settings == nil {
					r.Settings = map[string]string{}
				}
				r.Settings[name] = value
			}
			if labels, found := strings.CutPrefix(variable, "GITEA_RUNNER_LABELS="); found && labels != "" {
				r.Labels = strings.Split(labels, ",")
			}
		}
		for label, value := range c.Config.Labels {
			if !strings.HasPrefix(label, composeLabel) && len(r.Marks) < maxNames {
				if r.Marks == nil {
					r.Marks = map[string]string{}
				}
				r.Marks[label] = value
			}
		}
		if files := c.Config.Labels[composeLabel+"project.config_files"]; files != "" {
			r.ComposeFiles = strings.Split(files, ",")
		}
		r.ComposeDir = c.Config.Labels[composeLabel+"project.working_dir"]
		r.ComposeService = c.Config.Labels[composeLabel+"service"]
	}
	for _, m := range c.Mounts[:min(maxMounts, len(c.Mounts))] {
		if m.Source != "" {
			r.Mounts = append(r.Mounts, m.Source)
		}
	}
	return r, nil
}

// restartText returns a restart policy as the docker command takes it.
func restartText(p container.RestartPolicy) string {
	switch {
	case p.Name == "":
		return "no"
	case p.MaximumRetryCount > 0:
		return fmt.Sprintf("%s:%d", p.Name, p.MaximumRetryCount)
	}
	return string(p.Name)
}
