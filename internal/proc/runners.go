package proc

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hostguard/runner"
)

// RunnerProcess is a process that takes jobs for a Gitea.
type RunnerProcess struct {
	PID  int
	Argv []string
	Dir  string // where it works; "" if it may not be asked
}

// Runners finds the processes of this host, not of its containers, that take
// jobs: daemons of Gitea's runner, and for each listener of GitHub's runner its
// root.
func Runners(procRoot string) (daemons []RunnerProcess, githubRoots []string, err error) {
	pids, err := pidsOf(procRoot)
	if err != nil {
		return nil, nil, err
	}
	own, _ := os.Readlink(filepath.Join(procRoot, "self", "ns", "mnt"))
	buf := make([]byte, argvLimit)
	for _, pid := range pids {
		dir := filepath.Join(procRoot, strconv.Itoa(pid))
		data, err := readSome(filepath.Join(dir, "cmdline"), int64(len(buf)))
		if err != nil {
			continue
		}
		argv := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
		listener := filepath.Base(argv[0]) == "Runner.Listener"
		if !listener && !runner.IsDaemon(argv) {
			continue
		}
		if mounts, err := os.Readlink(filepath.Join(dir, "ns", "mnt")); err == nil && mounts != own {
			continue // in a container, whose paths are not ours
		}
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if !listener {
			daemons = append(daemons, RunnerProcess{pid, argv, cwd})
			continue
		}
		program := argv[0]
		if !filepath.IsAbs(program) {
			if cwd == "" {
				continue
			}
			program = filepath.Join(cwd, program)
		}
		githubRoots = append(githubRoots, filepath.Dir(filepath.Dir(program))) // <root>/bin/Runner.Listener
	}
	slices.Sort(githubRoots)
	return daemons, githubRoots, nil
}

// Started are the processes that a process has started and that live, except
// the process self and its ancestors.
func Started(procRoot string, pid, self int) ([]int, error) {
	pids, err := pidsOf(procRoot)
	if err != nil {
		return nil, err
	}
	own := lineage(procRoot, self)
	var started []int
	for _, p := range pids {
		s, err := Host{procRoot}.stat(p)
		if err == nil && s.parent == pid && s.state != 'Z' && s.state != 'X' && !slices.Contains(own, p) {
			started = append(started, p)
		}
	}
	return started, nil
}
