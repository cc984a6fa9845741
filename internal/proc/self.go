package proc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hostguard/internal/actrunner"
	"hostguard/internal/hexid"
	"hostguard/internal/mounts"
	"hostguard/lock"
)

var _ lock.Host = Host{}

// Host answers what the lock asks about this machine. gopsutil does not return a
// process's start in clock ticks (its milliseconds are derived from a boot time that
// moves with the clock), nor whether an environment could be read.
type Host struct{ Proc string } // where proc is mounted

// Local returns the host of this process.
func Local() Host { return Host{root} }

// Place returns where this process runs. What cannot be read stays empty.
func (h Host) Place() lock.Place {
	read := func(path string) string {
		data, _ := os.ReadFile(path)
		return strings.TrimSpace(string(data))
	}
	link := func(name string) string {
		target, _ := os.Readlink(filepath.Join(h.Proc, "self/ns", name))
		return target
	}
	place := lock.Place{
		Machine:   read("/etc/machine-id"),
		Boot:      read(filepath.Join(h.Proc, "sys/kernel/random/boot_id")),
		PIDs:      link("pid"),
		Times:     link("time"),
		Mounts:    link("mnt"),
		Network:   link("net"),
		Container: h.InContainer(),
		Local:     true,
	}
	if !hexid.Is(place.Machine, 32) { // before its first boot, systemd's is a word
		place.Machine = ""
	}
	if place.Times == initTimes {
		place.Times = ""
	}
	return place
}

// initTimes is the first time namespace (PROC_TIME_INIT_INO).
const initTimes = "time:[4026531834]"

// Container returns what this process sees of the container that it is in: the
// ID in the name of its control group; the ID in its mounts, where Docker puts
// the files of a network from .../containers/<id>/, which may be another
// container's; and where the changes of its root file system are kept.
func (h Host) Container() (group, network, rootDir string) {
	if h == Local() {
		own := ownContainer()
		return own[0], own[1], own[2]
	}
	return h.container()
}

// ownContainer is read once: a host of many containers has as many mounts.
var ownContainer = sync.OnceValue(func() [3]string {
	group, network, rootDir := Local().container()
	return [3]string{group, network, rootDir}
})

func (h Host) container() (group, network, rootDir string) {
	cgroup, _ := readSome(filepath.Join(h.Proc, "self/cgroup"), cgroupLimit)
	mounts, _ := os.ReadFile(filepath.Join(h.Proc, "self/mountinfo"))
	for line := range strings.Lines(string(mounts)) {
		if _, rest, found := strings.Cut(line, "/containers/"); found && network == "" {
			id, file, _ := strings.Cut(rest, "/")
			if hexid.Is(id, 64) && strings.HasPrefix(file, "hostname ") {
				network = id
			}
		}
		if fields := strings.Fields(line); len(fields) > 5 && fields[4] == "/" {
			_, rootDir, _ = strings.Cut(fields[len(fields)-1], "upperdir=")
			rootDir, _, _ = strings.Cut(rootDir, ",")
		}
	}
	return containerOf(string(cgroup)), network, rootDir
}

// initPIDs is the pid namespace that a kernel starts with (its inode is fixed,
// PROC_PID_INIT_INO in the kernel's proc_ns.h).
const initPIDs = "pid:[4026531836]"

// InContainer reports whether this process runs in an application container. A
// marker file alone does not: machines made from an image still have it.
func (h Host) InContainer() bool {
	if _, network, _ := h.Container(); network != "" {
		return true
	}
	pids, err := os.Readlink(filepath.Join(h.Proc, "self/ns/pid"))
	if err != nil || pids == initPIDs {
		return false
	}
	for _, marker := range []string{"/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io"} {
		if _, err := os.Stat(marker); err == nil {
			return true
		}
	}
	return false
}

// stat has the fields of /proc/PID/stat that matter here.
type stat struct {
	state   byte
	kernel  bool // a thread of the kernel
	parent  int
	session int
	threads int
	start   uint64
	worked  time.Duration // its CPU time and that of its ended children
	faults  int64         // its page faults and those of its ended children
	pages   int64         // that it has in memory
}

