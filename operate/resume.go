package operate

import (
	"context"
	"fmt"
	"time"

	"hostguard/internal/cli"
	"hostguard/runner"
)

const helpRunnerResume = `usage: hostguard runner resume [-apply] [-container NAME]
         [-restart unless-stopped] [-enable=false] [-checkout DIR]
         [-runner-dir DIR]

Undoes "runner drain": restart policy, enabled at Gitea, started. Refuses while the
host's own runner works by the same registration: two on one cancel each other's
jobs. Prints the plan; changes nothing without -apply, and waits 2 seconds
whether the container runs on.

  -apply           make the changes
  -restart POLICY  unless-stopped, the default, or always, on-failure, no
  -enable=false    leave it as it is at Gitea
` + helpContainerInputs + `
exit status: 0 done or planned, 1 refused, 2 wrong use, 3 hostguard could not do
its work, 130 or 143 interrupted.

example: hostguard runner resume -apply -restart always
`

// resumeUndo is how long a container that was just started may take to end.
const resumeUndo = 30 * time.Second

func runnerResume(ctx context.Context, s *cli.Session) error {
	in := newContainerInputs(s, "enable")
	restart := s.In.Choice("restart", "unless-stopped", "no", "always", "unless-stopped", "on-failure")
	s.In.FlagOnly("restart")
	if err := s.In.Parse(); err != nil {
		return err
	}
	h := lookAtHost(ctx, s, in.host)
	engine, c, err := runnerContainer(ctx, s, *in.name)
	if err != nil {
		return err
	}
	for _, f := range runner.Rivals(h, c) {
		return cli.Refusedf("%s; %s, or leave %q drained", f.Evidence, f.Fix, c.Name)
	}
	d := &drain{Session: s, engine: engine, c: c}
	var changes []change
	if c.Restart != *restart {
		changes = append(changes, d.setRestart(*restart))
	}
	if *in.server {
		changes = append(changes, setDisabled(ctx, s, h, c, *in.checkout, false)...)
	}
	if !c.Running {
		changes = append(changes, d.start())
	}
	if err := carryOut(ctx, s, changes, *in.apply, `"hostguard runner drain -apply"`+withContainer(c)); err != nil {
		return err
	}
	if c, err = engine.Runner(context.WithoutCancel(ctx), c.ID); err != nil {
		return fmt.Errorf("look at the container: %w", err)
	}
	s.Say("docker %s: Restart=%s Status=%s", cli.Word(c.Name), cli.Word(c.Restart), cli.Word(c.Status))
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
