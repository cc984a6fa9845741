package lockwire

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/gitea"
	"hostguard/internal/turnstile"
	"hostguard/lock"
)

// reapTime bounds how long a command gives back what is left of dead holders of this
// machine before it does its own work.
const reapTime = 3 * time.Second

// reapers are the commands that do so; the observer does from time to time. status and the
// like change nothing.
var reapers = []string{"acquire-lock", "with-lock", "release-lock", "hostguard-job-completed", "hostguard-post-task"}

func openSwarm(ctx context.Context, s *cli.Session) (*Store, error) {
	engine, err := connect(ctx, s)
	if err != nil {
		return nil, err
	}
	configs, err := engine.Configs(ctx)
	if err != nil {
		return nil, err
	}
	claim := self(s.Getenv)
	if claim.Place.Local = false; !engine.Local() {
		claim.Place.Machine = ""
	}
	claim.Container, claim.Started = OwnContainer(ctx, engine)
	store := shared(s, configs, claim)
	store.Name = fmt.Sprintf("the swarm of the Docker daemon at %q", engine.Address())
	store.Exclusive = true
	store.Where = fmt.Sprintf("%s; locks that are no configs are not seen", store.Name)
	store.ContainerName = engine.ContainerName
	store.reap(ctx, s)
	return store, nil
}

func openGitea(ctx context.Context, s *cli.Session) (*Store, error) {
	at, err := ReadGiteaSettings(s.Getenv)
	if err != nil {
		return nil, err
	}
	comments, err := gitea.OpenComments(ctx, at.URL, at.Token, at.Issue)
	if err != nil {
		return nil, err
	}
	claim := self(s.Getenv)
	claim.Place.Local = false
	store := shared(s, comments, claim)
	store.Unwatched = true
	store.Exclusive = true // nobody else makes comments of this form: no plain rival is to be awaited
	store.Name = fmt.Sprintf("the comments of %s at %q", at.Issue, at.URL)
	store.Where = fmt.Sprintf("%s; Docker's locks are not seen", store.Name)
	store.reap(ctx, s)
	return store, nil
}

// GiteaSettings are where the locks of lock-backend gitea are, for all jobs of a host.
type GiteaSettings struct {
	URL   string
	Token gitea.Token
	Issue gitea.Issue // zero if it is not set
}

// GiteaIssue is the variable that names the issue.
const GiteaIssue = "HOSTGUARD_GITEA_ISSUE"

const (
	giteaURL   = "HOSTGUARD_GITEA_URL"
	giteaToken = "HOSTGUARD_GITEA_TOKEN"
)

// ReadGiteaSettings reads the variables of lock-backend gitea, all of which it needs.
func ReadGiteaSettings(getenv func(string) string) (GiteaSettings, error) {
	at, err := ReadGiteaServer(getenv)
	if err != nil {
		return at, err
	}
	if at.Issue, err = gitea.ParseIssue(getenv(GiteaIssue)); err != nil {
		return at, cli.Usagef("lock-backend gitea: %s=%.200q: %s; hostguard backend gitea makes one", GiteaIssue,
			getenv(GiteaIssue), err)
	}
	return at, nil
}

// ReadGiteaServer reads those of the variables that name the server.
func ReadGiteaServer(getenv func(string) string) (at GiteaSettings, err error) {
	for _, name := range []string{giteaURL, giteaToken} {
		if getenv(name) == "" {
			return at, cli.Usagef("lock-backend gitea needs %s in the environment, such as in the runner's envs; see "+
				"docs/hosts.md", name)
		}
	}
	server, err := url.Parse(getenv(giteaURL))
	if err != nil || server.Scheme != "http" && server.Scheme != "https" || server.Host == "" || server.User != nil {
		return at, cli.Usagef("lock-backend gitea: %s is not the address of a server, such as https://git.example.com",
			giteaURL)
	}
	at.URL, at.Token = strings.TrimRight(getenv(giteaURL), "/"), gitea.NewToken(getenv(giteaToken))
	return at, nil
}

// shared returns a store of several machines. Of this machine's own holders the processes
// are proof, if its machine id is known; of a job elsewhere its run is.
func shared(s *cli.Session, engine lock.Engine, claim lock.Claim) *Store {
	all := space(s, engine, claim)
	all.Shared = true
	all.Turnstile = turnstile.Turnstile{}
	if at, err := ReadGiteaServer(s.Getenv); err == nil {
		all.Runs, all.Server = gitea.New(at.URL, s.Getenv(giteaToken), patienceOf(s)), at.URL
	}
	store := &Store{
		Space:         all,
		ContainerName: func(context.Context, string) string { return "" },
		Prunable:      func() bool { return false },
		Podman:        func(context.Context) string { return "" },
	}
	store.Identity = func(context.Context) string { return store.Where }
	return store
}

func (store *Store) reap(ctx context.Context, s *cli.Session) {
	if slices.Contains(reapers, s.Name) {
		store.GiveBackDead(ctx, s)
	}
}

// GiveBackDead gives back what the dead of this machine have left, and reports it: no other
// machine can see that they are.
func (store *Store) GiveBackDead(ctx context.Context, s *cli.Session) {
	ctx, cancel := context.WithTimeout(ctx, reapTime)
	defer cancel()
	reaped, _ := store.Reap(ctx) // whoever needs the lock reports a store that does not answer
	for _, j := range reaped {
		s.Notice("gave back lock %q, %s: its holder was on this machine, and %s", j.Lock(),
			DescribeHolder(j.Entry, time.Now()), cmp.Or(j.Verdict.Evidence, "is gone"))
	}
}