// ended reports whether nothing of a process runs any more. Its first thread may end
// before the others do.
func (s stat) ended() bool { return s.state == 'X' || s.state == 'Z' && s.threads < 2 }

// kernelThread is PF_KTHREAD of the kernel's sched.h.
const kernelThread = 0x00200000

func (h Host) stat(pid int) (stat, error) {
	data, err := readSome(filepath.Join(h.Proc, strconv.Itoa(pid), "stat"), statLimit)
	if err != nil {
		return stat{}, err
	}
	s, err := parseStat(data)
	if err != nil {
		return stat{}, fmt.Errorf("read stat of process %d: %w", pid, err)
	}
	return s, nil
}

// statLimit is for the longest stat, which has some 400 bytes.
const statLimit = 4 << 10

// parseStat reads the fields of proc(5). The name in parentheses may hold anything;
// the last one closes it.
func parseStat(data []byte) (s stat, err error) {
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 22 {
		return s, fmt.Errorf("only %d fields", len(fields))
	}
	number := func(place int) int64 { // where the name is 2
		n, parseErr := strconv.ParseInt(string(fields[place-3]), 10, 64)
		err = cmp.Or(err, parseErr)
		return n
	}
	s = stat{
		state: fields[0][0], parent: int(number(4)), session: int(number(6)), threads: int(number(20)),
		kernel: number(9)&kernelThread != 0, start: uint64(number(22)), pages: number(24),
		faults: number(10) + number(11) + number(12) + number(13),
		worked: time.Duration(number(14)+number(15)+number(16)+number(17)) * (time.Second / ticks),
	}
	return s, err
}

// Start implements lock.Host. A zombie has ended, unless it has threads.
func (h Host) Start(pid int) (uint64, error) {
	s, err := h.stat(pid)
	if errors.Is(err, unix.ESRCH) { // it went between open and read
		return 0, fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		// Where proc is mounted with hidepid, others' processes are not listed.
		if errors.Is(unix.Kill(pid, 0), unix.EPERM) {
			return 0, fs.ErrPermission
		}
		return 0, fs.ErrNotExist
	}
	if err != nil {
		return 0, err
	}
	if s.ended() {
		return 0, fs.ErrNotExist
	}
	return s.start, nil
}

// Stopped implements lock.Host.
func (h Host) Stopped(pid int) bool {
	s, err := h.stat(pid)
	return err == nil && (s.state == 'T' || s.state == 't')
}

// HoldVariable is the variable that with-lock's command and all its children
// carry: the nonces of the locks they run under, separated by commas.
const HoldVariable = "HOSTGUARD_HOLD"

const (
	// looks is how often all processes are looked at before none is found: one
	// may start another and end while they are.
	looks = 2
	// Within an exec, for a moment, a process has no environment. Some have
	// none for good.
	execLooks = 5
	execPause = 2 * time.Millisecond
)

// Find implements lock.Host.
func (h Host) Find(traces lock.Traces) lock.Found {
	var found lock.Found
	if traces.Net != "" {
		found.Lives, found.Unread = h.hasSocket(traces.Nonce, traces.Net)
	}
	if h.hidesProcesses() {
		if !found.Lives {
			found.Unread = "processes of other users are hidden (hidepid)" + h.advice()
		}
		return found
	}
	for range looks {
		seen := h.look(traces)
		if seen.Lives {
			return seen
		}
		found.Unread = cmp.Or(found.Unread, seen.Unread)
	}
	if found.Lives {
		found.Unread = ""
	}
	return found
}

// look goes through all processes once, in the current order of their pids: a child
// started during the look is still ahead. Only a descendant of the holder can have
// its nonce, so processes that started before it are not read for that.
func (h Host) look(traces lock.Traces) (found lock.Found) {
	dir, err := os.Open(h.Proc)
	if err != nil {
		return lock.Found{Unread: "there is no process table here"}
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(64)
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			has, unread := h.has(pid, traces)
			if has {
				return lock.Found{Lives: true, PID: pid}
			}
			found.Unread = cmp.Or(found.Unread, unread)
		}
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			return lock.Found{Unread: "the process table could not be read"}
		}
	}
}

