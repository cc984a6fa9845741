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
	"hostguard/runner/shell"
)

const (
	drainLook   = time.Second      // between two looks at a container that is ending
	drainReport = 30 * time.Second // between two lines if nothing changes
	drainLog    = 5                // lines of the container's log after each
	// drainSettle is how long a container must stay as it is: an auto-healer that
	// waits for its end has started it by then.
	drainSettle = 2 * time.Second
)

// container is the container of a runner, as a command reaches it.
type container struct {
	*cli.Session
	engine *docker.Engine
	c      runner.Container // at first
	begin  time.Time        // of the last signal or start
}

// working is what keeps a container busy.
type working struct {
	c     runner.Container
	tasks []string         // containers of jobs, perhaps of another runner
	jobs  []runner.Process // in the container itself
	known bool             // whether jobs is complete
	err   error
}

func (d *container) look(ctx context.Context) (w working) {
	if w.c, w.err = d.engine.Runner(ctx, d.c.ID); w.err != nil || !w.c.Running || w.restarts() {
		return w
	}
	if w.tasks, w.err = d.engine.Tasks(ctx); w.err != nil {
		return w
	}
	if processes, err := d.engine.ContainerProcesses(ctx, d.c.ID); err == nil { // else it may just have ended
		w.jobs, w.known = runner.OwnJobs(processes)
	}
	return w
}

// restarts reports whether the container has ended and Docker is about to start it
// again, which the daemon shows as Running=true.
func (w working) restarts() bool { return w.c.Status == "restarting" }

// idle reports whether certainly no job would be cut off.
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
		parts = append(parts, fmt.Sprintf("processes beside its daemon: %d, such as %.100q", len(w.jobs),
			strings.Join(w.jobs[0].Argv, " ")))
	}
	if parts == nil {
		parts = []string{"no task"}
	}
	return fmt.Sprintf("container %q runs: %s", w.c.Name, strings.Join(parts, "; "))
}

// setRestart returns the change of the restart policy. An interruption does not cancel
// the request: it might still take effect after it is undone.
func (d *container) setRestart(policy string) change {
	return change{
		text: fmt.Sprintf("set the restart policy of %q to %s (is %s)", d.c.Name, policy, cli.Word(d.c.Restart)),
		do: func(ctx context.Context) error {
			return d.engine.SetRestart(context.WithoutCancel(ctx), d.c.ID, policy)
		},
		undo: func(ctx context.Context) error { return d.engine.SetRestart(ctx, d.c.ID, d.c.Restart) },
	}
}

// printLog prints the container's log since a time, or else since the signal to end.
func (d *container) printLog(ctx context.Context, since time.Time) {
	if since.IsZero() {
		since = d.begin
	}
	lines, _ := d.engine.LastLog(ctx, d.c.ID, since, drainLog) // not every log driver can be read
	for _, l := range lines {
		d.Print("  log %.500q", l)
	}
}

// containerOptions are the inputs of the commands that change a runner's container.
type containerOptions struct {
	host           hostOptions
	name, checkout string
	server         bool
	planOptions
}

// inputs returns the table of the options; server is the name of the change at Gitea.
func (o *containerOptions) inputs(server string) []cli.Input {
	return []cli.Input{
		{Name: server, Kind: cli.Bool(&o.server), Default: "true", FlagOnly: true, Text: "change nothing at Gitea"},
		{Name: "container", Kind: cli.Text(&o.name, checkContainer), Default: runner.WrappedContainer, FlagOnly: true,
			Arg:  "NAME",
			Text: "any other container than the default must be a runner's, by its image or by what runs in it"},
		runnerDir(&o.host.dir),
		checkoutInput(&o.checkout, `. Its remote "gitea", else "origin", names the server. The token is `+
			"GITEA_TOKEN, else that of the remote's URL, and needs write access to the runner"),
	}
}

var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

func checkContainer(name string) error {
	if !containerName.MatchString(name) {
		return errors.New("must be the name of a container")
	}
	return nil
}

// withContainer returns the flag for a container that is not the default.
func withContainer(c runner.Container) string {
	if c.Name == runner.WrappedContainer {
		return ""
	}
	return " -container " + shell.Quote(c.Name)
}

// find returns the container that the options name. It must be a runner's.
func (o *containerOptions) find(ctx context.Context, s *cli.Session) (*container, error) {
	engine, err := docker.Connect(ctx, s.Getenv)
	if err != nil {
		return nil, err
	}
	c, err := engine.Runner(ctx, o.name)
	switch {
	case errors.Is(err, docker.ErrNoContainer):
		return nil, fmt.Errorf("container %q: %w; docker ps -a lists all containers", o.name, err)
	case err != nil:
		return nil, fmt.Errorf("inspect container %q: %w", o.name, err)
	case !o.isRunner(ctx, engine, c):
		return nil, cli.Refusedf("the container %q has the image %.200q, which is not a runner's, nor does one run in "+
			"it: it is not touched", o.name, c.Image)
	case c.Status == "paused":
		return nil, cli.Refusedf("the container %q is paused and receives no signal; docker unpause it first", o.name)
	}
	s.Print("container %q %.12s: Restart=%s Status=%s, image %.200q", c.Name, c.ID, cli.Word(c.Restart),
		cli.Word(c.Status), c.Image)
	return &container{Session: s, engine: engine, c: c}, nil
}

// isRunner reports whether a container is a runner's, or may be.
func (o *containerOptions) isRunner(ctx context.Context, engine *docker.Engine, c runner.Container) bool {
	if c.RunsRunner() {
		return true
	}
	if processes, err := engine.ContainerProcesses(ctx, c.ID); err == nil && c.Running {
		c.Processes = [][]string{}
		for _, p := range processes {
			c.Processes = append(c.Processes, p.Argv)
		}
	}
	o.host.resolveMounts(ctx, c)
	c.Registration = o.host.files.HasRegistration(ctx, c.Mounts)
	return c.RunsRunner() || c.MayRunRunner()
}

// now returns the present state of the container, and prints it.
func (d *container) now(ctx context.Context) (runner.Container, error) {
	c, err := d.engine.Runner(context.WithoutCancel(ctx), d.c.ID)
	if err != nil {
		return c, fmt.Errorf("inspect container %q: %w", d.c.Name, err)
	}
	d.Print("docker %s: Restart=%s Status=%s", cli.Word(c.Name), cli.Word(c.Restart), cli.Word(c.Status))
	return c, nil
}
