package steps

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"hostguard/internal/docker"
	"hostguard/runner"
	"hostguard/runner/finding"
)

// containerInputs are those of the commands that change a runner's container.
type containerInputs struct {
	name, checkout *string
	server, apply  *bool
	host           hostInputs
}

func (s *session) containerInputs(server string) containerInputs {
	in := containerInputs{
		name: s.in.text("container", runner.WrappedContainer, checkContainer), checkout: s.in.text("checkout", ".", nil),
		server: s.in.boolean(server), apply: s.in.boolean("apply"),
		host: hostInputs{dir: s.in.text("runner-dir", "", nil), owner: new(string)},
	}
	*in.server = true
	s.in.flagOnly("container", "checkout", server, "apply", "runner-dir")
	return in
}

var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

func checkContainer(name string) error {
	if !containerName.MatchString(name) {
		return errors.New("want the name of a container")
	}
	return nil
}

func runnerDrain(ctx context.Context, s *session) error {
	in := s.containerInputs("disable")
	force := s.in.boolean("force")
	timeout := s.in.duration("timeout", time.Hour, time.Second, 24*time.Hour)
	s.in.flagOnly("force", "timeout")
	if err := s.in.parse(); err != nil {
		return err
	}
	h := s.lookAtHost(ctx, in.host)
	s.readSchedule(ctx, &h)
	engine, c, err := s.runnerContainer(ctx, *in.name)
	if errors.Is(err, docker.ErrNoContainer) && *in.name == runner.WrappedContainer {
		s.Say("there is no container %q", *in.name)
		s.Say("nothing to change")
		return s.checkRevivers(h, runner.Container{Name: *in.name}, *force)
	}
	if err != nil {
		return err
	}
	d := &drain{session: s, engine: engine, c: c, timeout: *timeout}
	var changes []change
	if c.Restart != "no" {
		changes = append(changes, d.setRestart("no"))
	}
	if *in.server {
		changes = append(changes, s.setDisabled(ctx, h, c, *in.checkout, true)...)
	}
	if c.Running {
		work := d.look(ctx)
		if work.err != nil {
			return work.err
		}
		s.Say("%s", work)
		changes = append(changes, d.end(work))
	}
	if err := s.carryOut(ctx, changes, *in.apply, `"hostguard runner resume -apply"`+withContainer(c)); err != nil {
		return err
	}
	if c.Running && !*in.apply {
		return s.checkRevivers(h, c, *force)
	}
	if c.Running {
		if err := d.wait(ctx); err != nil {
			return err
		}
	}
	if c, err = engine.Runner(context.WithoutCancel(ctx), c.ID); err != nil {
		return fmt.Errorf("look at the container %q: %w", c.Name, err)
	}
	s.Say("docker %s: Restart=%s Status=%s", word(c.Name), word(c.Restart), word(c.Status))
	if *in.apply && (c.Restart != "no" || c.Running) {
		return refusedf("somebody has changed the container %q meanwhile; see who does, and run it again", c.Name)
	}
	return s.checkRevivers(h, c, *force)
}

// withContainer is how a command names a container that is not the usual one.
func withContainer(c runner.Container) string {
	if c.Name == runner.WrappedContainer {
		return ""
	}
	return fmt.Sprintf(" with -container %q", c.Name)
}

// runnerContainer is the container of that name, if it is a runner's.
func (s *session) runnerContainer(ctx context.Context, name string) (*docker.Engine, runner.Container, error) {
	engine, err := docker.Connect(ctx, s.Getenv)
	if err != nil {
		return nil, runner.Container{}, err
	}
	c, err := engine.Runner(ctx, name)
	switch {
	case errors.Is(err, docker.ErrNoContainer):
		return nil, c, fmt.Errorf("container %q: %w; docker ps -a tells those that there are", name, err)
	case err != nil:
		return nil, c, fmt.Errorf("look at the container %q: %w", name, err)
	case !runner.IsRunner(c.Name, c.Image):
		return nil, c, refusedf("the container %q is of the image %.200q, which is no runner's: nothing is done to it", name, c.Image)
	case c.Status == "paused":
		return nil, c, refusedf("the container %q is paused and hears no signal; docker unpause it first", name)
	}
	s.Say("container %q %.12s: Restart=%s Status=%s, image %.200q", c.Name, c.ID, word(c.Restart), word(c.Status), c.Image)
	return engine, c, nil
}

// checkRevivers tells what would start the container again, and refuses to call
// it drained then.
func (s *session) checkRevivers(h runner.Host, c runner.Container, force bool) error {
	bad := 0
	for _, f := range runner.Revivers(h, c) {
		s.Warning("%s; %s", f.Evidence, f.Fix)
		if f.Level == finding.Bad {
			bad++
		}
	}
	if c.ComposeDir != "" {
		s.Say("docker compose up in %.200q starts it again, and makes it anew with the restart policy that its file has", c.ComposeDir)
	}
	for _, why := range h.ScheduleUnseen {
		s.Say("not seen, and may start it: %s", why)
	}
	switch {
	case bad > 0 && force:
		s.Warning("that starts it again, and -force calls it drained")
	case bad > 0:
		return refusedf("%q is not drained while that starts it again; take it out as told above, or give -force", c.Name)
	}
	return nil
}