// has reports whether a process has the traces, or why it may have them although
// they are not seen.
func (h Host) has(pid int, traces lock.Traces) (has bool, unread string) {
	s, err := h.stat(pid)
	if isGone(err) || err == nil && (s.kernel || s.ended()) {
		return false, ""
	}
	young := err != nil || s.start >= traces.From
	if !young && traces.Nonce != "" {
		return false, ""
	}
	for range execLooks {
		seen := h.shows(pid, s, traces)
		if seen == marked {
			return true, ""
		}
		if seen == unmarked || !young || !h.mayBeIn(pid, traces.Cgroup) || h.belowAnotherRunner(pid, traces.From) {
			return false, ""
		}
		if seen == unreadable {
			return false, h.unread(pid)
		}
		time.Sleep(execPause)
	}
	if traces.Dir != "" { // the working directory shows that as well
		return false, ""
	}
	return false, h.unread(pid)
}

// sight is the result of a look at one process.
type sight int

const (
	unmarked sight = iota
	marked
	unreadable
	noEnvironment // within an exec, or for good
)

func (h Host) shows(pid int, s stat, traces lock.Traces) sight {
	if traces.Container {
		// What keeps a container up is the first process, and what that started.
		// Whatever is run in it from outside gets a session of its own.
		if first, err := h.stat(1); pid == 1 || err == nil && s.session == first.session {
			return unmarked
		}
		return marked
	}
	if traces.Limit {
		has, err := h.hasLimit(pid, traces.Nonce)
		if has {
			return marked
		}
		if err == nil || isGone(err) {
			return unmarked
		}
	}
	dir := h.threadOf(pid, s)
	environ, err := readSome(filepath.Join(dir, "environ"), maxEnviron)
	seen := unmarked
	switch {
	case isGone(err):
	case err != nil || len(environ) >= maxEnviron:
		seen = unreadable
	case len(environ) == 0 && !h.ending(dir):
		seen = noEnvironment
	}
	if traces.Nonce != "" {
		if carries(environ, traces.Nonce) {
			return marked
		}
		return seen
	}
	if traces.Variable != "" {
		if slices.Contains(strings.Split(string(environ), "\x00"), traces.Variable) {
			return marked
		}
		return seen
	}
	if bytes.Contains(environ, []byte(traces.Dir+"/")) {
		return marked
	}
	cwd, err := os.Readlink(filepath.Join(dir, "cwd"))
	if cwd = strings.TrimSuffix(cwd, " (deleted)"); cwd == traces.Dir || strings.HasPrefix(cwd, traces.Dir+"/") {
		return marked
	}
	if err != nil && !isGone(err) {
		return unreadable
	}
	return seen
}

// threadOf returns where a process can be read: at a thread that lives, if its first
// has ended.
func (h Host) threadOf(pid int, s stat) string {
	dir := filepath.Join(h.Proc, strconv.Itoa(pid))
	if s.state != 'Z' {
		return dir
	}
	threads, _ := os.ReadDir(filepath.Join(dir, "task"))
	for _, t := range threads {
		if t.Name() != strconv.Itoa(pid) {
			return filepath.Join(dir, "task", t.Name())
		}
	}
	return dir
}

// belowAnotherRunner reports whether a process is a runner that somebody other than
// the job started after it, or was started by one: a service that systemd started
// again is in the control group of before. Whoever started such a runner is older
// than the job, and made it the first of a session.
func (h Host) belowAnotherRunner(pid int, from uint64) bool {
	for pid > 1 {
		s, err := h.stat(pid)
		if err != nil || s.start < from {
			return false
		}
		if s.session == pid && h.isRunner(pid) {
			above, err := h.stat(s.parent)
			return err == nil && above.start < from
		}
		pid = s.parent
	}
	return false
}

// isRunner reports whether a process is a runner, by its first argument, which all
// users may read.
func (h Host) isRunner(pid int) bool {
	argv, _ := readSome(filepath.Join(h.Proc, strconv.Itoa(pid), "cmdline"), argvLimit)
	argv0, _, _ := strings.Cut(string(argv), "\x00")
	role := actrunner.RoleOf(argv0)
	return role == actrunner.Daemon || role == actrunner.Listener
}

