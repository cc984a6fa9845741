package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hostguard/internal/filestore"
	"hostguard/internal/proc"
	"hostguard/lock"
)

// A hook is a path without arguments in the runner's configuration, so hostguard
// answers to the hooks' names. A hook that fails would fail the job, and nobody
// reads its status: it says what it did and ends in 0.

// hookTime bounds a hook: the runner waits for it before it takes another job.
const hookTime = 20 * time.Second

// jobCompleted gives back every lock that this job holds. The runner calls it
// after the last post step, in the job's environment.
func jobCompleted(ctx context.Context, s *session) error {
	return s.hook(ctx, "this job", func(_ context.Context, m *lock.Mutex, _ store, h lock.Holder) bool {
		return h.SameJob(m.Self)
	})
}

// postTask gives back every lock that the job of a finished task holds. The
// runner calls it on the host, when the job is gone, with GITEA_* alone.
func postTask(ctx context.Context, s *session) error {
	dir, task := jobDirOf(s.Getenv("GITEA_WORKSPACE"), "hostexecutor"), s.Getenv("GITEA_TASK_ID")
	if dir == "" && !digits(task) {
		s.Say("%s: neither GITEA_WORKSPACE nor GITEA_TASK_ID tells which job has ended; nothing is given back", s.name)
		return nil
	}
	return s.hook(ctx, fmt.Sprintf("task %q", task), func(ctx context.Context, m *lock.Mutex, engine store, h lock.Holder) bool {
		if h.Container != "" {
			return digits(task) && strings.HasPrefix(engine.containerName(ctx, h.Container), "GITEA-ACTIONS-TASK-"+task+"_")
		}
		return dir != "" && h.SameJob(lock.Holder{Place: m.Self.Place, JobDir: dir})
	})
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// hook releases, in every store of this host, the locks whose holder is of that
// job. Locks of with-lock last as long as their command, which may run on.
func (s *session) hook(ctx context.Context, job string, of func(context.Context, *lock.Mutex, store, lock.Holder) bool) error {
	if err := s.in.parse(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	backends := []string{backendDocker}
	if _, err := os.Stat(filestore.DefaultDir); err == nil && !(proc.Host{Proc: "/proc"}).InContainer() {
		backends = append(backends, backendFile)
	}
	given, looked := 0, true
	for _, backend := range backends {
		name := defaultLockName
		m, engine, err := s.mutex(ctx, lockInputs{name: &name, backend: &backend}, 0)
		if err == nil {
			var n int
			n, err = s.giveBack(ctx, m, engine, of)
			given += n
		}
		if err != nil {
			looked = false
			s.Say("%s: cannot look for locks of %s: %s", s.name, job, oneLine(err))
		}
	}
	if given == 0 && looked {
		s.Say("%s: %s left no lock behind", s.name, job)
	}
	return nil
}

func (s *session) giveBack(ctx context.Context, m *lock.Mutex, engine store, of func(context.Context, *lock.Mutex, store, lock.Holder) bool) (given int, err error) {
	surveys, err := m.Survey(ctx)
	if err != nil {
		return 0, err
	}
	for _, survey := range surveys {
		for _, e := range survey.Holders {
			h, ours := e.Holder()
			if !ours || h.Command || !of(ctx, m, engine, h) {
				continue
			}
			named := &lock.Mutex{Engine: m.Engine, Host: m.Host, Bell: m.Bell, Name: survey.Name, Self: m.Self}
			switch err := named.Release(ctx, e.ID); {
			case errors.Is(err, lock.ErrNotFound):
			case err != nil:
				s.Say("%s: %s", s.name, oneLine(err))
			default:
				s.Say("%s: gave back lock %q (id %s), %s", s.name, survey.Name, e.ID, describeHolder(e.Entry, time.Now()))
				given++
			}
		}
	}
	return given, nil
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

// jobDirOf is the private directory of the job that has path there, or "".
// act_runner names it by 16 hex digits, and the workspace is
// <parent>/<16 hex>/hostexecutor, the temporary directory <parent>/<16 hex>/tmp.
func jobDirOf(path, base string) string {
	path = filepath.Clean(path)
	dir := filepath.Dir(path)
	if filepath.IsAbs(path) && filepath.Base(path) == base && len(filepath.Base(dir)) == 16 && strings.Trim(filepath.Base(dir), "0123456789abcdef") == "" {
		return dir
	}
	return ""
}
