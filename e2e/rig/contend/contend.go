// Package contend runs processes of the real binary against one store of locks,
// as workflows and hosts do, and lets them die.
//
// Overlaps are found by flock(1), outside the binary: a process that believes to
// hold the lock takes a flock, and reports an overlap where it would have to wait.
package contend

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hostguard/e2e/rig/engine"
)

// Store is where the locks of a run are kept.
type Store struct {
	Name   string
	Engine *engine.Engine // nil for files
	Host   string         // DOCKER_HOST, where it is not the engine's own

	Backend string                   // as -lock-backend has it, of a store of several machines; else ""
	Env     []string                 // what that needs
	Names   func() ([]string, error) // those of its entries
}

// Environ returns the environment of a process outside any workflow, with more variables.
func (s Store) Environ(more ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	if s.Backend != "" {
		env = append(append(env, "HOSTGUARD_LOCK_BACKEND="+s.Backend), s.Env...)
	}
	switch {
	case s.Host != "":
		env = append(env, "DOCKER_HOST="+s.Host)
	case s.Engine != nil:
		env = append(env, "DOCKER_HOST="+s.Engine.Host())
	case s.Backend == "":
		env = append(env, "HOSTGUARD_LOCK_BACKEND=file")
	}
	return append(env, more...)
}

// Hostguard returns the path of the binary that "make build" makes.
func Hostguard() (string, error) {
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

// Overlap is the status with which the detector reports that another is inside.
const Overlap = 99

// Inside returns a critical section of some length, as a command.
func Inside(detector, seconds string) []string {
	return []string{"flock", "--nonblock", "--conflict-exit-code", fmt.Sprint(Overlap), detector, "sleep", seconds}
}

// QueuePrefix begins the names of a lock's queue.
func QueuePrefix(lock string) string {
	sum := sha256.Sum256([]byte(lock))
	return "hg-" + hex.EncodeToString(sum[:8]) + "-"
}

// Entries returns the names of a lock's entries in the store, and of its tickets. A
// wake marker is not one: waiters remove old ones.
func (s Store) Entries(lock string) (held, tickets []string, err error) {
	var names []string
	if s.Names != nil {
		if names, err = s.Names(); err != nil {
			return nil, nil, err
		}
	} else if s.Engine != nil {
		out, err := s.Engine.Docker("network", "ls", "--format", "{{.Name}}")
		if err != nil {
			return nil, nil, err
		}
		names = strings.Fields(out)
	} else {
		files, err := filepath.Glob("/run/lock/hostguard/*.lock")
		if err != nil {
			return nil, nil, err
		}
		for _, f := range files {
			names = append(names, strings.TrimSuffix(filepath.Base(f), ".lock"))
		}
	}
	for _, name := range names {
		switch {
		case name == lock:
			held = append(held, name)
		case strings.HasPrefix(name, QueuePrefix(lock)+"t-"):
			tickets = append(tickets, name)
		}
	}
	return held, tickets, nil
}

// Status returns the exit status of a command that ran, or -1 for a killed one.
func Status(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -2
}
