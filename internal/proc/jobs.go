package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostguard/internal/actrunner"
	"hostguard/internal/mounts"
)

// The private directories of jobs that processes use.

// JobRunners returns the live processes of a user that may run jobs in directories
// of their own; the other processes of the host make none that this user owns.
// OutOfSight returns whether there may be more than this process table shows.
func (h Host) JobRunners(uid uint32) RunnerWorkers {
	var runners RunnerWorkers
	pids, err := h.pids()
	if err != nil {
		runners.Unseen = "there is no process table here"
		return runners
	}
	for _, pid := range pids {
		if !h.isOf(pid, uid) || !h.runsJobs(pid) {
			continue
		}
		start, err := h.startTime(pid)
		if isGone(err) {
			continue
		} else if err != nil {
			runners.Unseen = "the start time of a runner cannot be read"
			continue
		}
		if len(runners.PIDs) == 0 || start.Before(runners.Oldest) {
			runners.Oldest = start
		}
		runners.PIDs = append(runners.PIDs, pid)
	}
	return runners
}

// runsJobs reports whether a process looks like a runner: by its name, which also
// is that of the engine alone, or by a registration where it works.
func (h Host) runsJobs(pid int) bool {
	process := filepath.Join(h.Proc, strconv.Itoa(pid))
	exe, _ := os.Readlink(filepath.Join(process, "exe"))
	cmdline, _ := readSome(filepath.Join(process, "cmdline"), argvLimit)
	argv0, _, _ := strings.Cut(string(cmdline), "\x00")
	for _, path := range []string{exe, argv0} {
		if actrunner.RoleOf(path) == actrunner.Daemon || filepath.Base(actrunner.Program(path)) == "act" {
			return true
		}
	}
	cwd := filepath.Join(process, "cwd")
	if is, err := see(cwd); err != nil || served(process, is) {
		return false
	}
	_, err := os.Lstat(filepath.Join(cwd, ".runner"))
	return err == nil
}

// isOf reports whether a process may be a user's. The owner of its directory in
// /proc does not show that: that of a program with capabilities is root's.
func (h Host) isOf(pid int, uid uint32) bool {
	status, err := os.ReadFile(filepath.Join(h.Proc, strconv.Itoa(pid), "status"))
	if err != nil {
		return !isGone(err)
	}
	_, ids, found := strings.Cut(string(status), "\nUid:")
	ids, _, _ = strings.Cut(ids, "\n")
	return !found || slices.Contains(strings.Fields(ids), strconv.FormatUint(uint64(uid), 10))
}

// JobUse is how one process uses a job's directory.
type JobUse struct {
	PID int
	How string // "works in it"
}

// JobLook is the result of one look at the processes of a host for some job
// directories.
type JobLook struct {
	uses  map[string]JobUse
	blind []blind
	err   error // of the look as a whole
}

// blind is a process that lives and may not be inspected.
type blind struct {
	start time.Time // not later than it started
	err   error
}

// Use returns a process that uses a directory; its PID is 0 if none does. It fails
// if that could not be seen: unknown is no proof. A process that may not be inspected
// leaves it unknown, unless it is older than the directory: then it is not the job's.
func (l JobLook) Use(name string, made time.Time) (JobUse, error) {
	if use, found := l.uses[name]; found || l.err != nil {
		return use, l.err
	}
	for _, b := range l.blind {
		if !b.start.Add(time.Second).Before(made) {
			return JobUse{}, b.err
		}
	}
	return JobUse{}, nil
}

// LookForJobs returns which of the job directories with these names in parent any
// process of the host uses: where it and its threads work, what it runs, has open or
// mapped, its environment, what is mounted for it, and its sockets. The names are 16
// random digits, so that they are found in any form of a path; what it leads to for
// that process decides. It does not see what OutOfSight names: call that first.
func (h Host) LookForJobs(parent string, names []string) JobLook {
	l := jobLook{
		JobLook: JobLook{uses: map[string]JobUse{}},
		host:    h, jobs: map[string]fs.FileInfo{}, read: map[string]bool{},
	}
	for _, name := range names {
		if info, err := os.Lstat(filepath.Join(parent, name)); err == nil {
			l.jobs[name] = info
		} else if !isGone(err) {
			return JobLook{err: err}
		}
	}
	seen := map[int]bool{}
	for range 50 {
		pids, err := h.pids()
		if err != nil {
			return JobLook{err: err}
		}
		quiet := true
		for _, pid := range pids {
			if !seen[pid] { // also what earlier ones have started by now
				seen[pid], quiet = true, false
				l.process(pid)
			}
		}
		if quiet {
			return l.JobLook
		}
	}
	l.err = errors.New("processes start faster than they can be looked at")
	return l.JobLook
}

type jobLook struct {
	JobLook
	host Host
	jobs map[string]fs.FileInfo // by name
	read map[string]bool        // namespaces whose mounts or sockets have been read
}

