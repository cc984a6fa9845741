package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"hostguard/internal/actrunner"
)

// Host is what can be looked up about the machine that this process runs on.
type Host interface {
	// Start returns when the living process pid started, in clock ticks since
	// boot. fs.ErrNotExist says that there is none; any other error, nothing.
	Start(pid int) (uint64, error)
	// Stopped tells that a process is seen to be stopped by a signal or a
	// debugger: it lives, and does nothing.
	Stopped(pid int) bool
	// Find returns the pid of a process with those traces, or 0. complete
	// tells that every process that may have them could be read.
	Find(Traces) (pid int, complete bool)
	// Gone tells whether a directory is not there although its parent is. An
	// error says that this could not be found out.
	Gone(dir string) (bool, error)
	// Uptime is the boot-time clock, which no clock step moves.
	Uptime() time.Duration
}

// Traces are what a holder's processes can be known by.
type Traces struct {
	Nonce string // in HOSTGUARD_HOLD, which with-lock's command inherits; or
	Dir   string // their working directory or a variable is inside

	// A process that cannot be read may have the traces only if it started no
	// earlier than From and is in this control group or below. Without the
	// group most hosts could never tell: root always starts something.
	From   uint64
	Cgroup string // as Holder.Cgroup; "" is any
}

// Containers is a store that runs containers as well, as a Docker daemon does.
type Containers interface {
	// Container tells whether the container of a full ID lives. Dead is its
	// own answer that there is none, or that it has ended.
	Container(ctx context.Context, id string) (Life, string)
}

// Runs is the server that the jobs come from.
type Runs interface {
	// Run tells whether a job is still running there. Dead is the answer that
	// it ended more than a minute ago: the server says "cancelled" seconds
	// before the processes die.
	Run(ctx context.Context, job Job) (Life, string)
}

// Life is what evidence says of a holder. Unknown is never dead.
type Life int

const (
	Unknown Life = iota
	Alive
	Dead  // for ever
	Stale // unknown, and older than its stale-after
)

func (l Life) String() string { return [...]string{"unknown", "alive", "orphan", "stale"}[l] }

// Verdict is what was found out about one entry, and from what.
type Verdict struct {
	Life     Life
	Evidence string // a clause that can follow "because"
}

// judge finds out whether the holder of an entry lives. The first evidence that
// answers decides: a reboot, its container, its processes, the server that its
// job came from. Age is asked last, and never against a proof of life. What
// could not be looked at is part of an unknown or stale verdict.
//
// To look through all processes costs milliseconds, so a waiter, who judges
// every second, does it when something hangs on it; thorough does it always.
func (m *Mutex) judge(ctx context.Context, e Entry, thorough bool) Verdict {
	h, ours := e.Holder()
	stale := min(cmp.Or(h.StaleAfter, MaxStaleAfter), MaxStaleAfter)
	if !ours {
		stale = cmp.Or(m.Self.StaleAfter, DefaultStaleAfter)
	}
	age := m.age(e)
	var unseen []string
	if ours && e.label("version") == labelVersion {
		for _, evidence := range []func(context.Context, Holder, bool) Verdict{m.byReboot, m.byContainer, m.byProcesses, m.byRun} {
			v := evidence(ctx, h, thorough || age > stale)
			if v.Life != Unknown {
				return v
			}
			if v.Evidence != "" {
				unseen = append(unseen, v.Evidence)
			}
		}
	}
	otherwise := strings.Join(unseen, "; ")
	switch {
	case !ours:
		otherwise = "it was made without hostguard: nothing tells whether its owner lives"
	case otherwise == "":
		otherwise = "nothing tells whether it lives: its labels are of another version of hostguard or cannot be read"
	}
	if age > stale {
		return Verdict{Stale, fmt.Sprintf("it is %s old and may be taken over after %s; %s", age.Round(time.Second), stale, otherwise)}
	}
	return Verdict{Unknown, otherwise}
}

// byReboot: boot ids say something only about the same machine, and not from
// or about a container, which may be a VM with a boot id of its own.
func (m *Mutex) byReboot(_ context.Context, h Holder, _ bool) Verdict {
	self := m.Self.Place
	if self.Machine != "" && self.Machine == h.Place.Machine && !self.Container && !h.Place.Container &&
		self.Boot != "" && h.Place.Boot != "" && self.Boot != h.Place.Boot {
		return Verdict{Dead, "the host was rebooted since"}
	}
	return Verdict{}
}

// byContainer: a holder recorded its container only if the store that keeps its
// entry showed that container, so the store's word on it counts.
func (m *Mutex) byContainer(ctx context.Context, h Holder, _ bool) Verdict {
	if h.Container == "" {
		return Verdict{}
	}
	store, ok := m.Engine.(Containers)
	if !ok || !isHex(h.Container, 64) {
		return Verdict{Unknown, "its container is out of sight"}
	}
	life, evidence := store.Container(ctx, h.Container)
	if life != Alive || !h.Command && !actrunner.IsJobDir(h.JobDir) {
		return Verdict{life, evidence}
	}
	// The container outlives a command, and it is not the job's own where the
	// runner itself is in one.
	if v := m.byProcesses(ctx, h, true); v.Life == Dead || v.Life == Alive {
		return v
	}
	if actrunner.IsJobDir(h.JobDir) {
		return Verdict{Unknown, evidence + ", but that is its runner's"}
	}
	return Verdict{life, evidence}
}

