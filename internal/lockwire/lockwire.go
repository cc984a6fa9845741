package lockwire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"hostguard/internal/actrunner"
	"hostguard/internal/bell"
	"hostguard/internal/cli"
	"hostguard/internal/docker"
	"hostguard/internal/filestore"
	"hostguard/internal/gitea"
	"hostguard/internal/proc"
	"hostguard/lock"
)

// OwnContainer finds the container that this process is in, and when that was
// started.
func OwnContainer(ctx context.Context, engine *docker.Engine, host proc.Host) (id, started string) {
	group, network, root := host.Container()
	return engine.Own(ctx, docker.Inside{Group: group, Network: network, Root: root})
}

// What the lock commands share: their inputs, the store, and who we are.

const (
	DefaultLockName = "awoooi-cd-docker-build-lock"
	BackendDocker   = "docker"
	BackendFile     = "file"
)

type Options struct{ Name, Backend *string }

func Inputs(s *cli.Session) Options {
	return Options{
		Name:    s.In.Text("lock-name", DefaultLockName, lock.CheckName),
		Backend: s.In.Choice("lock-backend", BackendDocker, BackendDocker, BackendFile),
	}
}

// Store is where locks are, and what there is to print about it.
type Store struct {
	*lock.Space
	Place     string // for people: which daemon, which directory
	local     bool   // its other clients share this machine's pids
	Exclusive bool   // it refuses a second entry of a name by itself
	Describe  func(context.Context) string
	// own is the container that this process is in, if the store runs it, and
	// when that was started.
	own func(context.Context, proc.Host) (id, started string)
	// containerName is the name of a container that it knows, else "".
	ContainerName func(context.Context, string) string
	Prunable      func() bool // a prune deletes the lock that was just taken
}

func openStore(ctx context.Context, s *cli.Session, backend string) (Store, error) {
	if backend == BackendFile {
		if (proc.Host{Proc: proc.Root}).InContainer() {
			return Store{}, cli.Usagef("lock-backend \"file\" works on the host only: in a container the lock would be a file that nobody else sees; use lock-backend \"docker\"")
		}
		files, err := filestore.Open(filestore.DefaultDir)
		if err != nil {
			return Store{}, err
		}
		files.OnReplaced = func() {
			s.Warning("lock directory %q was removed or replaced while it was in use; it has the locks that this process knows of, others may be lost", files.Dir())
		}
		return Store{
			Space: &lock.Space{Engine: files}, Place: fmt.Sprintf("the lock files in %q", files.Dir()), local: true, Exclusive: true,
			Describe: func(context.Context) string {
				return fmt.Sprintf("lock files in %q; Docker's locks are not seen", files.Dir())
			},
			own:           func(context.Context, proc.Host) (id, started string) { return "", "" },
			ContainerName: func(context.Context, string) string { return "" },
			Prunable:      func() bool { return false },
		}, nil
	}
	engine, err := docker.Connect(ctx, s.Getenv)
	if errors.Is(err, docker.ErrUsage) {
		return Store{}, cli.WithStatus(cli.StatusUsage, err)
	}
	if errors.Is(err, docker.ErrNoDaemon) {
		return Store{}, fmt.Errorf("%w; on a host without Docker give lock-backend file", err)
	}
	if err != nil {
		return Store{}, err
	}
	return Store{
		Space: &lock.Space{Engine: engine}, Place: fmt.Sprintf("the Docker daemon at %q", engine.Address()),
		local: engine.Local(), Exclusive: engine.Exclusive(),
		Describe: func(ctx context.Context) string {
			d, err := engine.Describe(ctx)
			if err != nil {
				return fmt.Sprintf("engine %q, API %q", engine.Address(), engine.API)
			}
			return fmt.Sprintf("engine %q, %s, API %q", engine.Address(), d, engine.API)
		},
		own: func(ctx context.Context, host proc.Host) (id, started string) {
			return OwnContainer(ctx, engine, host)
		},
		ContainerName: engine.ContainerName,
		Prunable:      engine.Prunable,
	}, nil
}

// FirstLook is how long an acquire waits for a daemon that cannot be reached at
// its first look: it may be restarting. Later it waits as long as for the lock.
const FirstLook = 10 * time.Second

// slowLook is when a look that has no answer is reported.
const slowLook = 3 * time.Second

// statusPatience is how long status waits for a Gitea that is asked whether runs go on.
const statusPatience = 3 * time.Second

// Open is the lock as this process sees it. It tries again for patience where no
// daemon can be reached, and reports that.
func Open(ctx context.Context, s *cli.Session, in Options, patience time.Duration) (*lock.Mutex, Store, error) {
	engine, err := openPatiently(ctx, s, *in.Backend, patience)
	if err != nil {
		return nil, Store{}, err
	}
	host := proc.Host{Proc: proc.Root}
	engine.Host, engine.Bell, engine.Self = host, bell.Bell{}, newHolder(ctx, s, host, engine)
	// A token is no input: it must not get into a command line or a log.
	if token, server := s.Getenv("GITEA_TOKEN"), engine.Self.Job.Server; token != "" && server != "" && s.Getenv("GITEA_ACTIONS") == "true" {
		patience := time.Duration(0)
		if s.Name == "status" { // asks once
			patience = statusPatience
		}
		engine.Runs = gitea.New(server, token, patience)
	}
	return engine.Lock(*in.Name), engine, nil
}

