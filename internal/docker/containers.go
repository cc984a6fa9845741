package docker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"

	"hostguard/runner"
)

// Runners are the containers that run a runner, and the names of those that run
// a job now. Of an environment nothing is taken but the labels: registration
// tokens are in it too.
func (e *Engine) Runners(ctx context.Context) (runners []runner.Container, active []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	list, err := e.client.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, nil, e.classify(err)
	}
	for _, c := range list {
		name := ""
		if len(c.Names) > 0 {
			name = strings.TrimPrefix(c.Names[0], "/")
		}
		if strings.HasPrefix(name, runner.TaskPrefix) {
			if c.State == "running" || c.State == "paused" {
				active = append(active, name)
			}
			continue
		}
		if name != runner.WrappedContainer && !runner.IsDaemonImage(c.Image) {
			continue
		}
		if r, known := e.runner(ctx, c.ID); known {
			runners = append(runners, r)
		}
	}
	slices.Sort(active)
	return runners, active, nil
}

// runner is false for a container that went away meanwhile.
func (e *Engine) runner(ctx context.Context, id string) (runner.Container, bool) {
	c, err := e.client.ContainerInspect(ctx, id)
	if err != nil || c.ContainerJSONBase == nil || c.State == nil || c.HostConfig == nil {
		return runner.Container{}, false
	}
	r := runner.Container{
		Name: strings.TrimPrefix(c.Name, "/"), Restart: string(c.HostConfig.RestartPolicy.Name), Status: c.State.Status, Running: c.State.Running,
	}
	if r.Restart == "" {
		r.Restart = "no"
	}
	if c.Config != nil {
		for _, variable := range c.Config.Env {
			if labels, found := strings.CutPrefix(variable, "GITEA_RUNNER_LABELS="); found && labels != "" {
				r.Labels = strings.Split(labels, ",")
			}
		}
	}
	for _, m := range c.Mounts {
		if m.Source != "" {
			r.Mounts = append(r.Mounts, m.Source)
		}
	}
	return r, true
}

// SetRestart sets whether the daemon starts a container again: no, always, ...
func (e *Engine) SetRestart(ctx context.Context, name, policy string) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := e.client.ContainerUpdate(ctx, name, container.UpdateConfig{RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(policy)}})
	if err != nil {
		return fmt.Errorf("set the restart policy of %.100q: %w", name, e.classify(err))
	}
	return nil
}
