package proc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hostguard/internal/actrunner"
)

// The files that processes use. A process that ends while it is read uses none. This
// only reads, and opens no file that a process has open.

// OpenFiles are files that some process has open.
type OpenFiles struct {
	ids map[fileID]bool
	// Complete is whether every process could be inspected. Without root
	// the processes of other users cannot.
	Complete bool
	// Blind is whether not even this user's own could, as in a user namespace,
	// such as a service with PrivateUsers has.
	Blind bool
}

type fileID struct{ dev, ino uint64 }

func (o OpenFiles) Has(dev, ino uint64) bool { return o.ids[fileID{dev, ino}] }

// OpenFilesNamed returns the open files whose base name matches. The name comes
// first because it says most, and no file is asked for more than the kernel knows; the
// directory does not count because another mount namespace shows another one.
func (h Host) OpenFilesNamed(match func(base string) bool) (OpenFiles, error) {
	pids, err := h.pids()
	if err != nil {
		return OpenFiles{}, err
	}
	open := OpenFiles{ids: map[fileID]bool{}, Complete: true}
	for _, pid := range pids {
		dir := filepath.Join(h.Proc, strconv.Itoa(pid), "fd")
		fds, err := os.ReadDir(dir)
		if err != nil && !isGone(err) {
			open.Complete = false
			// That of a process which nobody may look into is root's.
			if info, err := os.Stat(filepath.Dir(dir)); err == nil && int(info.Sys().(*syscall.Stat_t).Uid) == os.Geteuid() {
				open.Blind = true
			}
		}
		for _, fd := range fds {
			path := filepath.Join(dir, fd.Name())
			link, err := os.Readlink(path)
			if err != nil && !isGone(err) {
				open.Complete = false
			}
			if err != nil || !match(filepath.Base(link)) {
				continue
			}
			if file, err := see(path); err == nil {
				open.ids[file.id] = true
			} else if !isGone(err) {
				open.Complete = false
			}
		}
	}
	return open, nil
}

