package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hostguard/internal/actrunner"
	"hostguard/lock"
)

var _ lock.Host = Host{}

// Host answers what the lock asks about this machine. gopsutil does not tell
// a process's start in clock ticks (its milliseconds are derived from a boot
// time that moves with the clock), nor whether an environment could be read.
type Host struct{ Proc string } // where proc is mounted

// Place says where this process runs. What cannot be read stays empty.
func (h Host) Place() lock.Place {
	read := func(path string) string {
		data, _ := os.ReadFile(path)
		return strings.TrimSpace(string(data))
	}
	link := func(name string) string {
		target, _ := os.Readlink(filepath.Join(h.Proc, "self/ns", name))
		return target
	}
	return lock.Place{
		Machine:   read("/etc/machine-id"),
		Boot:      read(filepath.Join(h.Proc, "sys/kernel/random/boot_id")),
		PIDs:      link("pid"),
		Mounts:    link("mnt"),
		Container: h.InContainer(),
	}
}

// ContainerID is the ID that the mounts of this process show, or "": Docker
// mounts a container's own files from .../containers/<id>/hostname.
func (h Host) ContainerID() string {
	mounts, _ := os.ReadFile(filepath.Join(h.Proc, "self/mountinfo"))
	for line := range strings.Lines(string(mounts)) {
		if _, rest, found := strings.Cut(line, "/containers/"); found {
			id, file, _ := strings.Cut(rest, "/")
			if len(id) == 64 && strings.Trim(id, "0123456789abcdef") == "" && strings.HasPrefix(file, "hostname ") {
				return id
			}
		}
	}
	return ""
}

// initPIDs is the pid namespace that a kernel starts with (its inode is fixed,
// PROC_PID_INIT_INO in the kernel's proc_ns.h).
const initPIDs = "pid:[4026531836]"

// InContainer tells whether this process runs in an application container. A
// marker file alone does not: machines made from an image still have it.
func (h Host) InContainer() bool {
	if h.ContainerID() != "" {
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

// stat is what matters of /proc/PID/stat.
type stat struct {
	state  byte
	kernel bool // a thread of the kernel
	parent int
	start  uint64
}

// kernelThread is PF_KTHREAD of the kernel's sched.h.
const kernelThread = 0x00200000

func (h Host) stat(pid int) (stat, error) {
	data, err := os.ReadFile(filepath.Join(h.Proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	// The name in parentheses may hold anything; the last one closes it.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("read stat of process %d: %d fields", pid, len(fields))
	}
	parent, _ := strconv.Atoi(fields[1])
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("read stat of process %d: %w", pid, err)
	}
	flags, _ := strconv.ParseUint(fields[6], 10, 64)
	return stat{fields[0][0], flags&kernelThread != 0, parent, start}, nil
}

// Start implements lock.Host. A zombie has ended.
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
	if s.state == 'Z' || s.state == 'X' {
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

// Find implements lock.Host. Only a descendant of the holder can carry its
// nonce, so processes that started before it are not read for that.
func (h Host) Find(traces lock.Traces) (pid int, complete bool) {
	names, err := os.ReadDir(h.Proc)
	if err != nil || h.hidesProcesses() {
		return 0, false
	}
	complete = true
	for _, name := range names {
		pid, err := strconv.Atoi(name.Name())
		if err != nil {
			continue
		}
		s, err := h.stat(pid)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || err == nil && (s.kernel || s.state == 'Z' || s.state == 'X') {
			continue
		}
		young := err != nil || s.start >= traces.From
		if !young && traces.Nonce != "" {
			continue
		}
		found, read := h.shows(pid, traces)
		if found {
			return pid, true
		}
		if young && !read && h.mayBeIn(pid, traces.Cgroup) {
			complete = false
		}
	}
	return 0, complete
}

// shows tells whether a process has one of the traces, and whether all could be
// read where they are.
func (h Host) shows(pid int, traces lock.Traces) (found, read bool) {
	dir := filepath.Join(h.Proc, strconv.Itoa(pid))
	environ, err := readSome(filepath.Join(dir, "environ"), maxEnviron)
	gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
	// Within an exec, for a moment, a process has no environment.
	read = gone || err == nil && len(environ) < maxEnviron && (len(environ) > 0 || h.ending(pid))
	if traces.Nonce != "" {
		return carries(environ, traces.Nonce), read
	}
	if bytes.Contains(environ, []byte(traces.Dir+"/")) {
		return true, true
	}
	cwd, err := os.Readlink(filepath.Join(dir, "cwd"))
	if cwd = strings.TrimSuffix(cwd, " (deleted)"); cwd == traces.Dir || strings.HasPrefix(cwd, traces.Dir+"/") {
		return true, true
	}
	return false, read && (err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH))
}

// mayBeIn tells whether a process may be of a control group or one below. The
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

// Cgroup is the control group of this process: a service's, under systemd, and
// that of all that a runner's jobs start. It begins with its namespace.
func (h Host) Cgroup() string {
	namespace, err := os.Readlink(filepath.Join(h.Proc, "self/ns/cgroup"))
	group := h.cgroup(os.Getpid())
	if err != nil || group == "" {
		return ""
	}
	return namespace + " " + group
}

// cgroup is the unified hierarchy's group of a process, or where that has none
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

// Gone implements lock.Host.
func (h Host) Gone(dir string) (bool, error) {
	_, err := os.Lstat(dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	parent, err := os.Lstat(filepath.Dir(dir))
	if err != nil {
		return false, err
	}
	if !parent.IsDir() {
		return false, fmt.Errorf("%q is no directory", filepath.Dir(dir))
	}
	return true, nil
}

// ending tells that a process has no program any more. Where that cannot be
// read, it may have one.
func (h Host) ending(pid int) bool {
	_, err := os.Readlink(filepath.Join(h.Proc, strconv.Itoa(pid), "exe"))
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

// hidesProcesses tells whether proc is mounted so that others' processes are
// not listed.
func (h Host) hidesProcesses() bool {
	mounts, err := os.ReadFile(filepath.Join(h.Proc, "self/mountinfo"))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 5 && fields[4] == h.Proc && strings.Contains(line, " - proc ") {
			if strings.Contains(line, "hidepid=") && !strings.Contains(line, "hidepid=0") && !strings.Contains(line, "hidepid=off") {
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

// Process names a living process so that no later one is taken for it.
func (h Host) Process(pid int) lock.Process {
	s, err := h.stat(pid)
	if err != nil {
		return lock.Process{}
	}
	return lock.Process{PID: pid, Start: s.start}
}

// Parent is the shell, or whatever else in this session, that started this
// process. A service manager is in another one: it starts every service and
// adopts every orphan, so it tells nobody apart.
func (h Host) Parent() lock.Process {
	own, _ := unix.Getsid(0)
	if parents, err := unix.Getsid(os.Getppid()); err != nil || parents != own {
		return lock.Process{}
	}
	return h.Process(os.Getppid())
}

// Runner is the nearest runner above this process, if any, and whether it runs
// this one job only. The step is the topmost process below it, or this one.
func (h Host) Runner() (runner, step lock.Process, oneJob bool) {
	step = h.Process(os.Getpid())
	for pid := os.Getppid(); pid > 1; {
		s, err := h.stat(pid)
		if err != nil {
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
		pid = s.parent
	}
	return lock.Process{}, h.Process(os.Getpid()), false
}
