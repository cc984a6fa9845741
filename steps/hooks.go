package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostguard/internal/actrunner"
	"hostguard/internal/filestore"
	"hostguard/internal/proc"
	"hostguard/internal/runnerdir"
	"hostguard/lock"
)

// A hook is a path without arguments in the runner's configuration, so hostguard
// answers to the hooks' names. A hook that fails would fail the job, and nobody
// reads its status: it prints what it did and ends in 0.

const jobCompletedName = "hostguard-job-completed"

// hookTime bounds a hook: the runner waits for it before it takes another job. A
// release waits 15 s of it for what is left of the job.
const hookTime = 25 * time.Second

// endedJob is the job that a hook was called for.
type endedJob struct {
	name string // in messages
	owns func(ctx context.Context, h lock.Claim, self lock.Claim, in store) bool
	may  func(h lock.Claim) bool // could be of the job, as far as its labels say
}

// jobCompleted gives back every lock that this job holds. The runner calls it
// after the last post step, in the job's environment and, where the job has a
// container, in that.
func jobCompleted(ctx context.Context, s *session) error {
	return s.hook(ctx, endedJob{
		name: "this job",
		owns: func(_ context.Context, h, self lock.Claim, _ store) bool {
			return h.SameJob(self) || h.Job.SameTask(self.Job)
		},
	})
}

// postTask gives back every lock that the job of a finished task holds. The
// runner calls it on the host when the job is over, with GITEA_* and runner.envs
// alone. GITEA_WORKSPACE says nothing: it is /workspace/OWNER/REPO for jobs on the
// host too. The legs of a matrix share the run and differ in the task.
func postTask(ctx context.Context, s *session) error {
	task := lock.Job{
		Task: s.Getenv("GITEA_TASK_ID"), RunID: s.Getenv("GITEA_RUN_ID"), Repository: s.Getenv("GITEA_REPOSITORY"),
	}
	if task.Task == "" || strings.Trim(task.Task, "0123456789") != "" || task.Repository == "" {
		s.Say("%s: GITEA_TASK_ID is %q and GITEA_REPOSITORY is %q, which name no task; nothing is given back",
			s.name, task.Task, task.Repository)
		return nil
	}
	if err := s.askRunnersDaemon(); err != nil {
		s.Say("%s: cannot tell which Docker daemon the runner uses: %s", s.name, oneLine(err))
	}
	return s.hook(ctx, endedJob{
		name: fmt.Sprintf("task %s of %.200q", task.Task, task.Repository),
		owns: func(ctx context.Context, h, _ lock.Claim, in store) bool {
			if h.Job.Task != "" || h.Container == "" {
				return h.Job.SameTask(task)
			}
			// A container without the job's environment, such as that of "docker run".
			container, named := actrunner.TaskOf(in.containerName(ctx, h.Container))
			return named && container.ID == task.Task && (h.Job.Repository == "" || h.Job.Repository == task.Repository)
		},
		may: func(h lock.Claim) bool {
			return h.Job.Task == "" && h.Job.RunID != "" && h.Job.RunID == task.RunID &&
				h.Job.Repository == task.Repository
		},
	})
}

// hook gives back, in every store of this host, the locks of a job, and reports
// where it has looked.
func (s *session) hook(ctx context.Context, job endedJob) error {
	if err := s.in.parse(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	backends := []string{backendDocker}
	if _, err := os.Stat(filestore.DefaultDir); err == nil && !(proc.Host{Proc: procRoot}).InContainer() {
		backends = append(backends, backendFile)
	}
	var looked []string
	found := false
	for _, backend := range backends {
		name := defaultLockName
		_, in, err := s.mutex(ctx, lockInputs{name: &name, backend: &backend}, 0)
		var surveys []lock.Survey
		if err == nil {
			surveys, err = in.Survey(ctx, name)
		}
		if err != nil {
			s.Say("%s: cannot look for locks of %s: %s", s.name, job.name, oneLine(err))
			continue
		}
		held := 0
		for _, survey := range surveys {
			held += len(survey.Holders)
			for _, e := range survey.Holders {
				h, ours := e.Claim()
				switch {
				case ours && job.owns(ctx, h, in.Self, in):
					found = true
					s.giveBack(ctx, in, e)
				case ours && job.may != nil && job.may(h):
					s.Say("%s: lock %q, %s, may be %s's, and does not name its task: it stays",
						s.name, e.Name, describeHolder(e.Entry, time.Now()), job.name)
				}
			}
		}
		looked = append(looked, fmt.Sprintf("%s, which has %s", in.place, plural(held, "lock")))
	}
	if !found && len(looked) > 0 {
		s.Say("%s: no lock of %s was found; asked: %s", s.name, job.name, strings.Join(looked, "; "))
	}
	return nil
}

// giveBack gives back a lock of a job that is over, unless it is that of a command
// under with-lock which may run on.
func (s *session) giveBack(ctx context.Context, in store, e lock.Judged) {
	if h, _ := e.Claim(); h.Command && e.Verdict.Life != lock.Dead {
		s.Say("%s: lock %q stays until its command has ended: %s", s.name, e.Name, e.Verdict.Evidence)
		return
	}
	if s.jobMayHaveFailed() && s.waitsForSurvivors(ctx, in, e.Entry) {
		return
	}
	switch err := in.Lock(e.Name).Release(ctx, e.ID); {
	case errors.Is(err, lock.ErrNotFound): // another hook of the same job was faster
	case err != nil:
		s.Say("%s: %s", s.name, oneLine(err))
	default:
		s.Say("%s: gave back lock %q (id %s), %s", s.name, e.Name, e.ID, describeHolder(e.Entry, time.Now()))
	}
}

// plural is a count with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// dockerVariables are those by which the Docker client finds its daemon.
var dockerVariables = []string{"DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION"}

// askRunnersDaemon makes the Docker client ask the daemon that the jobs of the
// runner above this process use: post_task_script gets neither the environment of
// the runner's unit nor what its configuration says. What runner.envs sets holds
// for the jobs as well.
func (s *session) askRunnersDaemon() error {
	if s.Getenv(dockerVariables[0]) != "" {
		return nil
	}
	above, environ, found := proc.RunnerAbove(procRoot)
	if !found {
		return nil
	}
	// The client reads the companions of DOCKER_HOST from the process itself.
	for _, variable := range environ {
		if name, value, _ := strings.Cut(variable, "="); slices.Contains(dockerVariables, name) && value != "" {
			if err := os.Setenv(name, value); err != nil {
				return err
			}
		}
	}
	config := actrunner.ConfigOf(above.Argv)
	if config == "" {
		return nil
	}
	if !filepath.IsAbs(config) {
		config = filepath.Join(above.Dir, config)
	}
	c, _, _, err := runnerdir.Read(above.Dir, config)
	if err != nil {
		return err
	}
	// The runner's own word on it comes first, where it needs a daemon at all.
	if host := c.DockerHost; host != "" && host != "-" && c.RunsContainers() {
		return os.Setenv(dockerVariables[0], host)
	}
	return nil
}

// health answers the runner's health_check: while it exits 1 the runner takes no
// job. Where nothing can be seen it says so and lets the runner work: a gate
// that is blind must not stop all jobs.
func health(ctx context.Context, s *session) error {
	s.in = newInputs("wait-pressure", []string{"-check"}, s.Getenv)
	err := waitPressure(ctx, s)
	if err != nil && statusOf(err) != StatusRefused {
		s.Say("%s: %s; the runner may take jobs", s.name, oneLine(err))
		return nil
	}
	return err
}
