package proc

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostguard/lock"
)

// faultEffort is what a page fault counts as work. A loop of short programs costs
// a fast machine next to no CPU time, but each program begins with some 150
// faults; an idle daemon has none.
const faultEffort = 10 * time.Microsecond

// Survivors implements lock.Host.
func (h Host) Survivors(traces lock.Traces) (found []lock.Survivor, unread string) {
	if traces.Container && h.Place().PIDs == initPIDs {
		return nil, "the container shares the processes of the host"
	}
	if h.hidesProcesses() {
		unread = "processes of other users are hidden (hidepid)" + h.advice()
	}
	for range looks {
		survivors, reason := h.lookForSurvivors(traces)
		unread = cmp.Or(unread, reason)
		if len(survivors) > 0 {
			return survivors, unread
		}
	}
	return nil, unread
}

func (h Host) lookForSurvivors(traces lock.Traces) (found []lock.Survivor, unread string) {
	dir, err := os.Open(h.Proc)
	if err != nil {
		return nil, "there is no process table here"
	}
	defer dir.Close()
	own := h.lineage(os.Getpid())
	started := map[int]uint64{}
	children := map[int][]int{}
	var left []int
	for err == nil {
		var names []string
		names, err = dir.Readdirnames(64) // in the current order: a child started now is still ahead
		for _, name := range names {
			pid, notOne := strconv.Atoi(name)
			if notOne != nil || slices.Contains(own, pid) {
				continue
			}
			s, gone := h.stat(pid)
			if isGone(gone) || gone == nil && (s.kernel || s.ended()) {
				continue
			}
			started[pid] = s.start
			children[s.parent] = append(children[s.parent], pid)
			has, reason := h.has(pid, traces)
			unread = cmp.Or(unread, reason)
			if has {
				left = append(left, pid)
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		unread = "the process table could not be read"
	}
	seen := map[int]bool{}
	for len(left) > 0 { // what they have started may run as another user
		pid := left[0]
		left = left[1:]
		if seen[pid] {
			continue
		}
		seen[pid] = true
		left = append(left, children[pid]...)
		if s, ok := h.survivor(pid, started[pid]); ok {
			found = append(found, s)
		}
	}
	return found, unread
}

// survivor describes a process; false if it is gone, or its pid is another's by now.
func (h Host) survivor(pid int, start uint64) (lock.Survivor, bool) {
	dir := filepath.Join(h.Proc, strconv.Itoa(pid))
	cmdline, _ := readSome(filepath.Join(dir, "cmdline"), argvLimit)
	argv := strings.Split(string(bytes.TrimRight(cmdline, "\x00")), "\x00")
	now, err := h.stat(pid)
	if err != nil || now.start != start {
		return lock.Survivor{}, false
	}
	name := path.Base(argv[0])
	if argv[0] == "" {
		comm, _ := readSome(filepath.Join(dir, "comm"), 64)
		name = strings.TrimSpace(string(comm))
	}
	return lock.Survivor{
		Process: lock.Process{PID: pid, Start: start},
		Name:    name,
		Effort:  now.effort(),
		Busy:    engineClient(argv) || h.halted(pid, now),
	}, true
}

// halted reports whether a process would work if it could: it is stopped, or it waits
// for a disk, longer than for a page of its program or for a child to begin.
func (h Host) halted(pid int, s stat) bool {
	for range execLooks {
		if s.state != 'D' {
			break
		}
		time.Sleep(5 * execPause)
		s, _ = h.stat(pid)
	}
	return strings.ContainsRune("DTt", rune(s.state))
}

// effort returns the work of a process and its ended children.
func (s stat) effort() time.Duration { return s.worked + time.Duration(s.faults)*faultEffort }

// engineClients are the programs that let an engine, or a process that it keeps
// elsewhere, do the work.
var engineClients = []string{
	"docker", "docker-compose", "docker-buildx", "podman", "podman-remote", "podman-compose",
	"nerdctl", "buildah", "buildctl", "skopeo",
}

// engineWatchers are the commands of those that only watch, or serve, for ever.
var engineWatchers = []string{"events", "logs", "stats", "system"}

// engineClient reports whether a process is a client at work with an engine. A
// program that wraps one (sudo, env, nice, a shell) becomes it or starts it, so it is
// seen as a process of its own.
func engineClient(argv []string) bool {
	name, args := path.Base(argv[0]), argv[1:]
	if strings.HasPrefix(name, "python") || slices.Contains([]string{"sh", "bash", "dash"}, name) {
		if len(args) == 0 {
			return false
		}
		// A script that is called so.
		name, args = path.Base(args[0]), args[1:]
	}
	if !slices.Contains(engineClients, name) {
		return false
	}
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case slices.Contains(engineValued, arg):
			i++
		case strings.HasPrefix(arg, "-"), slices.Contains(engineGroups, arg):
		default:
			return !slices.Contains(engineWatchers, arg)
		}
	}
	return false // it prints its help
}

var (
	// engineGroups are words before the command proper.
	engineGroups = []string{"buildx", "compose", "container", "image"}
	// engineValued are the flags before it that take the next argument.
	engineValued = []string{
		"-H", "--host", "-c", "--context", "--config", "-l", "--log-level", "--tlscacert", "--tlscert", "--tlskey",
		"-f", "--file", "-p", "--project-name", "--project-directory", "--profile", "--env-file", "--ansi", "--progress",
		"--parallel", "--builder", "--root", "--runroot", "--url", "--connection", "--identity", "--storage-driver",
		"--namespace", "-n", "--address", "-a", "--addr",
	}
)
