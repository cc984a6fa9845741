package steps

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hostguard/internal/docker"
	"hostguard/lock"
	"hostguard/runner"
	"hostguard/runner/config"
)

const (
	drainLook = time.Second      // between two looks at a container that ends
	drainTell = 30 * time.Second // between two lines when nothing changes
	drainLog  = 5                // lines of the container's log beside it
	// drainCalm is how long a container has to stay as it is: an auto-healer that
	// waits for its end has started it by then.
	drainCalm = 2 * time.Second
)

// drain retires the runner in one container.
//
// The daemon may be lost at any time. What was asked of it and not answered may
// have been done, so the container is looked at until it has ended.
type drain struct {
	*session
	engine  *docker.Engine
	c       runner.Container // as it was at first
	timeout time.Duration
	told    string // "got SIGINT": not to be taken back
	begin   time.Time
	limit   time.Duration
}

// working is what keeps a container.
type working struct {
	c     runner.Container
	tasks []string         // containers of jobs, which may be another runner's
	jobs  []runner.Process // its own
	known bool             // jobs are all of them
	err   error
}

func (d *drain) look(ctx context.Context) (w working) {
	if w.c, w.err = d.engine.Runner(ctx, d.c.ID); w.err != nil || !w.c.Running || w.restarts() {
		return w
	}
	if _, w.tasks, w.err = d.engine.Runners(ctx); w.err != nil {
		return w
	}
	if processes, err := d.engine.ContainerProcesses(ctx, d.c.ID); err == nil { // else it may just have ended
		w.jobs, w.known = runner.OwnJobs(processes)
	}
	return w
}

// restarts tells that nothing runs until Docker starts it again, for which the
// daemon has Running=true.
func (w working) restarts() bool { return w.c.Status == "restarting" }

// idle is sure that nothing would be cut off.
func (w working) idle() bool {
	return w.restarts() || w.known && len(w.tasks)+len(w.jobs) == 0
}

func (w working) String() string {
	if w.restarts() {
		return fmt.Sprintf("container %q has ended, and Docker is about to start it again", w.c.Name)
	}
	var parts []string
	if len(w.tasks) > 0 {
		parts = append(parts, "tasks "+listed(w.tasks))
	}
	switch {
	case !w.known:
		parts = append(parts, "what runs inside it is not known")
	case len(w.jobs) > 0:
		parts = append(parts, fmt.Sprintf("%d processes beside its daemon, such as %.100q", len(w.jobs), strings.Join(w.jobs[0].Argv, " ")))
	}
	if parts == nil {
		parts = []string{"no task"}
	}
	return fmt.Sprintf("container %q runs: %s", w.c.Name, strings.Join(parts, "; "))
}

// setRestart is not cut short by an interruption: what was sent might take effect
// after it was taken back.
func (d *drain) setRestart(policy string) change {
	return change{
		say: fmt.Sprintf("set the restart policy of %q to %s (is %s)", d.c.Name, policy, word(d.c.Restart)),
		do: func(ctx context.Context) error {
			return d.engine.SetRestart(context.WithoutCancel(ctx), d.c.ID, policy)
		},
		undo: func(ctx context.Context) error { return d.engine.SetRestart(ctx, d.c.ID, d.c.Restart) },
	}
}

// end is the change that cannot be taken back, the last one. An interruption does
// not cut it short: what the container was told has to be known.
func (d *drain) end(w working) change {
	c := change{
		say: fmt.Sprintf("stop %q: SIGTERM, and SIGKILL if it has not ended after %s", d.c.Name, config.Duration(d.timeout)),
		do: func(ctx context.Context) error {
			now := d.look(ctx)
			if now.err == nil {
				d.c.Started = now.c.Started // what is told to end is that
			}
			if w.idle() && (now.err != nil || !now.c.Running || now.idle()) {
				return d.stop(ctx)
			}
			if w.idle() {
				d.Say("%s: SIGINT instead", now)
			}
			return d.interrupt(ctx)
		},
	}
	if !w.idle() {
		c.say = fmt.Sprintf("send SIGINT to %q: it takes no more jobs, and ends when its own have, at the latest after its shutdown_timeout", d.c.Name)
	}
	return c
}

