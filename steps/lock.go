package steps

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hostguard/internal/actrunner"
	"hostguard/internal/bell"
	"hostguard/internal/docker"
	"hostguard/internal/filestore"
	"hostguard/internal/gitea"
	"hostguard/internal/proc"
	"hostguard/lock"
)

// What the lock commands share: their inputs, the store, and who we are.

const (
	defaultLockName = "awoooi-cd-docker-build-lock"
	backendDocker   = "docker"
	backendFile     = "file"
	maxReason       = 1000 // characters; the reason is shown to everyone who waits
)

type lockInputs struct{ name, backend *string }

func (s *session) lockInputs() lockInputs {
	return lockInputs{
		name:    s.in.text("lock-name", defaultLockName, lock.CheckName),
		backend: s.in.choice("lock-backend", backendDocker, backendDocker, backendFile),
	}
}

// acquireInputs are those of acquire-lock and with-lock.
type acquireInputs struct {
	lockInputs
	timeout, staleAfter, settle *time.Duration
	reason, priority            *string
}

func (s *session) acquireInputs() acquireInputs {
	in := acquireInputs{
		lockInputs: s.lockInputs(),
		timeout:    s.in.duration("timeout", 60*time.Minute, 0, 24*time.Hour),
		staleAfter: s.in.duration("stale-after", lock.DefaultStaleAfter, time.Second, lock.MaxStaleAfter),
		settle:     s.in.duration("legacy-settle", -1, 0, time.Minute),
		priority:   s.in.choice("priority", lock.PriorityNormal, lock.PriorityNormal, lock.PriorityHigh),
		reason:     s.in.text("reason", "", checkReason),
	}
	s.in.flagOnly("legacy-settle")
	return in
}

// sayInputs prints the inputs that are not defaults, and where they come from.
func (s *session) sayInputs() {
	if sources := s.in.sources(); sources != "" {
		s.Say("inputs: %s", sources)
	}
}

// noticeOtherLock says that this is not the lock which the host names for all of
// its jobs: those that leave it to the host are not kept out.
func (s *session) noticeOtherLock() {
	for _, name := range []string{"lock-name", "lock-backend"} {
		if g, host, found := s.in.overruled(name); found {
			s.Notice("%s is %.200q (%s), but this host names %.200q (%s): jobs that name none take the host's, "+
				"and the two locks do not exclude each other", name, g.value, g.from, host, hostPrefix+variableName(name))
		}
	}
}

func checkReason(reason string) error {
	if len(reason) > maxReason {
		return fmt.Errorf("it has %d bytes; want at most %d", len(reason), maxReason)
	}
	return nil
}

// store is where locks are, and what there is to print about it.
type store struct {
	*lock.Space
	place     string // for people: which daemon, which directory
	local     bool   // its other clients share this machine's pids
	exclusive bool   // it refuses a second entry of a name by itself
	describe  func(context.Context) string
	// own is the container that this process is in, if the store runs it, and
	// when that was started.
	own func(context.Context, proc.Host) (id, started string)
	// containerName is the name of a container that it knows, else "".
	containerName func(context.Context, string) string
	prunable      func() bool // a prune deletes the lock that was just taken
}

func (s *session) openStore(ctx context.Context, backend string) (store, error) {
	if backend == backendFile {
		if (proc.Host{Proc: "/proc"}).InContainer() {
			return store{}, usagef("lock-backend \"file\" works on the host only: in a container the lock would be a file that nobody else sees; use lock-backend \"docker\"")
		}
		files, err := filestore.Open(filestore.DefaultDir)
		if err != nil {
			return store{}, err
		}
		files.OnReplaced = func() {
			s.Warning("lock directory %q was removed or replaced while it was in use; it has the locks that this process knows of, others may be lost", files.Dir())
		}
		return store{
			Space: &lock.Space{Engine: files}, place: fmt.Sprintf("the lock files in %q", files.Dir()), local: true, exclusive: true,
			describe: func(context.Context) string {
				return fmt.Sprintf("lock files in %q; Docker's locks are not seen", files.Dir())
			},
			own:           func(context.Context, proc.Host) (id, started string) { return "", "" },
			containerName: func(context.Context, string) string { return "" },
			prunable:      func() bool { return false },
		}, nil
	}
	engine, err := docker.Connect(ctx, s.Getenv)
	if errors.Is(err, docker.ErrUsage) {
		return store{}, &statusError{StatusUsage, err}
	}
	if errors.Is(err, docker.ErrNoDaemon) {
		return store{}, fmt.Errorf("%w; on a host without Docker give lock-backend file", err)
	}
	if err != nil {
		return store{}, err
	}
	return store{
		Space: &lock.Space{Engine: engine}, place: fmt.Sprintf("the Docker daemon at %q", engine.Address()),
		local: engine.Local(), exclusive: engine.Exclusive(),
		describe: func(ctx context.Context) string {
			d, err := engine.Describe(ctx)
			if err != nil {
				return fmt.Sprintf("engine %q, API %q", engine.Address(), engine.API)
			}
			return fmt.Sprintf("engine %q, %s, API %q", engine.Address(), d, engine.API)
		},
		own: func(ctx context.Context, host proc.Host) (id, started string) {
			return ownContainer(ctx, engine, host)
		},
		containerName: engine.ContainerName,
		prunable:      engine.Prunable,
	}, nil
}