// byProcesses judges a holder that ran on the host: a with-lock by its process
// and its command's, a job of act_runner by its private directory and whoever
// works in it, a job of GitHub's runner by its worker.
func (m *Mutex) byProcesses(_ context.Context, h Holder, thorough bool) Verdict {
	if h.Place.Container && h.Container != "" && !m.Self.Place.same(h.Place) {
		return Verdict{} // the container has been asked after
	}
	if !m.Self.Place.same(h.Place) {
		return Verdict{Unknown, "its processes are out of sight from here"}
	}
	switch {
	case h.Command:
		return m.byCommand(h)
	case actrunner.IsJobDir(h.JobDir):
		return m.byJobDir(h, thorough)
	case h.Runner.known():
		switch m.alive(h.Runner) {
		case Alive:
			return Verdict{Alive, fmt.Sprintf("the worker of its job, process %d, runs", h.Runner.PID)}
		case Dead:
			return Verdict{Dead, fmt.Sprintf("the worker of its job, process %d, is gone", h.Runner.PID)}
		}
		return Verdict{Unknown, fmt.Sprintf("the worker of its job, process %d, could not be looked up", h.Runner.PID)}
	}
	return Verdict{Unknown, "it was taken outside any job: no process tells whether it is still wanted"}
}

// byCommand judges a holder that runs a command under with-lock. The command
// inherits the nonce, for hostguard may have been killed while it runs on.
func (m *Mutex) byCommand(h Holder) Verdict {
	if !h.Process.known() || h.Nonce == "" {
		return Verdict{Unknown, "its labels do not tell its process"}
	}
	switch m.alive(h.Process) {
	case Alive:
		return Verdict{Alive, fmt.Sprintf("its hostguard process %d runs", h.Process.PID)}
	case Unknown:
		return Verdict{Unknown, fmt.Sprintf("its process %d could not be looked up", h.Process.PID)}
	}
	pid, complete := m.Host.Find(Traces{Nonce: h.Nonce, From: h.Process.Start, Cgroup: h.Cgroup})
	switch {
	case pid != 0:
		return Verdict{Alive, fmt.Sprintf("its hostguard process %d is gone but its command runs on as process %d", h.Process.PID, pid)}
	case !complete:
		return Verdict{Unknown, fmt.Sprintf("its hostguard process %d is gone, but some processes that may be its command's could not be read", h.Process.PID)}
	}
	return Verdict{Dead, fmt.Sprintf("its hostguard process %d is gone and no process of its command is left", h.Process.PID)}
}

// byJobDir judges a job of act_runner, which removes the job's private directory
// when the job has ended. A directory alone proves nothing: a killed runner
// leaves it, and between two steps no process works in it.
func (m *Mutex) byJobDir(h Holder, thorough bool) Verdict {
	var ended []string
	if h.Place.Mounts != "" && h.Place.Mounts == m.Self.Place.Mounts {
		if gone, err := m.Host.Gone(h.JobDir); err == nil && gone {
			ended = append(ended, "its job directory is gone")
		}
	}
	if h.Runner.known() && m.alive(h.Runner) == Dead {
		ended = append(ended, fmt.Sprintf("its runner, process %d, is gone", h.Runner.PID))
	}
	if len(ended) == 0 && !thorough {
		return Verdict{Unknown, "its job directory and its runner are there as far as can be seen: the job may be between two steps"}
	}
	pid, complete := m.Host.Find(Traces{Dir: h.JobDir, From: cmp.Or(h.Step.Start, h.Process.Start), Cgroup: h.Cgroup})
	switch {
	case pid != 0:
		return Verdict{Alive, fmt.Sprintf("process %d works in its job directory", pid)}
	case len(ended) == 0:
		return Verdict{Unknown, "its job directory and its runner are there as far as can be seen, but no process works there: the job may be between two steps"}
	case !complete:
		return Verdict{Unknown, strings.Join(ended, " and ") + ", but some processes that may be its job's could not be read"}
	}
	return Verdict{Dead, strings.Join(ended, " and ") + ", and no process works in that directory"}
}

// byRun asks the server. A holder that it counts as ended may still be seen to
// live, so that is looked at first.
func (m *Mutex) byRun(ctx context.Context, h Holder, _ bool) Verdict {
	switch {
	case m.Runs == nil:
		return Verdict{}
	case h.Job.Server == "" || h.Job.Server != m.Self.Job.Server:
		return Verdict{Unknown, "its run is on another server, which is not asked"}
	}
	life, evidence := m.Runs.Run(ctx, h.Job)
	if life == Dead {
		if v := m.byProcesses(ctx, h, true); v.Life == Alive {
			return v
		}
	}
	return Verdict{life, evidence}
}

// alive looks a process up by pid and start time.
func (m *Mutex) alive(p Process) Life {
	start, err := m.Host.Start(p.PID)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Dead
	case err != nil:
		return Unknown
	case start != p.Start:
		return Dead // the pid was given to another
	}
	return Alive
}

// age is taken from the boot-time clock where both sides share it: a step of
// the clock would make a living holder old at once. A time to come on that clock
// is forged, and would keep the entry young for ever.
func (m *Mutex) age(e Entry) time.Duration {
	if boot := m.Self.Place.Boot; boot != "" && e.label("boot") == boot { // not Holder: a release asks this of every ticket
		if uptime, err := time.ParseDuration(e.label("uptime")); err == nil && uptime > 0 {
			if age := m.Host.Uptime() - uptime; age >= 0 {
				return age
			}
		}
	}
	return time.Since(e.Created)
}