func openPatiently(ctx context.Context, s *cli.Session, backend string, patience time.Duration) (engine Store, err error) {
	if patience == 0 {
		return openStore(ctx, s, backend)
	}
	begin, reported := time.Now(), false
	for {
		failed := err
		done := make(chan struct{})
		go func() {
			defer close(done)
			engine, err = openStore(ctx, s, backend)
		}()
		select {
		case <-done:
		case <-time.After(slowLook):
			s.Say("the store has not answered for %s; still waiting", cli.Short(slowLook))
			reported = true
			<-done
		}
		switch {
		case err == nil || cli.StatusOf(err) != cli.StatusFailed:
			return engine, err
		case ctx.Err() != nil && failed != nil: // there was no time for this last look
			return engine, failed
		case ctx.Err() != nil || time.Since(begin) >= patience:
			return engine, err
		case !reported:
			s.Say("%s; trying again for up to %s", err, cli.Short(patience))
			reported = true
		}
		select {
		case <-ctx.Done():
			return engine, err
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// self is who asks for the lock. It goes into labels that everyone can read.
func newHolder(ctx context.Context, s *cli.Session, host proc.Host, engine Store) lock.Claim {
	h := lock.Claim{
		Nonce:      lock.NewNonce(),
		Place:      host.Place(),
		Process:    host.Process(os.Getpid()),
		JobDir:     JobDir(s.Getenv),
		Workspace:  s.Getenv("GITHUB_WORKSPACE"),
		StaleAfter: lock.DefaultStaleAfter,
		Job: lock.Job{
			Server:     s.Getenv("GITHUB_SERVER_URL"),
			Repository: s.Getenv("GITHUB_REPOSITORY"),
			Workflow:   s.Getenv("GITHUB_WORKFLOW"),
			Job:        s.Getenv("GITHUB_JOB"),
			RunID:      s.Getenv("GITHUB_RUN_ID"),
			RunNumber:  s.Getenv("GITHUB_RUN_NUMBER"),
			Attempt:    s.Getenv("GITHUB_RUN_ATTEMPT"),
			Actor:      s.Getenv("GITHUB_ACTOR"),
			Event:      s.Getenv("GITHUB_EVENT_NAME"),
			RunnerName: s.Getenv("RUNNER_NAME"),
			Task:       actrunner.TaskOfToken(s.Getenv("ACTIONS_RUNTIME_TOKEN")),
			RunURL:     runURL(s.Getenv),
		},
	}
	h.Actions = lock.HasActions(h.JobDir)
	// A runner of many jobs says nothing without this job's directory, which
	// sudo drops from the environment.
	runner, step, oneJob := host.Runner()
	if oneJob || h.JobDir != "" {
		h.Runner = runner
	}
	h.Step, h.Cgroup = step, host.Cgroup()
	if oneJob && h.JobDir == "" {
		h.Tracking = s.Getenv(lock.TrackingVariable)
	}
	if !engine.local {
		h.Place.Machine, h.Place.Local = "", false // who reads it may be on another machine
	}
	h.Container, h.Started = engine.own(ctx, host)
	if s.Getenv("GITHUB_ACTIONS") == "" {
		h.Parent = host.Parent()
	}
	return h
}

// runURL is the page of this job's run, or "".
//
// Gitea up to 1.25, and Forgejo, look a page up by the run's number in its
// repository; Gitea from 1.26 on by its ID first, which may be the number of
// another run. What asks for the number there, older ones ignore. A server that
// declares capabilities to its runner is 1.27 or later.
func runURL(getenv func(string) string) string {
	id, number := getenv("GITHUB_RUN_ID"), getenv("GITHUB_RUN_NUMBER")
	page := id
	switch {
	case getenv("FORGEJO_ACTIONS") == "true":
		page = cmp.Or(number, id)
	case getenv("GITEA_ACTIONS") == "true":
		page = cmp.Or(getenv("GITEA_RUN_ID"), id)
		if number != "" && (getenv("GITEA_RUN_ID") == "" || getenv("GITEA_ACTIONS_CAPABILITIES") == "") {
			page = number + "?by_index=1"
		}
	}
	server, repository := strings.TrimRight(getenv("GITHUB_SERVER_URL"), "/"), getenv("GITHUB_REPOSITORY")
	if server == "" || repository == "" || page == "" {
		return ""
	}
	return server + "/" + repository + "/actions/runs/" + page
}

// JobDir is the private directory of this job, or "".
func JobDir(getenv func(string) string) string { return actrunner.JobDir(getenv("RUNNER_TEMP")) }

// DescribeHolder is a clause about an entry, for people.
func DescribeHolder(e lock.Entry, now time.Time) string {
	h, ours := e.Claim()
	if !ours {
		return "held by an entry made without hostguard, since " + cli.Since(e.Created, now)
	}
	var b strings.Builder
	b.WriteString("held by ")
	if h.Job.Repository == "" {
		fmt.Fprintf(&b, "process %d outside any workflow", h.Process.PID)
	} else {
		fmt.Fprintf(&b, "%.200q", h.Job.Repository)
	}
	for _, part := range []struct{ word, value string }{
		{"workflow", h.Job.Workflow}, {"job", h.Job.Job}, {"run", h.Job.RunURL}, {"by", h.Job.Actor},
		{"reason", h.Reason},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, ", %s %.200q", part.word, part.value)
		}
	}
	fmt.Fprintf(&b, ", since %s", cli.Since(e.Created, now))
	return b.String()
}