func (l *jobLook) process(pid int) {
	s, err := l.host.stat(pid)
	if isGone(err) || err == nil && s.kernel {
		return
	}
	dir := filepath.Join(l.host.Proc, strconv.Itoa(pid))
	threads, err := os.ReadDir(filepath.Join(dir, "task"))
	if l.missed(pid, err) {
		return
	}
	if s.state == 'Z' { // its other threads may live on
		i := slices.IndexFunc(threads, func(t fs.DirEntry) bool { return t.Name() != strconv.Itoa(pid) })
		if i < 0 {
			return
		}
		dir = filepath.Join(dir, "task", threads[i].Name())
	}
	for _, thread := range threads { // each may work elsewhere
		l.link(pid, filepath.Join(l.host.Proc, strconv.Itoa(pid), "task", thread.Name(), "cwd"), "works in it")
	}
	l.link(pid, filepath.Join(dir, "root"), "has it as its root")
	l.link(pid, filepath.Join(dir, "exe"), "runs a program of it")
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	l.missed(pid, err)
	for _, fd := range fds {
		l.link(pid, filepath.Join(dir, "fd", fd.Name()), "has it or a file of it open")
	}
	l.text(pid, filepath.Join(dir, "maps"), "has a file of it mapped")
	for try := 0; l.text(pid, filepath.Join(dir, "environ"), "has it in its environment") == 0 && try < 3; try++ {
		time.Sleep(time.Millisecond) // within an exec it has none for a moment
	}
	for _, of := range []struct{ namespace, file, how string }{
		{"mnt", "mountinfo", hasMounted},
		{"net", "net/unix", "or another of its network has a socket in it"},
	} {
		id, err := os.Readlink(filepath.Join(dir, "ns", of.namespace))
		if of.namespace == "net" { // the path of a socket begins at the root of who bound it
			id += rootOf(dir)
		}
		if l.missed(pid, err) || l.read[id] {
			continue
		}
		l.read[id] = true
		l.text(pid, filepath.Join(dir, of.file), of.how)
	}
}

// rootOf returns an identity of the root directory of a process, given its directory
// in proc; one that cannot be seen equals no other.
func rootOf(dir string) string {
	root, err := see(filepath.Join(dir, "root"))
	if err != nil {
		return " " + dir
	}
	return fmt.Sprintf(" %d:%d", root.id.dev, root.id.ino)
}

// missed records what could not be seen of a process that lives; it returns true for
// any error.
func (l *jobLook) missed(pid int, err error) bool {
	if err == nil || isGone(err) {
		return err != nil
	}
	// One that has just ended has no mounts (EINVAL).
	if s, again := l.host.stat(pid); again != nil || s.state == 'Z' || s.state == 'X' {
		return true
	}
	if pid == 1 { // nothing is older, whatever the clocks say
		return true
	}
	start, unknown := l.host.startTime(pid)
	if unknown != nil {
		start = time.Now()
	}
	l.blind = append(l.blind, blind{start, fmt.Errorf("process %d cannot be looked into (%w)", pid, cause(err))})
	return true
}

// cause returns an error without its path, which names a file of /proc.
func cause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

func (l *jobLook) link(pid int, path, how string) {
	target, err := os.Readlink(path)
	if !l.missed(pid, err) {
		l.find(pid, []byte(target), how)
	}
}

// text searches a file and returns how long it is.
func (l *jobLook) text(pid int, path, how string) int {
	const most = 64 << 20
	text, err := readSome(path, most)
	if err == nil && len(text) == most {
		err = errors.New("it is too long")
	}
	if l.missed(pid, err) {
		return -1
	}
	for line := range bytes.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune("\x00\n\t \"'=:,;", r) }) {
		l.find(pid, line, how)
	}
	return len(text)
}

// find searches a path for a job's directory.
func (l *jobLook) find(pid int, path []byte, how string) {
	for at := 0; ; {
		i := bytes.IndexByte(path[at:], '/')
		if i < 0 || len(path) < at+i+1+actrunner.JobDigits {
			return
		}
		at += i + 1
		end := at + actrunner.JobDigits
		job := l.jobs[string(path[at:end])]
		if job == nil || len(path) > end && path[end] != '/' && path[end] != ' ' {
			continue
		}
		name := string(path[at:end])
		if _, found := l.uses[name]; !found && (how == hasMounted || l.leadsTo(pid, string(path[:end]), job)) {
			l.uses[name] = JobUse{pid, how}
		}
	}
}

// leadsTo reports whether a process reaches a job's directory by a path. One that
// leads nowhere is another's of the same name; what cannot be asked may lead there.
func (l *jobLook) leadsTo(pid int, path string, job fs.FileInfo) bool {
	if !filepath.IsAbs(path) {
		return true
	}
	process := filepath.Join(l.host.Proc, strconv.Itoa(pid))
	leads, err := mounts.Resolve(process, path)
	if err != nil {
		return !isGone(err)
	}
	info, err := os.Stat(filepath.Join(process, "root") + leads)
	return err != nil && !isGone(err) || err == nil && os.SameFile(info, job)
}

// hasMounted is decided by the path within a file system, which leads nowhere.
const hasMounted = "has it or a part of it mounted"
