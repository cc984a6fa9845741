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

Hooks that hostguard runs if it is called by these names, for settings of the runner
that are a path without arguments; "hostguard install" puts them in place:

  runner:
    hooks:
      job_completed: /usr/local/bin/hostguard-job-completed     # from v3.0.0
    post_task_script: /usr/local/bin/hostguard-post-task        # from v2.0.0
  health_check:
    enabled: true
    script: /usr/local/bin/hostguard-health                     # from v2.2.0

A job in a container runs job_completed in that container, and fails if the hook does
not exist there: "hostguard install" prints the mounts that it needs. GitHub's runner
takes hostguard-job-completed.sh as ACTIONS_RUNNER_HOOK_JOB_COMPLETED.

job-completed gives back the locks that the job in whose environment it runs
still holds; post-task those of the task GITEA_TASK_ID of GITEA_REPOSITORY, in the
Docker daemon of the runner that started it. Both print what they did, or where they
found nothing, and always exit 0. Another job of the same repository or matrix keeps
its locks, and so does a with-lock whose command is still running.

health looks once for heavy builds, as "wait-pressure -check" does, and exits 1
if there are any: the runner then takes no job. If it cannot look it exits 0. It
reads HOSTGUARD_PATTERNS, HOSTGUARD_EXCLUDE, HOSTGUARD_MIN_MEMORY and the like from
its environment.

