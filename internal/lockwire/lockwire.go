// Package lockwire opens the store in which a command looks for locks, and describes
// its process and job. The differences between kinds of store end here.
package lockwire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hostguard/internal/bell"
	"hostguard/internal/cli"
	"hostguard/internal/docker"
	"hostguard/internal/filestore"
	"hostguard/internal/gitea"
	"hostguard/internal/proc"
	"hostguard/internal/turnstile"
	"hostguard/lock"
)

const (
	DefaultLockName = "awoooi-cd-docker-build-lock"
	BackendDocker   = "docker"
	BackendFile     = "file"
	BackendSwarm    = "swarm"
	BackendGitea    = "gitea"
)

// Options name a lock and the store that it is in.
type Options struct{ Lock, Backend string }

// Inputs returns the table of the options.
func (o *Options) Inputs() []cli.Input {
	return []cli.Input{
		{Name: "lock-name", Kind: cli.Text(&o.Lock, lock.CheckName), Default: DefaultLockName, Arg: "NAME",
			Text: "the lock"},
		backendInput(&o.Backend),
	}
}

func backendInput(backend *string) cli.Input {
	return cli.Input{Name: "lock-backend", Kind: cli.Choice(backend, Backends...), Default: BackendDocker,
		Text: "file is for host jobs on a host without Docker; swarm and gitea are for several machines"}
}

// Store is where locks are, and what there is to print about it.
type Store struct {
	*lock.Space
	Name          string                                      // for people: which daemon, which directory
	Exclusive     bool                                        // it refuses a second entry of a name by itself
	Where         string                                      // a line of a log
	Identity      func(context.Context) string                // that line with what tells the store from any other
	ContainerName func(ctx context.Context, id string) string // "" if it knows no such container
	Prunable      func() bool                                 // a prune deletes the lock that was just taken
	Podman        func(context.Context) string                // its version, if it is Podman
}

// FirstLook is how long an acquire waits for a daemon that it cannot reach at its
// first look: it may be restarting. Later it waits as long as for the lock.
const FirstLook = 10 * time.Second

// slowLook is how long a look may have no answer before that is reported.
const slowLook = 3 * time.Second

// statusPatience is how long status, which asks once, waits for a Gitea to answer
// whether runs are still running.
const statusPatience = 3 * time.Second

// Open opens a store. Where no daemon can be reached it retries for patience, and
// reports that.
func Open(ctx context.Context, s *cli.Session, backend string, patience time.Duration) (store *Store, err error) {
	open := map[string]func(context.Context, *cli.Session) (*Store, error){
		BackendDocker: openDocker, BackendFile: openFiles, BackendSwarm: openSwarm, BackendGitea: openGitea,
	}[backend]
	if patience == 0 {
		return open(ctx, s)
	}
	begin, reported := time.Now(), false
	for {
		failed := err
		done := make(chan struct{})
		go func() {
			defer close(done)
			store, err = open(ctx, s)
		}()
		select {
		case <-done:
		case <-time.After(slowLook):
			s.Print("the store has not answered for %s; still waiting", cli.Short(slowLook))
			reported = true
			<-done
		}
		switch {
		case err == nil || cli.StatusOf(err) != cli.StatusFailed || errors.Is(err, lock.ErrRefused):
			return store, err
		case ctx.Err() != nil && failed != nil: // there was no time for this last look
			return nil, failed
		case ctx.Err() != nil || time.Since(begin) >= patience:
			return nil, err
		case !reported:
			s.Print("%s; trying again for up to %s", err, cli.Short(patience))
			reported = true
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func openFiles(_ context.Context, s *cli.Session) (*Store, error) {
	if proc.Local().InContainer() {
		return nil, cli.Usagef("lock-backend \"file\" works on the host only: in a container the lock would be a " +
			"file that nobody else sees; use lock-backend \"docker\"")
	}
	files, err := filestore.Open(filestore.DefaultDir)
	if err != nil {
		return nil, err
	}
	files.OnReplaced = func() {
		s.Warning("lock directory %q was removed or replaced while it was in use; it has the locks that this process "+
			"knows of, others may be lost", files.Dir())
	}
	files.OnFlooded = func(uid uint32, n int) {
		s.Warning("lock directory %q is flooded: user %d has %d files in it, and not all of them are read; locks "+
			"exclude as ever, but the order of waiting jobs may be lost; have that user's files removed",
			files.Dir(), uid, n)
	}
	where := fmt.Sprintf("lock files in %q; Docker's locks are not seen", files.Dir())
	return &Store{
		Space: space(s, files, self(s.Getenv)), Name: fmt.Sprintf("the lock files in %q", files.Dir()), Exclusive: true,
		Where: where, Identity: func(context.Context) string { return where },
		ContainerName: func(context.Context, string) string { return "" },
		Prunable:      func() bool { return false },
		Podman:        func(context.Context) string { return "" },
	}, nil
}

func connect(ctx context.Context, s *cli.Session) (*docker.Engine, error) {
	engine, err := docker.Connect(ctx, s.Getenv)
	if errors.Is(err, docker.ErrUsage) {
		return nil, cli.WithStatus(cli.StatusUsage, err)
	}
	return engine, err
}

func openDocker(ctx context.Context, s *cli.Session) (*Store, error) {
	engine, err := connect(ctx, s)
	switch {
	case errors.Is(err, docker.ErrNoDaemon) && s.Takes("lock-backend"):
		return nil, fmt.Errorf("%w; on a host without Docker give lock-backend file", err)
	case err != nil:
		return nil, err
	}
	claim := self(s.Getenv)
	if !engine.Local() {
		claim.Place.Machine, claim.Place.Local = "", false // the daemon's other clients may be on another machine
	}
	claim.Container, claim.Started = OwnContainer(ctx, engine)
	all := space(s, engine, claim)
	all.Turnstile = turnstile.Turnstile{}
	return &Store{
		Space: all, Name: fmt.Sprintf("the Docker daemon at %q", engine.Address()),
		Exclusive: engine.Exclusive(), ContainerName: engine.ContainerName, Prunable: engine.Prunable,
		Podman: engine.Podman,
		Where:  fmt.Sprintf("engine %q, API %q", engine.Address(), engine.API),
		Identity: func(ctx context.Context) string {
			d, err := engine.Describe(ctx)
			if err != nil {
				return fmt.Sprintf("engine %q, API %q", engine.Address(), engine.API)
			}
			return fmt.Sprintf("engine %q, %s, API %q", engine.Address(), d, engine.API)
		},
	}, nil
}

// space returns where this process looks for the locks of a store.
func space(s *cli.Session, engine lock.Engine, self lock.Claim) *lock.Space {
	var runs lock.Runs
	// A token is not an input: it must not get into a command line or a log.
	token, server := s.Getenv("GITEA_TOKEN"), self.Job.Server
	if token != "" && server != "" && s.Getenv("GITEA_ACTIONS") == "true" {
		runs = gitea.New(server, token, patienceOf(s))
	}
	return &lock.Space{Engine: engine, Host: proc.Local(), Runs: runs, Bell: bell.Bell{}, Self: self}
}

// patienceOf returns how long a command waits for a Gitea.
func patienceOf(s *cli.Session) time.Duration {
	if s.Name == "status" {
		return statusPatience
	}
	return 0
}
