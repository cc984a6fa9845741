// Package docker keeps lock entries as config-only networks of a Docker Engine.
//
// Such a network costs about 1 ms instead of 40 to 80, takes no subnet, bridge
// or firewall rule, survives "network prune", "system prune" and a killed
// daemon, and still collides with a plain "docker network create NAME".
//
// Guaranteed: removal by full ID only; every vendor error leaves this package
// as one of lock's. Not guaranteed: that a create is refused when a network of
// that name exists (engines below API 1.44), or that Podman, which ignores
// config-only and makes bridges, keeps an entry through a prune.
package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"hostguard/lock"
)

var (
	_ lock.Engine     = (*Engine)(nil)
	_ lock.Containers = (*Engine)(nil)
)

// Engine is one Docker daemon.
type Engine struct {
	client *client.Client
	at     endpoint
	API    string // highest API version that the daemon speaks

	mu       sync.Mutex
	created  map[string]bool // networks of this process, by ID
	prunable bool            // one of them is an ordinary network
}

// pingTimeout bounds the first request; a hung daemon takes connections but
// never answers.
const pingTimeout = 10 * time.Second

// Connect finds the daemon as the docker command does, by its variables, its context or
// the usual socket, and asks it for its API version.
func Connect(ctx context.Context, getenv func(string) string) (*Engine, error) {
	version := getenv(client.EnvOverrideAPIVersion)
	if strings.Trim(version, "0123456789.") != "" || strings.Count(version, ".") > 1 {
		return nil, unusable("unset it, hostguard asks the daemon for its version",
			"DOCKER_API_VERSION=%q is not a version such as 1.45", version)
	}
	at, err := findEndpoint(ctx, getenv)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: at.tls}
	c, err := client.NewClientWithOpts(
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithHost(at.host), client.WithVersion(version), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, unusable("use unix:///path or tcp://address:port", "the address %s cannot be used: %.200q", at,
			err)
	}
	if err := boundAnswers(c); err != nil {
		return nil, err
	}
	e := &Engine{client: c, at: at, created: map[string]bool{}}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	ping, err := c.Ping(ctx)
	switch {
	case ctx.Err() != nil: // err has the caller's cause of it
		return nil, e.explain(ctx.Err())
	case err != nil:
		return nil, e.explain(err)
	case ping.APIVersion == "": // the first Docker Engine sent one
		return nil, unusable("set DOCKER_HOST to the daemon's address",
			"what answers at %q is not a Docker daemon: its reply has no API version", e.Address())
	}
	// Else the first requests would each negotiate once more, and two at once race.
	c.NegotiateAPIVersionPing(ping)
	e.API = ping.APIVersion
	if version != "" {
		return e, e.checkPinned(ctx, version)
	}
	return e, nil
}

// checkPinned fails if the daemon refuses the version that the environment pins.
func (e *Engine) checkPinned(ctx context.Context, version string) error {
	_, err := e.client.ServerVersion(ctx)
	if cerrdefs.IsInvalidArgument(err) {
		return unusable("unset it, hostguard asks the daemon for its version",
			"DOCKER_API_VERSION=%s: the Docker daemon at %q, whose version is %.20q, refuses it: %.200q", version,
			e.Address(), e.API, err)
	}
	return nil
}

// Address returns where the daemon is reached.
func (e *Engine) Address() string { return e.at.host }

// Local reports whether the daemon is reached over a unix socket. Only then do
// the pids and the boot of this machine mean anything to its other clients.
func (e *Engine) Local() bool { return strings.HasPrefix(e.Address(), "unix://") }

// Exclusive reports whether the daemon itself refuses a second network of a
// name: it keeps a lock per name since Engine 25, API 1.44. Below, 8 callers of
// 8 get the answer "created".
func (e *Engine) Exclusive() bool {
	major, minor, _ := strings.Cut(e.API, ".")
	x, errX := strconv.Atoi(major)
	y, errY := strconv.Atoi(minor)
	return errX == nil && errY == nil && (x > 1 || x == 1 && y >= 44)
}

// Description is the daemon's identity, for people.
type Description struct {
	ID, Version string
}

// Describe asks the daemon for its identity. That takes up to 10 ms, and the daemon
// executes two programs (runc and docker-init) for it: no lock waits for that.
func (e *Engine) Describe(ctx context.Context) (Description, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	info, err := e.client.Info(ctx)
	if err != nil {
		return Description{}, e.explain(err)
	}
	return Description{ID: info.ID, Version: info.ServerVersion}, nil
}

// Podman returns the version of the Podman that answers in Docker's place, or "".
func (e *Engine) Podman(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	version, err := e.client.ServerVersion(ctx)
	if err != nil {
		return ""
	}
	for _, c := range version.Components {
		if c.Name == "Podman Engine" {
			return cmp.Or(c.Version, "?")
		}
	}
	return ""
}

// Prunable reports whether a network that this process has created is not config-only
// by the engine's own list, so that a prune deletes it, as Podman's does.
func (e *Engine) Prunable() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.prunable
}

// ContainerName returns the name of the container with that full ID, or "" if this
// daemon does not have it.
func (e *Engine) ContainerName(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	c, err := e.client.ContainerInspect(ctx, id)
	if err != nil || c.ContainerJSONBase == nil || c.ID != id {
		return ""
	}
	return strings.TrimPrefix(c.Name, "/")
}

const goneContainer = "its container is gone"

