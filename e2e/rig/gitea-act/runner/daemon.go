package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// poll is how often a runner asks for a task. A real one asks every 2 seconds; each
// question costs the server some 5 ms, and the tests of a split have a dozen runners.
const poll = 400 * time.Millisecond

// daemon is a runner at work.
type daemon struct {
	generation
	config
	registration
	client client

	healthy struct {
		until time.Time // how long the last answer counts
		yes   bool
	}
}

// daemon runs tasks until stop is done, or one.
func (g generation) daemon(stop context.Context, args []string, one bool) error {
	path, err := configFlag(args)
	if err != nil {
		return err
	}
	d := &daemon{generation: g}
	if d.config, err = load(path); err != nil {
		return err
	}
	text, err := os.ReadFile(d.Runner.File)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &d.registration); err != nil {
		return fmt.Errorf("parse %q: %w", d.Runner.File, err)
	}
	if len(d.Runner.Labels) > 0 {
		d.Labels = d.Runner.Labels
		if err := d.registration.write(d.Runner.File); err != nil {
			return err
		}
	}
	if g.locks {
		lock, err := os.OpenFile(d.Runner.File+".lock", os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		defer lock.Close()
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			return fmt.Errorf("another daemon uses %q", d.Runner.File)
		}
	}
	d.client = d.registration.client()
	if d.Container.DockerHost != "" && d.Container.DockerHost != "-" {
		os.Setenv("DOCKER_HOST", d.Container.DockerHost)
	}
	say("Starting runner daemon")
	return d.poll(stop, one)
}

// poll fetches tasks and runs them, as many at once as the capacity allows.
func (d *daemon) poll(stop context.Context, one bool) error {
	d.declare(stop)
	if d.hooks {
		d.removeOld()
	}
	jobs, kill := context.WithCancelCause(context.Background())
	defer kill(nil)
	var running sync.WaitGroup
	slots := make(chan struct{}, d.Runner.Capacity)
	var seen int64 // version of the tasks that the server has
	for stop.Err() == nil {
		select {
		case slots <- struct{}{}:
		case <-stop.Done():
			continue
		}
		if t := d.fetch(stop, &seen, len(slots) == 1); t != nil {
			say("task %d repo is %v %s/", t.ID, t.Context["repository"], d.Address)
			running.Go(func() {
				d.run(jobs, t)
				<-slots
			})
			if one {
				break
			}
			continue
		}
		<-slots
		select {
		case <-time.After(poll):
		case <-stop.Done():
		}
	}
	say("runner: %s shutdown initiated, waiting %s for running jobs to complete", d.Name, d.Runner.ShutdownTimeout)
	if d.kills && !one {
		timer := time.AfterFunc(d.Runner.ShutdownTimeout, func() { kill(errShutdown) })
		defer timer.Stop()
	}
	running.Wait()
	return nil
}

// declare announces the labels, until the server has taken them.
func (d *daemon) declare(ctx context.Context) {
	request := declareRequest{Version: d.version(), Labels: names(d.Labels)}
	for ctx.Err() == nil {
		err := d.client.call(ctx, "Declare", request, new(runnerResponse))
		if err == nil {
			say("runner: %s, with version: %s, with labels: %v, declare successfully", d.Name, request.Version, request.Labels)
			return
		}
		say("declare: %v", err)
		time.Sleep(poll)
	}
}

// fetch asks for a task.
func (d *daemon) fetch(ctx context.Context, seen *int64, idle bool) *task {
	if d.hooks && idle && !d.isHealthy() {
		return nil
	}
	var response fetchTaskResponse
	if err := d.client.call(ctx, "FetchTask", fetchTaskRequest{*seen}, &response); err != nil {
		if ctx.Err() == nil {
			say("fetch task: %v", err)
		}
		return nil
	}
	if *seen = response.TasksVersion; response.Task != nil {
		*seen = 0 // there may be more
	}
	return response.Task
}

// isHealthy runs the health check, whose answer counts for 30 seconds.
func (d *daemon) isHealthy() bool {
	if !d.HealthCheck.Enabled || d.HealthCheck.Script == "" {
		return true
	}
	if time.Now().After(d.healthy.until) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, d.HealthCheck.Script).CombinedOutput()
		d.healthy.yes, d.healthy.until = err == nil, time.Now().Add(30*time.Second)
		say("health check: %v: %s", err, out)
	}
	return d.healthy.yes
}

var jobDirectory = regexp.MustCompile(`^[0-9a-f]{16}$`)

// removeOld removes what a runner that was killed has left a day ago.
func (d *daemon) removeOld() {
	entries, _ := os.ReadDir(d.Host.WorkdirParent)
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && jobDirectory.MatchString(entry.Name()) && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.RemoveAll(filepath.Join(d.Host.WorkdirParent, entry.Name()))
		}
	}
}
