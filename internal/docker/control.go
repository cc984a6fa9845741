package docker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"hostguard/runner"
)

// A container is controlled by its full ID, which the daemon matches before any
// name. After lock.ErrRefused, ErrNotRunning or ErrNoContainer nothing has been
// done; after any other error it may have been.

// containerTimeout bounds a request about one container, which waits for whatever else
// the daemon does with it: on a busy machine Engine 20.10 took more than 10 s to show
// one that it was ending.
const containerTimeout = 30 * time.Second

// ErrNotRunning means that the container does not run, so it gets no signal.
var ErrNotRunning = errors.New("the container does not run")

// SetRestart sets a container's restart policy, such as no, unless-stopped or
// on-failure:3.
func (e *Engine) SetRestart(ctx context.Context, id, policy string) error {
	name, count, _ := strings.Cut(policy, ":")
	p := container.RestartPolicy{Name: container.RestartPolicyMode(name)}
	if count != "" {
		var err error
		if p.MaximumRetryCount, err = strconv.Atoi(count); err != nil {
			return fmt.Errorf("restart policy %.50q: must have a number after the colon", policy)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, containerTimeout)
	defer cancel()
	_, err := e.client.ContainerUpdate(ctx, id, container.UpdateConfig{RestartPolicy: p})
	return e.controlError(err)
}

// StartContainer starts a container; one that runs is left as it is.
func (e *Engine) StartContainer(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, containerTimeout)
	defer cancel()
	return e.controlError(e.client.ContainerStart(ctx, id, container.StartOptions{}))
}

// StopContainer sends SIGTERM and returns when the container has ended; after the
// limit, in whole seconds, Docker sends SIGKILL. When ctx ends earlier the SIGTERM
// has been sent all the same.
func (e *Engine) StopContainer(ctx context.Context, id string, limit time.Duration) error {
	seconds := int(limit.Seconds())
	return e.controlError(e.client.ContainerStop(ctx, id, container.StopOptions{Timeout: &seconds}))
}

// SignalContainer sends a signal to a container's first process.
func (e *Engine) SignalContainer(ctx context.Context, id, signal string) error {
	ctx, cancel := context.WithTimeout(ctx, containerTimeout)
	defer cancel()
	err := e.client.ContainerKill(ctx, id, signal)
	if cerrdefs.IsConflict(err) || err != nil && strings.Contains(err.Error(), "is not running") { // Engine 20.10: 409 too
		return ErrNotRunning
	}
	return e.controlError(err)
}

// controlError translates the error of a container command.
func (e *Engine) controlError(err error) error {
	switch {
	case err == nil:
		return nil
	case cerrdefs.IsNotFound(err):
		return ErrNoContainer
	}
	return e.classify(err)
}

// ContainerProcesses returns the processes of a running container, with their pids
// where the daemon runs.
func (e *Engine) ContainerProcesses(ctx context.Context, id string) ([]runner.Process, error) {
	ctx, cancel := context.WithTimeout(ctx, containerTimeout)
	defer cancel()
	list, err := e.top(ctx, container.Summary{ID: id})
	if err != nil {
		return nil, err
	}
	var all []runner.Process
	for _, p := range list {
		all = append(all, runner.Process{PID: p.PID, Parent: p.Process.Parent, Argv: p.Argv})
	}
	return all, nil
}

const maxLog = 64 << 10 // bytes of the last lines

// LastLog returns the last lines that a container has printed since then,
// unchanged: they contain whatever its jobs print.
func (e *Engine) LastLog(ctx context.Context, id string, since time.Time, lines int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, containerTimeout)
	defer cancel()
	c, err := e.client.ContainerInspect(ctx, id)
	if err != nil {
		return nil, e.controlError(err)
	}
	stream, err := e.client.ContainerLogs(ctx, id, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(lines),
		Since: strconv.FormatFloat(float64(since.UnixNano())/1e9, 'f', 9, 64),
	})
	if err != nil {
		return nil, e.controlError(err)
	}
	defer stream.Close()
	var text bytes.Buffer
	if bounded := io.LimitReader(stream, maxLog); c.Config != nil && c.Config.Tty {
		_, err = text.ReadFrom(bounded)
	} else {
		_, err = stdcopy.StdCopy(&text, &text, bounded) // stdout and stderr are separate streams
	}
	var all []string
	scanner := bufio.NewScanner(&text)
	scanner.Buffer(nil, maxLog)
	for scanner.Scan() {
		all = append(all, scanner.Text())
	}
	if err != nil {
		err = e.classify(err)
	}
	return all[max(0, len(all)-lines):], err
}
