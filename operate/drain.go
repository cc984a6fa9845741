package operate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/docker"
	"hostguard/lock"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/finding"
)

const helpRunnerDrain = `Retires the runner in a container: sets its restart policy to no, disables it at
Gitea if server (1.26) and token allow that, and ends it. While no task runs it is
stopped: SIGTERM, and SIGKILL after the timeout. Else it gets SIGINT: it takes no
more jobs, and the command waits until its running jobs have ended. Prints the plan;
changes nothing without -apply. A second run changes nothing.

{inputs}

Cron tables, timers and units, and the scripts that they name, are searched for
commands that start it again; with one of these it does not count as drained. To
undo: "hostguard runner resume".

exit status: 0 drained, or planned; 1 not ended in time, started again, or
something starts it again; 2 wrong use; 3 no Docker, no permission, or lost;
130 or 143 interrupted: the last line shows the state.

example: hostguard runner drain -apply -timeout 2h
`

// drain is one run of runner drain: it retires the runner in one container.
//
// The connection to the daemon may break at any time. An unanswered request may have
// taken effect, so drain watches the container until it has ended.
type drain struct {
	containerOptions
	force   bool
	timeout time.Duration

	*container
	signalled string // "got SIGINT": cannot be undone
	limit     time.Duration
}

func (d *drain) Inputs() []cli.Input {
	return slices.Concat(d.planOptions.Inputs(), []cli.Input{
		{Name: "timeout", Kind: cli.Duration(&d.timeout, time.Second, 24*time.Hour), Default: "1h", FlagOnly: true,
			Text: "how long to wait. After SIGINT it keeps draining, as after Ctrl-C: that cannot be undone"},
		{Name: "force", Kind: cli.Bool(&d.force), FlagOnly: true,
			Text: "count it as drained although something starts it again"},
	}, d.inputs("disable"))
}

func (d *drain) Run(ctx context.Context, s *cli.Session) (err error) {
	h := d.host.look(ctx, s)
	d.host.readSchedule(ctx, s, &h)
	d.container, err = d.find(ctx, s)
	if errors.Is(err, docker.ErrNoContainer) && d.name == runner.WrappedContainer {
		s.Print("there is no container %q", d.name)
		return errors.Join(runPlan(ctx, s, nil, d.planOptions, ""),
			checkRestartTriggers(s, h, runner.Container{Name: d.name}, d.force))
	}
	if err != nil {
		return err
	}
	changes, err := d.plan(ctx, h)
	if err != nil {
		return err
	}
	if err := runPlan(ctx, s, changes, d.planOptions, "hostguard runner resume -apply"+withContainer(d.c)); err != nil {
		return err
	}
	if d.c.Running && !d.apply {
		return checkRestartTriggers(s, h, d.c, d.force)
	}
	if d.c.Running {
		if err := d.wait(ctx); err != nil {
			return err
		}
	}
	c, err := d.now(ctx)
	if err != nil {
		return err
	}
	if d.apply && (c.Restart != "no" || c.Running) {
		return cli.Refusedf("the container %q was changed during the drain; find out by whom, and run it again", c.Name)
	}
	return checkRestartTriggers(s, h, c, d.force)
}

func (d *drain) plan(ctx context.Context, h runner.Host) ([]change, error) {
	var changes []change
	if d.c.Restart != "no" {
		changes = append(changes, d.setRestart("no"))
	}
	if d.server {
		changes = append(changes, d.setDisabled(ctx, d.Session, h, d.c, true)...)
	}
	if d.c.Running {
		work := d.look(ctx)
		if work.err != nil {
			return nil, work.err
		}
		d.Print("%s", work)
		changes = append(changes, d.end(work))
	}
	return changes, nil
}

// end returns the last change, which cannot be undone. An interruption does not cancel
// it: which signal the container got must be known.
func (d *drain) end(w working) change {
	c := change{
		text: fmt.Sprintf("stop %q: SIGTERM, and SIGKILL if it has not ended after %s", d.c.Name,
			config.Duration(d.timeout)),
		do: func(ctx context.Context) error {
			now := d.look(ctx)
			if now.err == nil {
				d.c.Started = now.c.Started // this is the process that gets the signal
			}
			if w.idle() && (now.err != nil || !now.c.Running || now.idle()) {
				return d.stop(ctx)
			}
			if w.idle() {
				d.Print("%s: SIGINT instead", now)
			}
			return d.interrupt(ctx)
		},
	}
	if !w.idle() {
		c.text = fmt.Sprintf("send SIGINT to %q: it takes no more jobs, and ends when its own have, at the latest "+
			"after its shutdown_timeout", d.c.Name)
	}
	return c
}

