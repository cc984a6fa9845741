package proc

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"syscall"

	"hostguard/pressure"
)

// Usage returns what every process has used. gopsutil and procfs would open three
// files, or scan forty fields, for each.
func (Table) Usage(context.Context) map[int]pressure.Usage {
	pids, err := Host{root}.pids()
	if err != nil {
		return nil
	}
	all := make(map[int]pressure.Usage, len(pids))
	var buf [statLimit]byte
	for _, pid := range pids {
		fd, err := syscall.Open(pathOf(pid, "stat"), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		n, _ := syscall.Read(fd, buf[:])
		syscall.Close(fd)
		if s, err := parseStat(buf[:max(0, n)]); err == nil {
			all[pid] = s.usage()
		}
	}
	return all
}

// Private returns the resident memory of a process without files and shared memory.
func (Table) Private(pid int) int64 {
	text, _ := readSome(pathOf(pid, "statm"), statLimit)
	var size, resident, shared int64
	_, _ = fmt.Sscan(string(text), &size, &resident, &shared)
	return max(0, resident-shared) * int64(os.Getpagesize())
}

func (s stat) usage() pressure.Usage {
	return pressure.Usage{Parent: s.parent, CPU: s.worked, Memory: s.pages * int64(os.Getpagesize())}
}

// environLimit bounds what is read of one process, see argvLimit. Linux itself
// gives arguments and environment together at most 6 MB.
const environLimit = 1 << 20

// Job reads the variables of a job from a process's environment, and nothing
// else of it: an environment holds secrets. That of another user's process
// cannot be read.
func (Table) Job(pid int) pressure.Job {
	environ, _ := readSome(pathOf(pid, "environ"), environLimit)
	return jobOf(environ)
}

func jobOf(environ []byte) pressure.Job {
	var job pressure.Job
	wanted := map[string]*string{
		"GITHUB_REPOSITORY": &job.Repository,
		"GITHUB_WORKFLOW":   &job.Workflow,
		"GITHUB_JOB":        &job.Job,
		"GITHUB_RUN_ID":     &job.RunID,
		"GITHUB_RUN_NUMBER": &job.RunNumber,
	}
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		name, value, _ := bytes.Cut(variable, []byte("="))
		const longest = 200 // of a repository's full name; anything longer is not one
		if field := wanted[string(name)]; field != nil && len(value) <= longest {
			*field = string(value)
		}
	}
	return job
}