// firstLook is how long an acquire waits for a daemon that cannot be reached at
// its first look: it may be restarting. Later it waits as long as for the lock.
const firstLook = 10 * time.Second

// slowLook is when a look that has no answer is reported.
const slowLook = 3 * time.Second

// mutex is the lock as this process sees it. It tries again for patience where no
// daemon can be reached, and reports that.
func (s *session) mutex(ctx context.Context, in lockInputs, patience time.Duration) (*lock.Mutex, store, error) {
	engine, err := s.openPatiently(ctx, *in.backend, patience)
	if err != nil {
		return nil, store{}, err
	}
	host := proc.Host{Proc: "/proc"}
	engine.Host, engine.Bell, engine.Self = host, bell.Bell{}, s.self(ctx, host, engine)
	// A token is no input: it must not get into a command line or a log.
	if token, server := s.Getenv("GITEA_TOKEN"), engine.Self.Job.Server; token != "" && server != "" && s.Getenv("GITEA_ACTIONS") == "true" {
		patience := time.Duration(0)
		if s.name == "status" { // asks once
			patience = statusPatience
		}
		engine.Runs = gitea.New(server, token, patience)
	}
	return engine.Lock(*in.name), engine, nil
}

func (s *session) openPatiently(ctx context.Context, backend string, patience time.Duration) (engine store, err error) {
	if patience == 0 {
		return s.openStore(ctx, backend)
	}
	begin, reported := time.Now(), false
	for {
		failed := err
		done := make(chan struct{})
		go func() {
			defer close(done)
			engine, err = s.openStore(ctx, backend)
		}()
		select {
		case <-done:
		case <-time.After(slowLook):
			s.Say("the store has not answered for %s; still waiting", short(slowLook))
			reported = true
			<-done
		}
		switch {
		case err == nil || statusOf(err) != StatusFailed:
			return engine, err
		case ctx.Err() != nil && failed != nil: // there was no time for this last look
			return engine, failed
		case ctx.Err() != nil || time.Since(begin) >= patience:
			return engine, err
		case !reported:
			s.Say("%s; trying again for up to %s", err, short(patience))
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
func (s *session) self(ctx context.Context, host proc.Host, engine store) lock.Claim {
	h := lock.Claim{
		Nonce:      lock.NewNonce(),
		Place:      host.Place(),
		Process:    host.Process(os.Getpid()),
		JobDir:     jobDir(s.Getenv),
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

// jobDir is the private directory of this job, or "".
func jobDir(getenv func(string) string) string { return actrunner.JobDir(getenv("RUNNER_TEMP")) }

// jobGone tells that the runner has removed this job's directory: the job was
// cancelled, and its post steps may have run already.
func jobGone(dir string) bool {
	if dir == "" {
		return false
	}
	_, err := os.Lstat(dir)
	_, parentErr := os.Lstat(filepath.Dir(dir))
	return errors.Is(err, os.ErrNotExist) && parentErr == nil
}

// heldVariable carries the record of a lock to the later steps of the job.
func heldVariable(in lockInputs) string {
	sum := sha256.Sum256([]byte(*in.backend + ":" + *in.name))
	return "HOSTGUARD_HELD_" + strings.ToUpper(hex.EncodeToString(sum[:6]))
}

// releasedMark goes before the record of a lock that this job has given back.
const releasedMark = "released:"

// held reads the record: from this step's own environment file first, where an
// acquire of the same step wrote it, else from the environment.
func (s *session) held(in lockInputs) string {
	variable := heldVariable(in)
	value := s.Getenv(variable)
	if path := s.Getenv("GITHUB_ENV"); path != "" {
		data, _ := os.ReadFile(path)
		lines := strings.Split(string(data), "\n")
		for i, line := range lines {
			if strings.HasPrefix(line, variable+"<<") && i+1 < len(lines) {
				value = strings.TrimSpace(lines[i+1])
			}
		}
	}
	return value
}

// describeHolder is a clause about an entry, for people.
func describeHolder(e lock.Entry, now time.Time) string {
	h, ours := e.Claim()
	if !ours {
		return "held by an entry made without hostguard, since " + since(e.Created, now)
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
	fmt.Fprintf(&b, ", since %s", since(e.Created, now))
	return b.String()
}
