// Package gitea asks the Gitea server that a job comes from.
//
// Only the server that the job's own environment names is ever asked, and it
// alone gets the token: no redirect is followed. A server that is slow, refuses,
// is too old or answers something else makes an unknown, never a wrong answer.
package gitea

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"code.gitea.io/sdk/gitea"

	"hostguard/lock"
)

var _ lock.Runs = (*Server)(nil)

const (
	requestTime = 10 * time.Second
	freshFor    = 10 * time.Second // an answer; waiters look every second
	// grace is how long a run must have ended to count as ended: the server reports
	// "cancelled" up to 9 s before the runner kills the processes.
	grace = time.Minute
)

// Server is one Gitea server.
type Server struct {
	url, token string
	patience   time.Duration

	mu   sync.Mutex
	jobs map[lock.Job]*inquiry
}

// inquiry is the last answer about a job, and a request that is under way.
type inquiry struct {
	life     lock.Life
	evidence string
	at       time.Time
	underWay chan struct{}
}

// New returns a Server without a request to it. patience is how long Run may wait for
// an answer that it does not have: a slow server must not hold up a waiter.
func New(url, token string, patience time.Duration) *Server {
	return &Server{url: url, token: token, patience: patience, jobs: map[lock.Job]*inquiry{}}
}

// Run implements lock.Runs. While an answer is under way it returns the last one.
func (s *Server) Run(ctx context.Context, job lock.Job) (lock.Life, string) {
	s.mu.Lock()
	q := s.jobs[job]
	if q == nil {
		q = &inquiry{evidence: fmt.Sprintf("%q has not answered yet whether its run is still running", s.url)}
		s.jobs[job] = q
	}
	if q.underWay == nil && time.Since(q.at) > freshFor {
		q.underWay = make(chan struct{})
		go s.inquire(context.WithoutCancel(ctx), job, q)
	}
	answered := q.underWay
	s.mu.Unlock()

	if answered != nil {
		select {
		case <-answered:
		case <-time.After(s.patience):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return q.life, q.evidence
}

func (s *Server) inquire(ctx context.Context, job lock.Job, q *inquiry) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	life, evidence := s.ask(ctx, job)
	s.mu.Lock()
	defer s.mu.Unlock()
	q.life, q.evidence, q.at = life, evidence, time.Now()
	close(q.underWay)
	q.underWay = nil
}

// ask asks for the run, and while that is running for its job: the other jobs of the
// run may go on without it.
func (s *Server) ask(ctx context.Context, job lock.Job) (lock.Life, string) {
	owner, repo, found := strings.Cut(job.Repository, "/")
	id, err := strconv.ParseInt(job.RunID, 10, 64)
	if !found || err != nil || id <= 0 {
		return lock.Unknown, "its labels do not name its run"
	}
	client, forgejo, err := s.client(ctx)
	if err != nil {
		return s.unknown(err)
	}
	if forgejo {
		return s.askForgejo(ctx, owner, repo, id)
	}
	run, response, err := client.GetRepoActionRun(owner, repo, id)
	if err != nil {
		return s.unknown(err)
	}
	if run.ID != id {
		return s.unknown(errAnotherRun)
	}
	if run.Status == "completed" {
		return ended("run", run.CompletedAt, response)
	}
	list, response, err := client.ListRepoActionRunJobs(owner, repo, id,
		gitea.ListRepoActionJobsOptions{ListOptions: gitea.ListOptions{PageSize: 50}})
	if err != nil {
		return s.unknown(err)
	}
	running, last := 0, time.Time{}
	legs := 0 // of a matrix share the name
	for _, j := range list.Jobs {
		if j.Name != job.Job {
			continue
		}
		legs++
		switch j.Status {
		case "in_progress":
			running++
		case "completed":
			if j.CompletedAt.After(last) {
				last = j.CompletedAt
			}
		default:
			return lock.Unknown, "a job with its name has yet to run"
		}
	}
	switch {
	case int64(len(list.Jobs)) < list.TotalCount:
		return lock.Unknown, "its run is still running, and has more jobs than one answer lists"
	case legs == 0:
		return lock.Unknown, "its run is still running, but has no job with its name"
	case running == legs:
		return lock.Alive, "its job is still running"
	case running > 0:
		return lock.Unknown, "some jobs with its name are still running, others have ended"
	}
	return ended("job", last, response)
}

func (s *Server) unknown(err error) (lock.Life, string) {
	return lock.Unknown, fmt.Sprintf("%q does not report whether its run is still running: %.200q", s.url, err)
}

// ended judges a job or run that has ended, by the server's clock alone.
func ended(what string, at time.Time, response *gitea.Response) (lock.Life, string) {
	now, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil || at.Unix() <= 0 { // unset times are 1970-01-01
		return lock.Unknown, "its " + what + " has ended, but the server does not report when"
	}
	since := now.Sub(at)
	if since <= grace {
		return lock.Unknown, fmt.Sprintf("its %s ended less than %s ago: its processes may live", what, grace)
	}
	return lock.Dead, fmt.Sprintf("its %s ended %s ago", what, since.Round(time.Second))
}

var errAnotherRun = errors.New("the answer is about another run")

// client returns a client of the server, whose version it asks for.
func (s *Server) client(ctx context.Context) (client *gitea.Client, forgejo bool, err error) {
	use := func(version string) (*gitea.Client, error) {
		return gitea.NewClient(s.url, gitea.SetContext(ctx), gitea.SetToken(s.token),
			gitea.SetHTTPClient(throttledClient(s.token)), gitea.SetGiteaVersion(version))
	}
	if client, err = use(""); err != nil {
		return nil, false, err
	}
	version, _, err := client.ServerVersion()
	if err != nil {
		return nil, false, err
	}
	own, api := forgejoVersion(version)
	client, err = use(cmp.Or(api, "none"))
	return client, own != "", err
}
