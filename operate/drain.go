package operate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/docker"
	"hostguard/lock"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/finding"
)

const helpRunnerDrain = `Retires the runner in a container: restart policy no; disabled at Gitea, where
server (1.26) and token allow it; and its end. While no task runs it is stopped:
SIGTERM, and SIGKILL after the timeout. Else it gets SIGINT: it takes no more
jobs, and is waited for until its own have ended. Prints the plan; changes
nothing without -apply. A second run changes nothing.

{inputs}

Cron tables, timers and units, and the scripts that they name, are read for what
starts it again; with that it is not called drained. The way back is
"hostguard runner resume".

exit status: 0 drained, or planned; 1 not ended in time, started again, or
something starts it again; 2 wrong use; 3 no Docker, no permission, or lost;
130 or 143 interrupted: the last line tells the state.

example: hostguard runner drain -apply -timeout 2h
`

// drain is one run of runner drain: it retires the runner in one container.
//
// The daemon may be lost at any time. What was asked of it and not answered may
// have been done, so the container is looked at until it has ended.
type drain struct {
	containerOptions
	force   bool
	timeout time.Duration

	*container
	told  string // "got SIGINT": not to be taken back
	limit time.Duration
}

func (d *drain) Inputs() []cli.Input {
	return append([]cli.Input{applyInput(&d.apply),
		{Name: "timeout", Kind: cli.Duration(&d.timeout, time.Second, 24*time.Hour), Default: "1h", FlagOnly: true,
			Text: "how long to wait. After SIGINT it drains on, as it does after Ctrl-C: that cannot be taken back"},
		{Name: "force", Kind: cli.Bool(&d.force), FlagOnly: true,
			Text: "call it drained although something starts it again"},
	}, d.inputs("disable")...)
}

func (d *drain) Run(ctx context.Context, s *cli.Session) (err error) {
	h := lookAtHost(ctx, s, d.host)
	readSchedule(ctx, s, &h)
	d.container, err = d.find(ctx, s)
	if errors.Is(err, docker.ErrNoContainer) && d.name == runner.WrappedContainer {
		s.Say("there is no container %q", d.name)
		s.Say("nothing to change")
		return checkRevivers(s, h, runner.Container{Name: d.name}, d.force)
	}
	if err != nil {
		return err
	}
	changes, err := d.plan(ctx, h)
	if err != nil {
		return err
	}
	if err := carryOut(ctx, s, changes, d.apply, `"hostguard runner resume -apply"`+withContainer(d.c)); err != nil {
		return err
	}
	if d.c.Running && !d.apply {
		return checkRevivers(s, h, d.c, d.force)
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
		return cli.Refusedf("somebody has changed the container %q meanwhile; see who does, and run it again", c.Name)
	}
	return checkRevivers(s, h, c, d.force)
}

func (d *drain) plan(ctx context.Context, h runner.Host) ([]change, error) {
	var changes []change
	if d.c.Restart != "no" {
		changes = append(changes, d.setRestart("no"))
	}
	if d.server {
		changes = append(changes, setDisabled(ctx, d.Session, h, d.c, d.checkout, true)...)
	}
	if d.c.Running {
		work := d.look(ctx)
		if work.err != nil {
			return nil, work.err
		}
		d.Say("%s", work)
		changes = append(changes, d.end(work))
	}
	return changes, nil
}

// end is the change that cannot be taken back, the last one. An interruption does
// not cut it short: what the container was told has to be known.
func (d *drain) end(w working) change {
	c := change{
		say: fmt.Sprintf("stop %q: SIGTERM, and SIGKILL if it has not ended after %s", d.c.Name,
			config.Duration(d.timeout)),
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
		c.say = fmt.Sprintf("send SIGINT to %q: it takes no more jobs, and ends when its own have, at the latest "+
			"after its shutdown_timeout", d.c.Name)
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
	d.Warning("the container %q %s: %s", d.c.Name, d.told, cli.OneLine(err))
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
			return cli.Refusedf("the container %q is gone: somebody has removed it, or it was started with --rm; "+
				"there is no way back to it", d.c.Name)
		case ctx.Err() != nil:
			return d.drainsOn(ctx)
		case w.err != nil:
			line, ended = cli.OneLine(w.err), time.Time{}
		case w.c.Started != d.c.Started:
			return cli.Refusedf("the container %q was started again while it drained; what does it is told by "+
				"hostguard doctor (L7), or by docker events", d.c.Name)
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
			return cli.Refusedf("not ended after %s: %s; it %s, which cannot be taken back: it drains on, and ends "+
				"when its jobs have; run it again to wait on", cli.Short(time.Since(d.begin)), line, d.told)
		}
		if line != said || time.Since(told) >= drainTell {
			now := time.Now()
			d.Say("waiting since %s: %s", cli.Short(now.Sub(d.begin)), line)
			d.sayLog(ctx, told)
			said, told = line, now
		}
	}
}

// drainsOn says how an interruption leaves the container.
func (d *drain) drainsOn(ctx context.Context) error {
	if w := d.look(context.WithoutCancel(ctx)); w.err == nil && !w.c.Running {
		d.Warning("the container %q has ended, with Restart=%s", w.c.Name, cli.Word(w.c.Restart))
	} else {
		d.Warning("the container %q drains on: it %s, which cannot be taken back, and ends when its jobs have; run "+
			"it again to wait on", d.c.Name, d.told)
	}
	return context.Cause(ctx)
}

// checkRevivers prints what would start the container again, and refuses to call
// it drained then.
func checkRevivers(s *cli.Session, h runner.Host, c runner.Container, force bool) error {
	bad := 0
	for _, f := range runner.Revivers(h, c) {
		s.Warning("%s; %s", f.Evidence, f.Fix)
		if f.Level == finding.Bad {
			bad++
		}
	}
	if c.ComposeDir != "" {
		s.Say("docker compose up in %.200q starts it again, and makes it anew with the restart policy that its file "+
			"has", c.ComposeDir)
	}
	for _, why := range h.ScheduleUnseen {
		s.Say("not seen, and may start it: %s", why)
	}
	switch {
	case bad > 0 && force:
		s.Warning("that starts it again, and -force calls it drained")
	case bad > 0:
		return cli.Refusedf("%q is not drained while that starts it again; take it out as told above, or give -force",
			c.Name)
	}
	return nil
}
