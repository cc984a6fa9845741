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
	"hostguard/internal/cli"
	"hostguard/internal/filestore"
	"hostguard/internal/lockwire"
	"hostguard/internal/proc"
	"hostguard/internal/runnerdir"
	"hostguard/lock"
)

const helpHooks = `usage: hostguard-job-completed
       hostguard-post-task
       hostguard-health

Names that hostguard answers to, for settings of the runner that are a path
without arguments; "hostguard install" puts them in place:

  runner:
    hooks:
      job_completed: /usr/local/bin/hostguard-job-completed     # from v3.0.0
    post_task_script: /usr/local/bin/hostguard-post-task        # from v2.0.0
  health_check:
    enabled: true
    script: /usr/local/bin/hostguard-health                     # from v2.2.0

A job in a container runs job_completed in that container, and fails if it is not
there: "hostguard install" prints the mounts that belong to it. GitHub's runner
takes hostguard-job-completed.sh as ACTIONS_RUNNER_HOOK_JOB_COMPLETED.

job-completed gives back the locks that the job in whose environment it runs
still holds; post-task those of the task GITEA_TASK_ID of GITEA_REPOSITORY, in the
Docker daemon of the runner that has started it. Both print what they did or where
they looked in vain, and always exit 0. Another job of the same repository or
matrix keeps its locks, and so does a with-lock whose command runs on.

health looks once for heavy builds, as "wait-pressure -check" does, and exits 1
if there are any: the runner then takes no job. Where it cannot look it exits 0.
HOSTGUARD_PATTERNS, HOSTGUARD_EXCLUDE, HOSTGUARD_MIN_MEMORY and the like in its
environment are obeyed.

exit status: 0, and 1 of health.
`

// A hook is a path without arguments in the runner's configuration, so hostguard
// answers to the hooks' names. A hook that fails would fail the job, and nobody
// reads its status: it prints what it did and ends in 0.

// hookTime bounds a hook: the runner waits for it before it takes another job. A
// release waits 15 s of it for what is left of the job.
const hookTime = 25 * time.Second

// endedJob is the job that a hook was called for.
type endedJob struct {
	name string // in messages
	owns func(ctx context.Context, h lock.Claim, self lock.Claim, in *lockwire.Store) bool
	may  func(h lock.Claim) bool // could be of the job, as far as its labels say
}

// jobCompleted gives back every lock that this job holds. The runner calls it
// after the last post step, in the job's environment and, where the job has a
// container, in that.
func jobCompleted(ctx context.Context, s *cli.Session) error {
	return giveBackAll(ctx, s, endedJob{
		name: "this job",
		owns: func(_ context.Context, h, self lock.Claim, _ *lockwire.Store) bool {
			return h.SameJob(self) || h.Job.SameTask(self.Job)
		},
	})
}

// postTask gives back every lock that the job of a finished task holds. The
// runner calls it on the host when the job is over, with GITEA_* and runner.envs
// alone. GITEA_WORKSPACE says nothing: it is /workspace/OWNER/REPO for jobs on the
// host too. The legs of a matrix share the run and differ in the task.
func postTask(ctx context.Context, s *cli.Session) error {
	task := lock.Job{
		Task: s.Getenv("GITEA_TASK_ID"), RunID: s.Getenv("GITEA_RUN_ID"), Repository: s.Getenv("GITEA_REPOSITORY"),
	}
	if task.Task == "" || strings.Trim(task.Task, "0123456789") != "" || task.Repository == "" {
		s.Say("%s: GITEA_TASK_ID is %q and GITEA_REPOSITORY is %q, which name no task; nothing is given back",
			s.Name, task.Task, task.Repository)
		return nil
	}
	if err := askRunnersDaemon(s); err != nil {
		s.Say("%s: cannot tell which Docker daemon the runner uses: %s", s.Name, cli.OneLine(err))
	}
	return giveBackAll(ctx, s, endedJob{
		name: fmt.Sprintf("task %s of %.200q", task.Task, task.Repository),
		owns: func(ctx context.Context, h, _ lock.Claim, in *lockwire.Store) bool {
			if h.Job.Task != "" || h.Container == "" {
				return h.Job.SameTask(task)
			}
			// A container without the job's environment, such as that of "docker run".
			container, named := actrunner.TaskOf(in.ContainerName(ctx, h.Container))
			return named && container.ID == task.Task && (h.Job.Repository == "" || h.Job.Repository == task.Repository)
		},
		may: func(h lock.Claim) bool {
			return h.Job.Task == "" && h.Job.RunID != "" && h.Job.RunID == task.RunID &&
				h.Job.Repository == task.Repository
		},
	})
}

