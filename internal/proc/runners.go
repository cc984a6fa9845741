package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"hostguard/internal/actrunner"
)

// RunnerProcess is a process that takes jobs for a Gitea.
type RunnerProcess struct {
	PID  int
	UID  int      // the user who may have chosen the arguments; -1 if not known
	Argv []string // the program by its own name, whatever link it was started by
	Dir  string   // where it works; "" if it may not be asked
	Unit string   // of systemd, by its control group; "" for none
	User bool     // that unit is a user's, not the system's
}

// Runners returns the processes of this host, not of its containers, that take
// jobs: daemons of Gitea's runner, and for each listener of GitHub's runner its
// root.
func (h Host) Runners() (daemons []RunnerProcess, githubRoots []string, err error) {
	pids, err := h.pids()
	if err != nil {
		return nil, nil, err
	}
	own, _ := os.Readlink(filepath.Join(h.Proc, "self", "ns", "mnt"))
	buf := make([]byte, argvLimit)
	for _, pid := range pids {
		dir := filepath.Join(h.Proc, strconv.Itoa(pid))
		data, err := readSome(filepath.Join(dir, "cmdline"), int64(len(buf)))
		if err != nil {
			continue
		}
		argv := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
		listener := actrunner.RoleOf(argv[0]) == actrunner.Listener
		if !listener {
			argv = asDaemon(dir, argv)
		}
		if !listener && !actrunner.IsDaemon(argv) {
			continue
		}
		if mounts, err := os.Readlink(filepath.Join(dir, "ns", "mnt")); err == nil && mounts != own {
			continue // in a container, whose paths differ
		}
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if !listener {
			unit, user := unitOf(h.cgroup(pid))
			daemons = append(daemons, RunnerProcess{pid, h.userOf(pid), argv, cwd, unit, user})
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

// asDaemon returns the arguments with the name of the program that runs, where that
// is a runner's and the first argument is not: the name of a link, or any other.
func asDaemon(dir string, argv []string) []string {
	if actrunner.RoleOf(argv[0]) == actrunner.Daemon || !slices.Contains(argv, "daemon") {
		return argv
	}
	exe, _ := os.Readlink(filepath.Join(dir, "exe"))
	if actrunner.RoleOf(exe) != actrunner.Daemon {
		return argv
	}
	return slices.Concat([]string{actrunner.Program(exe)}, argv[1:])
}

// userOf returns the user of a process by its own identity: the owner of its directory in
// /proc is root for any that cannot be traced.
func (h Host) userOf(pid int) int {
	status, err := os.ReadFile(filepath.Join(h.Proc, strconv.Itoa(pid), "status"))
	if err != nil {
		return -1
	}
	_, ids, _ := strings.Cut(string(status), "\nUid:")
	ids, _, _ = strings.Cut(ids, "\n")
	fields := strings.Fields(ids)
	if len(fields) == 0 {
		return -1
	}
	uid, err := strconv.Atoi(fields[0])
	if err != nil {
		return -1
	}
	return uid
}

// unitOf returns the service that a control group is of, one of the system's or of
// this user's manager, and whether it is the user's.
func unitOf(group string) (unit string, user bool) {
	own := fmt.Sprintf("user@%d.service", os.Getuid())
	for part := range strings.SplitSeq(group, "/") {
		switch {
		case part == own:
			user = true
		case strings.HasPrefix(part, "user@"):
			return "", false
		case strings.HasSuffix(part, ".service"):
			unit = part
		}
	}
	return unit, user
}

// maxVariables bounds what is read of a runner's environment.
const maxVariables = 1 << 20

// RunnerAbove returns the runner that has started this process, and the environment
// that it was started with. It is false where there is none, or where it is another
// user's, who could give it any environment.
func (h Host) RunnerAbove() (r RunnerProcess, environ []string, found bool) {
	above, _, _ := h.Runner()
	dir := filepath.Join(h.Proc, strconv.Itoa(above.PID))
	info, err := os.Stat(dir)
	if above.PID == 0 || err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		return RunnerProcess{}, nil, false
	}
	argv, err := readSome(filepath.Join(dir, "cmdline"), argvLimit)
	if err != nil {
		return RunnerProcess{}, nil, false
	}
	variables, err := readSome(filepath.Join(dir, "environ"), maxVariables)
	if err != nil {
		return RunnerProcess{}, nil, false
	}
	args := strings.Split(strings.TrimRight(string(argv), "\x00"), "\x00")
	r = RunnerProcess{PID: above.PID, UID: os.Geteuid(), Argv: args}
	r.Dir, _ = os.Readlink(filepath.Join(dir, "cwd"))
	return r, strings.Split(strings.TrimRight(string(variables), "\x00"), "\x00"), true
}

// Started returns the living processes that a process has started, except the
// process self and its ancestors.
func (h Host) Started(pid, self int) ([]int, error) {
	pids, err := h.pids()
	if err != nil {
		return nil, err
	}
	own := h.lineage(self)
	var started []int
	for _, p := range pids {
		s, err := h.stat(p)
		if err == nil && s.parent == pid && s.state != 'Z' && s.state != 'X' && !slices.Contains(own, p) {
			started = append(started, p)
		}
	}
	return started, nil
}