exit status: 0; health also exits 1.
`

// A hook is a path without arguments in the runner's configuration, so hostguard runs
// a hook if it is called by its name. A failing hook would fail the job, and nobody
// reads its status: it prints what it did and exits 0.

// hookTime bounds a hook: the runner waits for it before it takes another job. A
// release uses 15 s of it to wait for remaining processes of the job.
const hookTime = 25 * time.Second

// endedJob is the job that a hook is called for.
type endedJob struct {
	name string // in messages
	owns func(ctx context.Context, h lock.Claim, self lock.Claim, in *lockwire.Store) bool
	may  func(h lock.Claim) bool // whether, by its labels, the lock may belong to the job
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

// postTask gives back every lock that the job of a finished task holds. The runner calls
// it on the host when the job is over, with only GITEA_* and runner.envs in its
// environment. GITEA_WORKSPACE is useless: it is /workspace/OWNER/REPO for jobs on the
// host too. The legs of a matrix share the run and differ in the task.
func postTask(ctx context.Context, s *cli.Session) error {
	task := lock.Job{
		Task: s.Getenv("GITEA_TASK_ID"), RunID: s.Getenv("GITEA_RUN_ID"), Repository: s.Getenv("GITEA_REPOSITORY"),
	}
	if task.Task == "" || strings.Trim(task.Task, "0123456789") != "" || task.Repository == "" {
		s.Print("%s: GITEA_TASK_ID is %q and GITEA_REPOSITORY is %q, which name no task; nothing is given back",
			s.Name, task.Task, task.Repository)
		return nil
	}
	if err := useRunnersDaemon(ctx, s); err != nil {
		s.Print("%s: cannot find the Docker daemon that the runner uses: %s", s.Name, cli.OneLine(err))
	}
	return giveBackAll(ctx, s, endedJob{
		name: fmt.Sprintf("task %s of %.200q", task.Task, task.Repository),
		owns: func(ctx context.Context, h, _ lock.Claim, in *lockwire.Store) bool {
			if h.Job.Task != "" || h.Container == "" {
				return h.Job.SameTask(task)
			}
			// A container without the job's environment, such as one started by "docker run".
			container, named := actrunner.TaskOf(in.ContainerName(ctx, h.Container))
			return named && container.ID == task.Task && (h.Job.Repository == "" || h.Job.Repository == task.Repository)
		},
		may: func(h lock.Claim) bool {
			return h.Job.Task == "" && h.Job.RunID != "" && h.Job.RunID == task.RunID &&
				h.Job.Repository == task.Repository
		},
	})
}

// giveBackAll gives back the locks of a job in every store of this host, and prints
// which stores it searched if there are none.
func giveBackAll(ctx context.Context, s *cli.Session, job endedJob) error {
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	backends := []string{lockwire.BackendDocker}
	if _, err := os.Stat(filestore.DefaultDir); err == nil && !proc.Local().InContainer() {
		backends = append(backends, lockwire.BackendFile)
	}
	if _, err := lockwire.ReadGiteaSettings(s.Getenv); err == nil {
		backends = append(backends, lockwire.BackendGitea)
	}
	if s.Getenv("HOSTGUARD_LOCK_BACKEND") == lockwire.BackendSwarm {
		backends = append(backends, lockwire.BackendSwarm)
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
			s.Print("%s: cannot look for locks of %s: %s", s.Name, job.name, cli.OneLine(err))
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
		s.Print("%s: no lock of %s was found; asked: %s", s.Name, job.name, strings.Join(looked, "; "))
	}
	return nil
}

// giveBackEnded gives back a lock of the job, and prints a line if the lock may be one.
func giveBackEnded(
	ctx context.Context, s *cli.Session, store *lockwire.Store, job endedJob, e lock.Judged,
) (found bool) {
	h, ours := e.Claim()
	switch {
	case ours && job.owns(ctx, h, store.Self, store):
		giveBack(ctx, s, store, e)
		return true
	case ours && job.may != nil && job.may(h):
		s.Print("%s: lock %q, %s, may belong to %s but does not name its task: it stays",
			s.Name, e.Lock(), lockwire.DescribeHolder(e.Entry, time.Now()), job.name)
	}
	return false
}

// giveBack gives back a lock of a job that is over, unless a command under with-lock
// holds it and may still be running.
func giveBack(ctx context.Context, s *cli.Session, in *lockwire.Store, e lock.Judged) {
	if h, _ := e.Claim(); h.Command && e.Verdict.Life != lock.Dead {
		s.Print("%s: lock %q stays until its command has ended: %s", s.Name, e.Lock(), e.Verdict.Evidence)
		return
	}
	if jobMayHaveFailed(s) && awaitSurvivors(ctx, s, in, e.Entry) {
		return
	}
	switch err := in.Lock(e.Lock()).Release(ctx, e.ID); {
	case errors.Is(err, lock.ErrNotFound): // another hook of the same job was faster
	case err != nil:
		s.Print("%s: %s", s.Name, cli.OneLine(err))
	default:
		s.Print("%s: gave back lock %q (id %s), %s",
			s.Name, e.Lock(), e.ID, lockwire.DescribeHolder(e.Entry, time.Now()))
	}
}

// dockerVariables are the variables by which the Docker client finds its daemon.
var dockerVariables = []string{"DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_TLS",
	"DOCKER_API_VERSION", "DOCKER_CONTEXT", "DOCKER_CONFIG"}

// useRunnersDaemon makes the Docker client use the daemon that the jobs of the runner
// above this process use: post_task_script gets neither the environment of the runner's
// unit nor the settings of its configuration. Variables of runner.envs take precedence,
// since the jobs have them too.
func useRunnersDaemon(ctx context.Context, s *cli.Session) error {
	if s.Getenv(dockerVariables[0]) != "" {
		return nil
	}
	above, environ, found := proc.Local().RunnerAbove()
	if !found {
		return nil
	}
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
	var files runnerdir.Files
	_, c, err := files.Read(ctx, above.UID, runnerdir.Place{Dir: above.Dir, Config: config})
	if err != nil {
		return err
	}
	// The runner's configuration takes precedence, if the runner needs a daemon at all.
	if host := c.DockerHost; host != "" && host != "-" && c.RunsContainers() {
		return os.Setenv(dockerVariables[0], host)
	}
	return nil
}

// health implements the runner's health_check: while it exits 1 the runner takes no
// job. If it cannot look it prints that and exits 0: a blind check must not stop all
// jobs.
func health(ctx context.Context, s *cli.Session) error {
	w := newWaitPressure()
	_, err := s.Read(w.Inputs(), []string{"-check"})
	if err == nil {
		err = w.Run(ctx, s)
	}
	if err != nil && cli.StatusOf(err) != cli.StatusRefused {
		s.Print("%s: %s; the runner may take jobs", s.Name, cli.OneLine(err))
		return nil
	}
	return err
}