// Container implements lock.Containers.
func (e *Engine) Container(ctx context.Context, id, started string) (lock.Life, string) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	c, err := e.client.ContainerInspect(ctx, id)
	switch {
	case cerrdefs.IsNotFound(err):
		return lock.Dead, goneContainer
	case err != nil:
		return lock.Unknown, "the state of its container could not be read: " + e.classify(err).Error()
	case c.ContainerJSONBase == nil || c.ID != id || c.State == nil:
		return lock.Unknown, "the Docker daemon does not report the state of its container"
	}
	switch status := c.State.Status; {
	case status == "exited" || status == "dead" || status == "removing", status == "restarting" && started != "":
		return lock.Dead, "its container has ended"
	case status != "running" && status != "paused":
		return lock.Unknown, fmt.Sprintf("its container is %.20q", status)
	case started != "" && started != c.State.StartedAt:
		return lock.Dead, "its container was started again since"
	}
	return lock.Alive, fmt.Sprintf("its container %.100q runs", strings.TrimPrefix(c.Name, "/"))
}

// Create adds a config-only network.
func (e *Engine) Create(ctx context.Context, name string, labels map[string]string) (string, error) {
	// The client sends CheckDuplicate by itself below API 1.44; that of
	// moby/moby/client never does.
	created, err := e.client.NetworkCreate(ctx, name, network.CreateOptions{ConfigOnly: true, Labels: labels})
	switch {
	case err == nil:
		e.mu.Lock()
		defer e.mu.Unlock()
		e.created[created.ID] = true
		return created.ID, nil
	case cerrdefs.IsConflict(err), strings.Contains(err.Error(), "already exists"): // Podman 4 answers 500
		return "", lock.ErrConflict
	}
	return "", e.classify(err)
}

// List returns the networks whose name begins with one of the prefixes.
func (e *Engine) List(ctx context.Context, prefixes ...string) ([]lock.Entry, error) {
	var args filters.Args
	if !slices.Contains(prefixes, "") {
		args = somewhere(prefixes)
	}
	var entries []lock.Entry
	e.mu.Lock()
	created := maps.Clone(e.created)
	e.mu.Unlock()
	prunable := false
	err := e.networks(ctx, args, func(n listed) {
		prunable = prunable || created[n.ID] && !n.ConfigOnly
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(n.Name, prefix) }) {
			entries = append(entries, lock.Entry{ID: n.ID, Name: n.Name, Created: n.Created, Labels: n.Labels})
		}
	})
	if err != nil {
		return nil, e.classify(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.prunable = e.prunable || prunable
	return entries, nil
}

// somewhere returns name filters that spare the daemon to send most of the other networks.
// Each is a regular expression, found anywhere in a name, and the daemon compiles it again
// for each network that it has: of a list beside 5,000 others that is most of the time. The
// last letters of a prefix without an anchor compile in a quarter of the time of a whole name
// with one, and two filters in less than one of two alternatives.
func somewhere(prefixes []string) filters.Args {
	const most = 6
	args := filters.NewArgs()
	for _, prefix := range prefixes {
		args.Add("name", regexp.QuoteMeta(prefix[max(0, len(prefix)-most):]))
	}
	return args
}

// Remove takes away the network with this full ID, which the daemon matches
// before any name.
func (e *Engine) Remove(ctx context.Context, id string) error {
	err := e.client.NetworkRemove(ctx, id)
	if cerrdefs.IsNotFound(err) {
		return lock.ErrNotFound
	}
	if err != nil {
		return e.classify(err)
	}
	return nil
}

// Watch reports the creation of networks whose name begins with prefix. A
// config-only network emits no event when it is removed.
func (e *Engine) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	created, errs := e.client.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", "network"), filters.Arg("event", "create"), filters.Arg("network", prefix),
	)})
	select {
	case err := <-errs:
		return nil, e.classify(err)
	default:
	}
	wakes := make(chan struct{}, 1)
	go func() {
		defer close(wakes)
		for {
			select {
			case <-created:
				select {
				case wakes <- struct{}{}:
				default: // one is enough; the stream must be drained
				}
			case <-errs:
				return
			}
		}
	}()
	return wakes, nil
}

// classify translates the error of a failed request into one of lock's: refused if
// the daemon has refused it, so that nothing was done; anything else is unknown.
func (e *Engine) classify(err error) error {
	err = brief{err}
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: %w", lock.ErrRefused, e.explain(err))
	case cerrdefs.IsInvalidArgument(err), cerrdefs.IsPermissionDenied(err), cerrdefs.IsUnauthorized(err),
		cerrdefs.IsNotImplemented(err):
		return fmt.Errorf("%w: the Docker daemon at %q: %w", lock.ErrRefused, e.Address(), err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the Docker daemon at %q did not answer in time: %w", e.Address(), err)
	}
	var netErr net.Error
	var urlErr *url.Error
	if client.IsErrConnectionFailed(err) || errors.As(err, &netErr) || errors.As(err, &urlErr) {
		return fmt.Errorf("the Docker daemon at %q is not reachable: %w", e.Address(), err)
	}
	return fmt.Errorf("the Docker daemon at %q: %w", e.Address(), err)
}

// brief is an error of the daemon, whose text has any length.
type brief struct{ error }

// Error returns the text that fits into a line.
func (b brief) Error() string {
	text := b.error.Error()
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "") + "..."
	}
	return text
}

// Unwrap returns the whole error.
func (b brief) Unwrap() error { return b.error }

const maxError = 1000

// String returns the description for people.
func (d Description) String() string {
	return fmt.Sprintf("id %q version %q", cmp.Or(d.ID, "unknown"), cmp.Or(d.Version, "unknown"))
}