// unread returns which process could not be read, and who could.
func (h Host) unread(pid int) string {
	user := ""
	if info, err := os.Stat(filepath.Join(h.Proc, strconv.Itoa(pid))); err == nil {
		user = fmt.Sprintf(" of user %d", info.Sys().(*syscall.Stat_t).Uid)
	}
	return fmt.Sprintf("process %d%s, which may belong to it, could not be read%s", pid, user, h.advice())
}

// advice returns a clause that names who sees more than this user.
func (h Host) advice() string {
	if os.Geteuid() == 0 {
		return ""
	}
	return "; \"sudo hostguard status\" sees more"
}

// mayBeIn reports whether a process may be of a control group or one below. The
// names of groups mean the same only within one namespace of them.
func (h Host) mayBeIn(pid int, group string) bool {
	namespace, path, _ := strings.Cut(group, " ")
	own, err := os.Readlink(filepath.Join(h.Proc, "self/ns/cgroup"))
	if err != nil || namespace != own || path == "" {
		return true
	}
	theirs := h.cgroup(pid)
	return theirs == "" || path == "/" || theirs == path || strings.HasPrefix(theirs, path+"/")
}

// Cgroup returns the control group of this process: a service's, under systemd, and
// that of all that a runner's jobs start. It begins with its namespace.
func (h Host) Cgroup() string {
	namespace, err := os.Readlink(filepath.Join(h.Proc, "self/ns/cgroup"))
	group := h.cgroup(os.Getpid())
	if err != nil || group == "" {
		return ""
	}
	return namespace + " " + group
}

// cgroup returns the unified hierarchy's group of a process, or where that has none
// the one that systemd keeps beside the old controllers.
func (h Host) cgroup(pid int) string {
	data, err := os.ReadFile(filepath.Join(h.Proc, strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return ""
	}
	group := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if path, found := strings.CutPrefix(line, "0::"); found && (path != "/" || group == "") {
			group = path
		} else if _, path, found := strings.Cut(line, ":name=systemd:"); found && (group == "" || group == "/") {
			group = path
		}
	}
	return group
}

// Gone implements lock.Host. The path is of whoever has made the entry, who might lead it
// into a file system that never answers.
func (h Host) Gone(dir string) (bool, error) {
	if err := mounts.Check(dir); err != nil {
		return false, err
	}
	_, err := os.Lstat(dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	parent, err := os.Lstat(filepath.Dir(dir))
	if err != nil {
		return false, err
	}
	if !parent.IsDir() {
		return false, fmt.Errorf("%q is not a directory", filepath.Dir(dir))
	}
	return true, nil
}

// ending reports whether a process has no program any more. Where that cannot be
// read, it may have one.
func (h Host) ending(dir string) bool {
	_, err := os.Readlink(filepath.Join(dir, "exe"))
	return errors.Is(err, fs.ErrNotExist)
}

// maxEnviron bounds what is read of one process: any user can make an
// environment gigabytes long with prctl(PR_SET_MM_MAP).
const maxEnviron = 4 << 20

func readSome(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

func carries(environ []byte, nonce string) bool {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if value, ok := bytes.CutPrefix(variable, []byte(HoldVariable+"=")); ok && bytes.Contains(value, []byte(nonce)) {
			return true
		}
	}
	return false
}

// hidesProcesses reports whether proc is mounted so that others' processes are
// not listed.
func (h Host) hidesProcesses() bool {
	mounts, err := os.ReadFile(filepath.Join(h.Proc, "self/mountinfo"))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 5 && fields[4] == h.Proc && strings.Contains(line, " - proc ") {
			if strings.Contains(line, "hidepid=") && !strings.Contains(line, "hidepid=0") &&
				!strings.Contains(line, "hidepid=off") {
				return os.Geteuid() != 0
			}
		}
	}
	return false
}

