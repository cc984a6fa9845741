// Package conformance attacks the lock with processes of the real binary, the
// same way on every store: two Docker Engines and the directory of files.
//
// What overlaps is found by flock(1), outside the binary: whoever believes to
// hold the lock takes a flock that would have to wait, and says so instead.
package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hostguard/e2e/engine"
)

// store is where the locks of a run are kept.
type store struct {
	name   string
	engine *engine.Engine // nil for files
}

// environ is that of a process outside any workflow, with more variables.
func (s store) environ(more ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "HOSTGUARD_LOCK_BACKEND=file"}
	if s.engine != nil {
		env = append(env[:2], "DOCKER_HOST="+s.engine.Host())
	}
	return append(env, more...)
}

// hostguard is the binary that "make build" left.
func hostguard() (string, error) {
	checkout, err := engine.Checkout()
	if err != nil {
		return "", err
	}
	path := filepath.Join(checkout, "bin", "hostguard")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: run make build", err)
	}
	return path, nil
}

// overlap is the status with which the detector says that another is inside.
const overlap = 99

// inside is a critical section of some length, as a command.
func inside(detector, seconds string) []string {
	return []string{"flock", "--nonblock", "--conflict-exit-code", fmt.Sprint(overlap), detector, "sleep", seconds}
}

// leftovers are the entries of the lock and its queue that are in the store.
func (s store) leftovers(lock, queue string) ([]string, error) {
	var names []string
	if s.engine != nil {
		out, err := s.engine.Docker("network", "ls", "--format", "{{.Name}}")
		if err != nil {
			return nil, err
		}
		names = strings.Fields(out)
	} else {
		files, err := filepath.Glob("/run/lock/hostguard/*.lock")
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			names = append(names, strings.TrimSuffix(filepath.Base(f), ".lock"))
		}
	}
	var left []string
	for _, name := range names {
		if name == lock || strings.HasPrefix(name, queue+"t-") {
			left = append(left, name)
		}
	}
	return left, nil
}

// status is the exit status of a command that ran, or -1 for a killed one.
func status(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return -2
}
