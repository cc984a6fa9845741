package steps

import (
	"context"
	"fmt"
	"time"

	"hostguard/runner"
)

// resumeUndo is how long a container that was just started may take to end.
const resumeUndo = 30 * time.Second

func runnerResume(ctx context.Context, s *session) error {
	in := s.containerInputs("enable")
	restart := s.in.choice("restart", "unless-stopped", "no", "always", "unless-stopped", "on-failure")
	s.in.flagOnly("restart")
	if err := s.in.parse(); err != nil {
		return err
	}
	h := s.lookAtHost(ctx, in.host)
	engine, c, err := s.runnerContainer(ctx, *in.name)
	if err != nil {
		return err
	}
	for _, f := range runner.Rivals(h, c) {
		return refusedf("%s; %s, or leave %q drained", f.Evidence, f.Fix, c.Name)
	}
	d := &drain{session: s, engine: engine, c: c}
	var changes []change
	if c.Restart != *restart {
		changes = append(changes, d.setRestart(*restart))
	}
	if *in.server {
		changes = append(changes, s.setDisabled(ctx, h, c, *in.checkout, false)...)
	}
	if !c.Running {
		changes = append(changes, d.start())
	}
	if err := s.carryOut(ctx, changes, *in.apply, `"hostguard runner drain -apply"`+withContainer(c)); err != nil {
		return err
	}
	if c, err = engine.Runner(context.WithoutCancel(ctx), c.ID); err != nil {
		return fmt.Errorf("look at the container: %w", err)
	}
	s.Say("docker %s: Restart=%s Status=%s", word(c.Name), word(c.Restart), word(c.Status))
	return nil
}

// start starts the container, and sees that it does not end at once.
func (d *drain) start() change {
	return change{
		say: fmt.Sprintf("start %q", d.c.Name),
		do: func(ctx context.Context) error {
			d.begin = time.Now()
			if err := d.engine.StartContainer(context.WithoutCancel(ctx), d.c.ID); err != nil {
				return err
			}
			first := d.look(ctx)
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(drainCalm):
			}
			w := d.look(ctx)
			if w.err == nil && (!w.c.Running || w.restarts() || w.c.Started != first.c.Started) {
				d.sayLog(ctx, d.begin)
				return fmt.Errorf("the container %q ends when it is started; its log above tells why", d.c.Name)
			}
			return w.err
		},
		undo: func(ctx context.Context) error { return d.engine.StopContainer(ctx, d.c.ID, resumeUndo) },
	}
}