func (d *drain) interrupt(ctx context.Context) error {
	d.told, d.begin, d.limit = "got SIGINT", time.Now(), d.timeout
	err := d.engine.SignalContainer(context.WithoutCancel(ctx), d.c.ID, "SIGINT")
	if errors.Is(err, docker.ErrNotRunning) {
		return d.stop(ctx) // lest Docker is about to start it again
	}
	return d.unlessUnknown(err)
}

// unlessUnknown passes on an error that says that nothing was done.
func (d *drain) unlessUnknown(err error) error {
	if err == nil || errors.Is(err, lock.ErrRefused) || errors.Is(err, docker.ErrNoContainer) {
		return err
	}
	d.told = "may have " + d.told
	d.Warning("the container %q %s: %s", d.c.Name, d.told, oneLine(err))
	return nil
}

// stop leaves it to Docker to wait longer than an idle runner takes.
func (d *drain) stop(ctx context.Context) error {
	d.told, d.begin, d.limit = "got SIGTERM", time.Now(), d.timeout+drainTell // Docker kills it at timeout
	stopped := make(chan error, 1)
	go func() { stopped <- d.engine.StopContainer(context.WithoutCancel(ctx), d.c.ID, d.timeout) }()
	select {
	case err := <-stopped:
		return d.unlessUnknown(err)
	case <-time.After(drainCalm):
		return nil
	}
}

// wait waits until the container has ended and has stayed so.
func (d *drain) wait(ctx context.Context) error {
	limit := time.NewTimer(d.limit)
	defer limit.Stop()
	look := time.NewTicker(drainLook)
	defer look.Stop()
	late := false
	var ended, told time.Time
	said := ""
	for {
		select {
		case <-look.C:
		case <-limit.C:
			late = true
		case <-ctx.Done():
			return d.drainsOn(ctx)
		}
		w := d.look(ctx)
		line := w.String()
		switch {
		case errors.Is(w.err, docker.ErrNoContainer):
			return refusedf("the container %q is gone: somebody has removed it, or it was started with --rm; there is no way back to it", d.c.Name)
		case ctx.Err() != nil:
			return d.drainsOn(ctx)
		case w.err != nil:
			line, ended = oneLine(w.err), time.Time{}
		case w.c.Started != d.c.Started:
			return refusedf("the container %q was started again while it drained; what does it is told by hostguard doctor (L7), or by docker events", d.c.Name)
		case !w.c.Running:
			if ended.IsZero() {
				ended = time.Now()
			}
			if time.Since(ended) >= drainCalm {
				return nil
			}
			continue
		}
		if late && w.err != nil {
			return fmt.Errorf("the container %q %s, and whether it has ended is not known: %w", d.c.Name, d.told, w.err)
		}
		if late {
			return refusedf("not ended after %s: %s; it %s, which cannot be taken back: it drains on, and ends when its jobs have; run it again to wait on", short(time.Since(d.begin)), line, d.told)
		}
		if line != said || time.Since(told) >= drainTell {
			now := time.Now()
			d.Say("waiting since %s: %s", short(now.Sub(d.begin)), line)
			d.sayLog(ctx, told)
			said, told = line, now
		}
	}
}

// sayLog says what the container has said since then, or since it was told to end.
func (d *drain) sayLog(ctx context.Context, since time.Time) {
	if since.IsZero() {
		since = d.begin
	}
	lines, _ := d.engine.LastLog(ctx, d.c.ID, since, drainLog) // not all drivers can be read
	for _, l := range lines {
		d.Say("  log %.500q", l)
	}
}

// drainsOn says how an interruption leaves the container.
func (d *drain) drainsOn(ctx context.Context) error {
	if w := d.look(context.WithoutCancel(ctx)); w.err == nil && !w.c.Running {
		d.Warning("the container %q has ended, with Restart=%s", w.c.Name, word(w.c.Restart))
	} else {
		d.Warning("the container %q drains on: it %s, which cannot be taken back, and ends when its jobs have; run it again to wait on", d.c.Name, d.told)
	}
	return context.Cause(ctx)
}
