package operate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/docker"
	"hostguard/runner"
)

const (
	drainLook = time.Second      // between two looks at a container that ends
	drainTell = 30 * time.Second // between two lines when nothing changes
	drainLog  = 5                // lines of the container's log beside it
	// drainCalm is how long a container has to stay as it is: an auto-healer that
	// waits for its end has started it by then.
	drainCalm = 2 * time.Second
)

// container is the container of a runner, and a command's way to it.
type container struct {
	*cli.Session
	engine *docker.Engine
	c      runner.Container // as it was at first
	begin  time.Time        // when it was told something
}

// working is what keeps a container.
type working struct {
	c     runner.Container
	tasks []string         // containers of jobs, which may be another runner's
	jobs  []runner.Process // its own
	known bool             // jobs are all of them
	err   error
}

func (d *container) look(ctx context.Context) (w working) {
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

// restarts reports that nothing runs until Docker starts it again, for which the
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
		parts = append(parts, fmt.Sprintf("%d processes beside its daemon, such as %.100q", len(w.jobs),
			strings.Join(w.jobs[0].Argv, " ")))
	}
	if parts == nil {
		parts = []string{"no task"}
	}
	return fmt.Sprintf("container %q runs: %s", w.c.Name, strings.Join(parts, "; "))
}

// setRestart is not cut short by an interruption: what was sent might take effect
// after it was taken back.
func (d *container) setRestart(policy string) change {
	return change{
		say: fmt.Sprintf("set the restart policy of %q to %s (is %s)", d.c.Name, policy, cli.Word(d.c.Restart)),
		do: func(ctx context.Context) error {
			return d.engine.SetRestart(context.WithoutCancel(ctx), d.c.ID, policy)
		},
		undo: func(ctx context.Context) error { return d.engine.SetRestart(ctx, d.c.ID, d.c.Restart) },
	}
}

// sayLog says what the container has said since then, or since it was told to end.
func (d *container) sayLog(ctx context.Context, since time.Time) {
	if since.IsZero() {
		since = d.begin
	}
	lines, _ := d.engine.LastLog(ctx, d.c.ID, since, drainLog) // not all drivers can be read
	for _, l := range lines {
		d.Say("  log %.500q", l)
	}
}

// containerOptions are the inputs of the commands that change a runner's container.
type containerOptions struct {
	host           hostOptions
	name, checkout string
	server, apply  bool
}

// inputs is the table of the options; server is the word for the change at Gitea.
func (o *containerOptions) inputs(server string) []cli.Input {
	return []cli.Input{
		{Name: server, Kind: cli.Bool(&o.server), Default: "true", FlagOnly: true, Text: "leave it as it is at Gitea"},
		{Name: "container", Kind: cli.Text(&o.name, checkContainer), Default: runner.WrappedContainer, FlagOnly: true,
			Arg:  "NAME",
			Text: "another than the default has to be of a runner's image"},
		runnerDir(&o.host.dir),
		checkoutInput(&o.checkout, `. Its remote "gitea", else "origin", names the server. The token is `+
			"GITEA_TOKEN, else that of the remote's URL, and needs write access to the runner"),
	}
}

var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

func checkContainer(name string) error {
	if !containerName.MatchString(name) {
		return errors.New("want the name of a container")
	}
	return nil
}

// withContainer is how a command names a container that is not the usual one.
func withContainer(c runner.Container) string {
	if c.Name == runner.WrappedContainer {
		return ""
	}
	return fmt.Sprintf(" with -container %q", c.Name)
}

// find looks for the container that the options name. It has to be a runner's.
func (o *containerOptions) find(ctx context.Context, s *cli.Session) (*container, error) {
	engine, err := docker.Connect(ctx, s.Getenv)
	if err != nil {
		return nil, err
	}
	c, err := engine.Runner(ctx, o.name)
	switch {
	case errors.Is(err, docker.ErrNoContainer):
		return nil, fmt.Errorf("container %q: %w; docker ps -a tells those that there are", o.name, err)
	case err != nil:
		return nil, fmt.Errorf("look at the container %q: %w", o.name, err)
	case !runner.IsRunner(c.Name, c.Image):
		return nil, cli.Refusedf("the container %q is of the image %.200q, which is no runner's: nothing is done to "+
			"it", o.name, c.Image)
	case c.Status == "paused":
		return nil, cli.Refusedf("the container %q is paused and hears no signal; docker unpause it first", o.name)
	}
	s.Say("container %q %.12s: Restart=%s Status=%s, image %.200q", c.Name, c.ID, cli.Word(c.Restart),
		cli.Word(c.Status), c.Image)
	return &container{Session: s, engine: engine, c: c}, nil
}

// now looks how the container is in the end, and prints it.
func (d *container) now(ctx context.Context) (runner.Container, error) {
	c, err := d.engine.Runner(context.WithoutCancel(ctx), d.c.ID)
	if err != nil {
		return c, fmt.Errorf("look at the container %q: %w", d.c.Name, err)
	}
	d.Say("docker %s: Restart=%s Status=%s", cli.Word(c.Name), cli.Word(c.Restart), cli.Word(c.Status))
	return c, nil
}
