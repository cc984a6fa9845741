package operate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hostguard/internal/cli"
	"hostguard/runner"
)

const helpRunnerResume = `Undoes "runner drain": sets the restart policy, enables the runner at Gitea and starts
it. Refuses while the host's own runner uses the same registration: two runners with
one registration cancel each other's jobs. Prints the plan; changes nothing without
-apply, and checks after 2 seconds that the container is still running.

{inputs}

exit status: 0 done or planned, 1 refused, 2 wrong use, 3 hostguard could not do
its work, 130 or 143 interrupted.

example: hostguard runner resume -apply -restart always
`

// resumeUndo is how long a container that was just started may take to end.
const resumeUndo = 30 * time.Second

// resume is one run of runner resume.
type resume struct {
	containerOptions
	restart string

	*container
}

func (r *resume) Inputs() []cli.Input {
	return slices.Concat(r.planOptions.Inputs(), []cli.Input{
		{Name: "restart", Kind: cli.Choice(&r.restart, "no", "always", "unless-stopped", "on-failure"),
			Default: "unless-stopped", FlagOnly: true,
			Arg: "POLICY", Text: "unless-stopped, or always, on-failure, no"},
	}, r.inputs("enable"))
}

func (r *resume) Run(ctx context.Context, s *cli.Session) (err error) {
	h := r.host.look(ctx, s)
	if r.container, err = r.find(ctx, s); err != nil {
		return err
	}
	for _, f := range runner.DuplicateDaemons(h, r.c) {
		return cli.Refusedf("%s; %s, or leave %q drained", f.Evidence, f.Fix, r.c.Name)
	}
	var changes []change
	if r.c.Restart != r.restart {
		changes = append(changes, r.setRestart(r.restart))
	}
	if r.server {
		changes = append(changes, r.setDisabled(ctx, s, h, r.c, false)...)
	}
	if !r.c.Running {
		changes = append(changes, r.start())
	}
	if err := runPlan(ctx, s, changes, r.planOptions, "hostguard runner drain -apply"+withContainer(r.c)); err != nil {
		return err
	}
	_, err = r.now(ctx)
	return err
}

// start returns the change that starts the container and checks that it does not end at
// once.
func (r *resume) start() change {
	return change{
		text: fmt.Sprintf("start %q", r.c.Name),
		do: func(ctx context.Context) error {
			r.begin = time.Now()
			if err := r.engine.StartContainer(context.WithoutCancel(ctx), r.c.ID); err != nil {
				return err
			}
			first := r.look(ctx)
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(drainSettle):
			}
			w := r.look(ctx)
			if w.err == nil && (!w.c.Running || w.restarts() || w.c.Started != first.c.Started) {
				r.printLog(ctx, r.begin)
				return fmt.Errorf("the container %q ends when it is started; its log above shows why", r.c.Name)
			}
			return w.err
		},
		undo: func(ctx context.Context) error { return r.engine.StopContainer(ctx, r.c.ID, resumeUndo) },
	}
}