// WorkingBelow returns the processes that work (have their current directory) in
// a directory or below it, except the process self and its ancestors. dir is a
// path without links. Processes that may not be inspected are not among them.
func (h Host) WorkingBelow(dir string, self int) ([]int, error) {
	top, err := see(dir)
	if err != nil {
		return nil, err
	}
	pids, err := h.pids()
	if err != nil {
		return nil, err
	}
	own := h.lineage(self)
	mounts, _ := os.Readlink(filepath.Join(h.Proc, "self", "ns", "mnt"))
	var found []int
	for _, pid := range pids {
		if slices.Contains(own, pid) {
			continue
		}
		process := filepath.Join(h.Proc, strconv.Itoa(pid))
		cwd := filepath.Join(process, "cwd")
		link, err := os.Readlink(cwd)
		if err != nil {
			continue
		}
		if theirs, _ := os.Readlink(filepath.Join(process, "ns", "mnt")); theirs == mounts && mounts != "" {
			if link == dir || strings.HasPrefix(link, dir+"/") {
				// A directory that is gone is not below another of its name.
				if is, err := see(cwd); err != nil || is.links > 0 {
					found = append(found, pid)
				}
			}
		} else if climbsTo(process, top) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// climbsTo reports whether top is above the working directory of a process, as that sees
// it: in another mount namespace (a container) the same directory has another path.
func climbsTo(process string, top seen) bool {
	const deepest = 256
	cwd := filepath.Join(process, "cwd")
	var last seen
	for range deepest {
		is, err := see(cwd)
		if err != nil || is == last {
			return false
		}
		if is.id == top.id {
			return true
		}
		if is.id.dev != last.id.dev && served(process, is) {
			return false // nothing that is served there is looked into
		}
		cwd, last = cwd+"/..", is
	}
	return false
}

// lineage returns a process and its ancestors, as far as they can be seen.
func (h Host) lineage(pid int) []int {
	var pids []int
	for pid > 0 && !slices.Contains(pids, pid) {
		pids = append(pids, pid)
		s, err := h.stat(pid)
		if err != nil {
			break
		}
		pid = s.parent
	}
	return pids
}

// RunnerWorkers are the live workers of one GitHub runner; a worker lives
// exactly as long as its job.
type RunnerWorkers struct {
	PIDs   []int
	Oldest time.Time // not later than the start of the first one
	// Unseen is why there may be more than these; "" means that there are none.
	Unseen string
}

// GitHubWorkers returns the workers of the runner in root, a path without links.
// Where processes of this runner cannot be seen (a container, a /proc mounted
// with hidepid) Unseen is set; that is not an error.
func (h Host) GitHubWorkers(root string) RunnerWorkers {
	var workers RunnerWorkers
	pids, err := h.pids()
	if err != nil {
		workers.Unseen = "there is no process table here"
		return workers
	}
	seenAny := false
	for _, pid := range pids {
		program := h.runnerProgram(root, pid)
		seenAny = seenAny || program != ""
		if actrunner.RoleOf(program) != actrunner.Worker {
			continue
		}
		start, err := h.startTime(pid)
		if isGone(err) {
			continue
		} else if err != nil {
			workers.Unseen = "the start time of a worker cannot be read"
			continue
		}
		if len(workers.PIDs) == 0 || start.Before(workers.Oldest) {
			workers.Oldest = start
		}
		workers.PIDs = append(workers.PIDs, pid)
	}
	if workers.Unseen == "" && !seenAny {
		// A runner's processes share user and namespace: a process that sees
		// one sees all. One that sees none has to be sure to see everything.
		workers.Unseen = h.OutOfSight()
	}
	return workers
}

// runnerProgram returns the program of this runner that a process runs, or "".
// An updated runner keeps its old programs in bin.<version>; another user's
// process shows its arguments but not its executable. Every user can call a process so,
// and in a mount namespace of its own run a file of that path: it counts if it is of the
// runner's user or root's, or runs the runner's own file.
func (h Host) runnerProgram(root string, pid int) string {
	process := filepath.Join(h.Proc, strconv.Itoa(pid))
	exe, _ := os.Readlink(filepath.Join(process, "exe"))
	cmdline, _ := readSome(filepath.Join(process, "cmdline"), argvLimit)
	argv0, _, _ := strings.Cut(string(cmdline), "\x00")
	for _, path := range []string{actrunner.Program(exe), argv0} {
		bin, program := filepath.Split(path)
		bin = filepath.Clean(bin)
		if filepath.Dir(bin) == root && strings.HasPrefix(filepath.Base(bin), "bin") &&
			strings.HasPrefix(program, "Runner.") && (h.isOfOwner(pid, root) || sameFile(process+"/exe", path)) {
			return program
		}
	}
	return ""
}

// isOfOwner reports whether a process may be root's, or of the user who owns a directory.
func (h Host) isOfOwner(pid int, dir string) bool {
	info, err := os.Stat(dir)
	return err != nil || h.isOf(pid, 0) || h.isOf(pid, info.Sys().(*syscall.Stat_t).Uid)
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	other, errOther := os.Stat(b)
	return err == nil && errOther == nil && os.SameFile(one, other)
}

// OutOfSight returns why a process table may not show every process of the host.
func (h Host) OutOfSight() string {
	if ns, err := os.Readlink(filepath.Join(h.Proc, "self", "ns", "pid")); err != nil || ns != initPIDs {
		return "this is a container with processes of its own"
	}
	if _, err := os.ReadFile(filepath.Join(h.Proc, "1", "cmdline")); err != nil {
		return "the process table hides processes of others (hidepid)"
	}
	return ""
}

// startTime returns when a process started, or up to a second earlier: the kernel
// reports the boot time in whole seconds.
func (h Host) startTime(pid int) (time.Time, error) {
	s, err := h.stat(pid)
	if err != nil {
		return time.Time{}, err
	}
	kernel, err := os.ReadFile(filepath.Join(h.Proc, "stat"))
	if err != nil {
		return time.Time{}, err
	}
	_, boot, _ := strings.Cut(string(kernel), "\nbtime ")
	boot, _, _ = strings.Cut(boot, "\n")
	seconds, err := strconv.ParseInt(boot, 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(seconds, 0).Add(time.Duration(s.start) * (time.Second / ticks)), nil
}

func (h Host) pids() ([]int, error) {
	dir, err := os.Open(h.Proc)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// isGone reports whether a process ended while it was read.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