// Uptime implements lock.Host. /proc/uptime would not do: LXC shows another.
func (h Host) Uptime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// Process identifies a living process so that no later one is taken for it.
func (h Host) Process(pid int) lock.Process {
	s, err := h.stat(pid)
	if err != nil {
		return lock.Process{}
	}
	return lock.Process{PID: pid, Start: s.start}
}

// Parent returns the process of this session, such as a shell, that started this
// process. A service manager is in another one: it starts every service and
// adopts every orphan, so it identifies none of them.
func (h Host) Parent() lock.Process {
	own, _ := unix.Getsid(0)
	if parents, err := unix.Getsid(os.Getppid()); err != nil || parents != own {
		return lock.Process{}
	}
	return h.Process(os.Getppid())
}

// Runner returns the nearest runner above this process, if any, and whether it runs
// this one job only. The step is the topmost process below it, or this one.
func (h Host) Runner() (runner, step lock.Process, oneJob bool) {
	runner, step, oneJob = h.runnerAbove(os.Getpid())
	if runner.PID == 0 {
		step = h.Process(os.Getpid())
	}
	return runner, step, oneJob
}

// runnerAbove returns the nearest runner above a process, and the topmost process below
// it; where there is none, the topmost process that can be seen.
func (h Host) runnerAbove(pid int) (runner, step lock.Process, oneJob bool) {
	step = h.Process(pid)
	s, err := h.stat(pid)
	for err == nil && s.parent > 1 {
		pid = s.parent
		if s, err = h.stat(pid); err != nil {
			break
		}
		exe, _ := os.Readlink(filepath.Join(h.Proc, strconv.Itoa(pid), "exe"))
		switch actrunner.RoleOf(exe) {
		case actrunner.Daemon:
			return lock.Process{PID: pid, Start: s.start}, step, false
		case actrunner.Worker:
			return lock.Process{PID: pid, Start: s.start}, step, true
		}
		step = lock.Process{PID: pid, Start: s.start}
	}
	return lock.Process{}, step, false
}

// Waiter is what the host shows of the job in which a wait-pressure runs.
type Waiter struct {
	// Step is the process that all others of the job descend from: the one that the
	// runner has started, or that was started from outside this container; without a
	// runner the topmost of the session. 0 where that cannot be seen.
	Step int
	// Workspace and Temp are those of the job, from the environment of the step: what
	// the waiter itself claims may be another job's. "" without a runner.
	Workspace, Temp string
}

// Waiter looks at a wait-pressure; false where there is no such process.
func (h Host) Waiter(p lock.Process) (w Waiter, waits bool) {
	argv, err := readSome(filepath.Join(h.Proc, strconv.Itoa(p.PID), "cmdline"), argvLimit)
	start, errStart := h.Start(p.PID)
	if err != nil || errStart != nil || start != p.Start ||
		!slices.Contains(strings.Split(string(argv), "\x00"), "wait-pressure") {
		return Waiter{}, false
	}
	runner, step, _ := h.runnerAbove(p.PID)
	if s, err := h.stat(step.PID); err != nil || runner.PID == 0 && s.parent != 0 {
		return Waiter{Step: h.sessionAbove(p.PID)}, true
	}
	w.Step = step.PID
	environ, _ := readSome(filepath.Join(h.Proc, strconv.Itoa(step.PID), "environ"), maxEnviron)
	for variable := range strings.SplitSeq(string(environ), "\x00") {
		switch name, value, _ := strings.Cut(variable, "="); name {
		case "GITHUB_WORKSPACE":
			w.Workspace = value
		case "RUNNER_TEMP":
			w.Temp = value
		}
	}
	return w, true
}

// sessionAbove returns the topmost process above a process that is in its session; 0 if
// one of those above cannot be told from a runner.
func (h Host) sessionAbove(pid int) (top int) {
	own, err := h.stat(pid)
	for s := own; err == nil && s.session == own.session; s, err = h.stat(pid) {
		if _, unread := os.Readlink(filepath.Join(h.Proc, strconv.Itoa(pid), "exe")); unread != nil {
			return 0
		}
		if top = pid; s.parent <= 1 {
			break
		}
		pid = s.parent
	}
	return top
}
