package proc

import (
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
	PID     int
	UID     int      // the user who may have chosen the arguments; -1 if not known
	Argv    []string // the program by its own name, whatever link it was started by
	Named   bool     // its program has a runner's name; else only its subcommand is a runner's
	Dir     string   // where it works; "" if it may not be asked
	Open    string   // the registration that it has open, "" if none was seen
	Unit    string   // of systemd, by its control group; "" for none
	Manager int      // the user whose systemd has that unit; -1 for the system's
}

// Runners returns the processes of this host, not of its containers, that take
// jobs: daemons of Gitea's runner, and for each listener of GitHub's runner its
// root.
func (h Host) Runners() (daemons []RunnerProcess, githubRoots []string, err error) {
	pids, err := h.pids()
	if err != nil {
		return nil, nil, err
	}
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
		if !listener && !actrunner.IsDaemon(argv) && !actrunner.MayBeDaemon(argv) || h.elsewhere(pid) {
			continue
		}
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if !listener {
			unit, manager := unitOf(h.cgroup(pid))
			daemons = append(daemons, RunnerProcess{PID: pid, UID: h.userOf(pid), Argv: argv,
				Named: actrunner.IsDaemon(argv), Dir: cwd, Open: openRegistration(dir), Unit: unit, Manager: manager})
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
	return h.withoutStarters(daemons), githubRoots, nil
}

// withoutStarters removes what only starts a daemon and waits for it: a program that is
// known by its subcommand alone, and the one below it works in the same directory.
func (h Host) withoutStarters(daemons []RunnerProcess) []RunnerProcess {
	starts := map[int]string{} // the directories in which those below a process work
	for _, d := range daemons {
		for _, pid := range h.lineage(d.PID) {
			if pid != d.PID {
				starts[pid] = d.Dir
			}
		}
	}
	return slices.DeleteFunc(daemons, func(d RunnerProcess) bool {
		dir, found := starts[d.PID]
		return found && !d.Named && dir == d.Dir
	})
}

// elsewhere reports whether a process is in a container, whose paths are not this host's.
// Mounts of its own alone do not show that: systemd gives them to a confined service.
func (h Host) elsewhere(pid int) bool {
	dir := filepath.Join(h.Proc, strconv.Itoa(pid))
	own, _ := os.Readlink(filepath.Join(h.Proc, "self", "ns", "mnt"))
	if mounts, err := os.Readlink(filepath.Join(dir, "ns", "mnt")); err != nil || mounts == own {
		return false
	}
	if here, there := h.rootMount("self"), h.rootMount(strconv.Itoa(pid)); here != "" && there != "" {
		return here != there
	}
	cgroup := h.cgroup(pid)
	unit, _ := unitOf(cgroup)
	return unit == "" || containerOf(cgroup) != ""
}

// rootMount returns the device and the directory that a process has as its root, "" if that
// is not known. Nothing is asked of the file system itself, which may be a user's.
func (h Host) rootMount(pid string) (root string) {
	data, err := readSome(filepath.Join(h.Proc, pid, "mountinfo"), maxVariables)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == "/" {
			root = fields[2] + " " + fields[3] // the last one covers the others
		}
	}
	return root
}

// maxDescriptors bounds what is looked at of one process.
const maxDescriptors = 4096

// openRegistration returns the registration that a process has open, or whose lock it
// has: gitea-runner keeps FILE.lock open.
func openRegistration(dir string) string {
	d, err := os.Open(filepath.Join(dir, "fd"))
	if err != nil {
		return ""
	}
	defer d.Close()
	names, _ := d.Readdirnames(maxDescriptors)
	for _, name := range names {
		target, _ := os.Readlink(filepath.Join(dir, "fd", name))
		if target = strings.TrimSuffix(target, ".lock"); filepath.Base(target) == ".runner" && filepath.IsAbs(target) {
			return target
		}
	}
	return ""
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

// unitOf returns the service that a control group is of, and the user whose manager has
// it; -1 for the system's.
func unitOf(group string) (unit string, manager int) {
	manager = -1
	for part := range strings.FieldsFuncSeq(group, func(c rune) bool { return c == '/' || c == '\n' }) {
		name, service := strings.CutSuffix(part, ".service")
		uid, of := strings.CutPrefix(name, "user@")
		switch {
		case service && of:
			if n, err := strconv.Atoi(uid); err == nil {
				unit, manager = "", n
			}
		case service:
			unit = part
		}
	}
	return unit, manager
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