func (d *drain) interrupt(ctx context.Context) error {
	d.signalled, d.begin, d.limit = "got SIGINT", time.Now(), d.timeout
	err := d.engine.SignalContainer(context.WithoutCancel(ctx), d.c.ID, "SIGINT")
	if errors.Is(err, docker.ErrNotRunning) {
		return d.stop(ctx) // in case Docker is about to start it again
	}
	return d.unlessUnknown(err)
}

// unlessUnknown returns an error which means that nothing was done; any other error
// leaves it unknown, and becomes a warning.
func (d *drain) unlessUnknown(err error) error {
	if err == nil || errors.Is(err, lock.ErrRefused) || errors.Is(err, docker.ErrNoContainer) {
		return err
	}
	d.signalled = "may have " + d.signalled
	d.Warning("the container %q %s: %s", d.c.Name, d.signalled, cli.OneLine(err))
	return nil
}

// stop sends the request to stop, and leaves it to Docker to wait longer than an idle
// runner takes.
func (d *drain) stop(ctx context.Context) error {
	d.signalled, d.begin, d.limit = "got SIGTERM", time.Now(), d.timeout+drainReport // Docker kills it at timeout
	stopped := make(chan error, 1)
	go func() { stopped <- d.engine.StopContainer(context.WithoutCancel(ctx), d.c.ID, d.timeout) }()
	select {
	case err := <-stopped:
		return d.unlessUnknown(err)
	case <-time.After(drainSettle):
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
	var ended, reported time.Time
	last := ""
	for {
		select {
		case <-look.C:
		case <-limit.C:
			late = true
		case <-ctx.Done():
			return d.reportInterrupted(ctx)
		}
		w := d.look(ctx)
		line := w.String()
		switch {
		case errors.Is(w.err, docker.ErrNoContainer):
			return cli.Refusedf("the container %q is gone: it was removed, or started with --rm, and cannot be "+
				"resumed", d.c.Name)
		case ctx.Err() != nil:
			return d.reportInterrupted(ctx)
		case w.err != nil:
			line, ended = cli.OneLine(w.err), time.Time{}
		case w.c.Started != d.c.Started:
			return cli.Refusedf("the container %q was started again while it drained; hostguard doctor (L7) or docker "+
				"events shows what starts it", d.c.Name)
		case !w.c.Running:
			if ended.IsZero() {
				ended = time.Now()
			}
			if time.Since(ended) >= drainSettle {
				return nil
			}
			continue
		}
		if late && w.err != nil {
			return fmt.Errorf("the container %q %s, and whether it has ended is not known: %w", d.c.Name, d.signalled, w.err)
		}
		if late {
			return cli.Refusedf("not ended after %s: %s; it %s, which cannot be undone: it keeps draining, and ends "+
				"when its jobs have; run it again to keep waiting", cli.Short(time.Since(d.begin)), line, d.signalled)
		}
		if line != last || time.Since(reported) >= drainReport {
			now := time.Now()
			d.Print("waiting since %s: %s", cli.Short(now.Sub(d.begin)), line)
			d.printLog(ctx, reported)
			last, reported = line, now
		}
	}
}

// reportInterrupted prints how an interruption leaves the container.
func (d *drain) reportInterrupted(ctx context.Context) error {
	if w := d.look(context.WithoutCancel(ctx)); w.err == nil && !w.c.Running {
		d.Warning("the container %q has ended, with Restart=%s", w.c.Name, cli.Word(w.c.Restart))
	} else {
		d.Warning("the container %q keeps draining: it %s, which cannot be undone, and ends when its jobs have; run "+
			"it again to keep waiting", d.c.Name, d.signalled)
	}
	return context.Cause(ctx)
}

// checkRestartTriggers prints what would start the container again, and refuses to count
// it as drained then.
func checkRestartTriggers(s *cli.Session, h runner.Host, c runner.Container, force bool) error {
	bad := 0
	for _, f := range runner.RestartTriggers(h, c) {
		s.Warning("%s; %s", f.Evidence, f.Fix)
		if f.Level == finding.Bad {
			bad++
		}
	}
	if c.ComposeDir != "" {
		s.Print("docker compose up in %.200q starts it again, and recreates it with the restart policy of its file",
			c.ComposeDir)
	}
	for _, why := range h.ScheduleUnseen {
		s.Print("not seen, and may start it: %s", why)
	}
	switch {
	case bad > 0 && force:
		s.Warning("that starts it again, but -force counts it as drained")
	case bad > 0:
		return cli.Refusedf("%q is not drained while that starts it again; fix it as shown above, or give -force",
			c.Name)
	}
	return nil
}
