package docker

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/container"

	"hostguard/internal/actrunner"
	"hostguard/runner"
)

// maxOthers bounds the containers that are looked into.
const maxOthers = 500

// Others returns the containers that Runners does not, for whoever knows more of them: each
// with the commands that run in it.
func (e *Engine) Others(ctx context.Context) ([]runner.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	list, err := e.client.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, e.classify(err)
	}
	list = slices.DeleteFunc(list, func(c container.Summary) bool {
		_, isTask := actrunner.TaskOf(nameOf(c))
		return isTask || runner.IsRunner(nameOf(c), c.Image, strings.Fields(c.Command))
	})
	var others []runner.Container
	var mu sync.Mutex
	var looks sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, c := range list[:min(len(list), maxOthers)] {
		looks.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r, err := e.inspect(ctx, c.ID)
			if err != nil {
				return // it is gone by now
			}
			if r.Running {
				r.Processes = e.commands(ctx, c.ID)
			}
			mu.Lock()
			defer mu.Unlock()
			others = append(others, r)
		})
	}
	looks.Wait()
	slices.SortFunc(others, func(a, b runner.Container) int { return strings.Compare(a.Name, b.Name) })
	return others, ctx.Err()
}

// commands returns the commands that run in a container; none if that is not known.
func (e *Engine) commands(ctx context.Context, id string) [][]string {
	processes, err := e.ContainerProcesses(ctx, id)
	if err != nil {
		return nil
	}
	all := make([][]string, 0, len(processes))
	for _, p := range processes {
		all = append(all, p.Argv)
	}
	return all
}

func nameOf(c container.Summary) string {
	if len(c.Names) == 0 {
		return ""
	}
	return strings.TrimPrefix(c.Names[0], "/")
}