// giveBackAll gives back, in every store of this host, the locks of a job, and
// reports where it has looked.
func giveBackAll(ctx context.Context, s *cli.Session, job endedJob) error {
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	backends := []string{lockwire.BackendDocker}
	if _, err := os.Stat(filestore.DefaultDir); err == nil && !proc.Local().InContainer() {
		backends = append(backends, lockwire.BackendFile)
	}
	var looked []string
	found := false
	for _, backend := range backends {
		store, err := lockwire.Open(ctx, s, backend, 0)
		var surveys []lock.Survey
		if err == nil {
			surveys, err = store.Survey(ctx, lockwire.DefaultLockName)
		}
		if err != nil {
			s.Say("%s: cannot look for locks of %s: %s", s.Name, job.name, cli.OneLine(err))
			continue
		}
		held := 0
		for _, survey := range surveys {
			held += len(survey.Holders)
			for _, e := range survey.Holders {
				found = giveBackEnded(ctx, s, store, job, e) || found
			}
		}
		looked = append(looked, fmt.Sprintf("%s, which has %s", store.Name, cli.Plural(held, "lock")))
	}
	if !found && len(looked) > 0 {
		s.Say("%s: no lock of %s was found; asked: %s", s.Name, job.name, strings.Join(looked, "; "))
	}
	return nil
}

// giveBackEnded gives back a lock if it is the job's, and prints that it may be.
func giveBackEnded(
	ctx context.Context, s *cli.Session, store *lockwire.Store, job endedJob, e lock.Judged,
) (found bool) {
	h, ours := e.Claim()
	switch {
	case ours && job.owns(ctx, h, store.Self, store):
		giveBack(ctx, s, store, e)
		return true
	case ours && job.may != nil && job.may(h):
		s.Say("%s: lock %q, %s, may be %s's, and does not name its task: it stays",
			s.Name, e.Name, lockwire.DescribeHolder(e.Entry, time.Now()), job.name)
	}
	return false
}

// giveBack gives back a lock of a job that is over, unless it is that of a command
// under with-lock which may run on.
func giveBack(ctx context.Context, s *cli.Session, in *lockwire.Store, e lock.Judged) {
	if h, _ := e.Claim(); h.Command && e.Verdict.Life != lock.Dead {
		s.Say("%s: lock %q stays until its command has ended: %s", s.Name, e.Name, e.Verdict.Evidence)
		return
	}
	if jobMayHaveFailed(s) && waitsForSurvivors(ctx, s, in, e.Entry) {
		return
	}
	switch err := in.Lock(e.Name).Release(ctx, e.ID); {
	case errors.Is(err, lock.ErrNotFound): // another hook of the same job was faster
	case err != nil:
		s.Say("%s: %s", s.Name, cli.OneLine(err))
	default:
		s.Say("%s: gave back lock %q (id %s), %s", s.Name, e.Name, e.ID, lockwire.DescribeHolder(e.Entry, time.Now()))
	}
}

// dockerVariables are those by which the Docker client finds its daemon.
var dockerVariables = []string{"DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION"}

// askRunnersDaemon makes the Docker client ask the daemon that the jobs of the
// runner above this process use: post_task_script gets neither the environment of
// the runner's unit nor what its configuration says. What runner.envs sets holds
// for the jobs as well.
func askRunnersDaemon(s *cli.Session) error {
	if s.Getenv(dockerVariables[0]) != "" {
		return nil
	}
	above, environ, found := proc.Local().RunnerAbove()
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
func health(ctx context.Context, s *cli.Session) error {
	w := newWaitPressure()
	_, err := s.Read(w.Inputs(), []string{"-check"})
	if err == nil {
		err = w.Run(ctx, s)
	}
	if err != nil && cli.StatusOf(err) != cli.StatusRefused {
		s.Say("%s: %s; the runner may take jobs", s.Name, cli.OneLine(err))
		return nil
	}
	return err
}
