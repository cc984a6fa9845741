package docker

import (
	"context"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// Inside is what a process itself sees of the container that it is in.
type Inside struct {
	// Group is the ID in the name of its control group, which is its own; ""
	// where a namespace hides that name.
	Group string
	// Network is the ID in the mounts of its network's files: with
	// --network container:X those of X.
	Network string
	// Root is where the changes of its root file system are kept.
	Root string
}

// Own returns the container that a process is in, and when that was started. It
// trusts this daemon for an ID only where something of the process alone agrees
// with it; "" means none.
func (e *Engine) Own(ctx context.Context, in Inside) (id, started string) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if in.Group != "" {
		if c, ok := e.running(ctx, in.Group); ok {
			return c.ID, c.State.StartedAt
		}
		return "", ""
	}
	if in.Network == "" {
		return "", ""
	}
	c, ok := e.running(ctx, in.Network)
	if ok && changes(c, in.Root) {
		return c.ID, c.State.StartedAt
	}
	sharing, err := e.sharing(ctx, in.Network)
	if err != nil {
		return "", ""
	}
	if len(sharing) == 0 && ok && (in.Root == "" || upper(c) == "") {
		return c.ID, c.State.StartedAt // nobody else has these mounts
	}
	for _, other := range sharing {
		if c, ok := e.running(ctx, other); ok && changes(c, in.Root) {
			return c.ID, c.State.StartedAt
		}
	}
	return "", ""
}

// running returns a container that runs now, so that its start time is that of
// this run.
func (e *Engine) running(ctx context.Context, id string) (container.InspectResponse, bool) {
	c, err := e.client.ContainerInspect(ctx, id)
	return c, err == nil && c.ContainerJSONBase != nil && c.ID == id && c.State != nil &&
		(c.State.Status == "running" || c.State.Status == "paused")
}

// sharing returns the containers, of any state, in the network of another. One
// that was started a moment ago may not be listed as running yet.
func (e *Engine) sharing(ctx context.Context, id string) ([]string, error) {
	list, err := e.client.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, c := range list {
		if of, found := strings.CutPrefix(c.HostConfig.NetworkMode, "container:"); found && of == id && c.ID != id {
			ids = append(ids, c.ID)
		}
	}
	return ids, nil
}

// changes reports whether a container's root file system keeps its changes there.
// The mount's own path is relative where there are many layers.
func changes(c container.InspectResponse, root string) bool {
	dir := upper(c)
	return root != "" && dir != "" && (dir == root || strings.HasSuffix(dir, "/"+root))
}

// upper returns the directory that keeps the changes; not every storage driver has one.
func upper(c container.InspectResponse) string { return c.GraphDriver.Data["UpperDir"] }
