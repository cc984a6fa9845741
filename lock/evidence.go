package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hostguard/internal/actrunner"
)

// Host is what can be looked up about the machine that this process runs on.
type Host interface {
	// Start returns when the living process pid started, in clock ticks since
	// boot. fs.ErrNotExist says that there is none; any other error, nothing.
	Start(pid int) (uint64, error)
	// Find looks for a process with those traces.
	Find(Traces) Found
	// Stopped reports whether a process is stopped by a signal or a debugger: it
	// lives, and does nothing.
	Stopped(pid int) bool
	// Gone tells whether a directory is not there although its parent is. An
	// error says that this could not be found out.
	Gone(dir string) (bool, error)
	// Survivors returns all processes with those traces and what they have started,
	// but not this process and those above it. unread is as Found.Unread.
	Survivors(Traces) (found []Survivor, unread string)
	// Uptime is the boot-time clock, which no clock step moves.
	Uptime() time.Duration
}

// Traces are what a holder's processes can be known by.
type Traces struct {
	Nonce string // in HOSTGUARD_HOLD, which with-lock's command inherits; and where they were recorded
	Limit bool   // in a resource limit, and
	Net   string // in a socket of that network namespace; or
	Dir   string // their working directory or a variable is inside; or
	// Variable is NAME=VALUE in their environment; or
	Variable string
	// Container tells that they are run in the container of the looking process,
	// beside the program that keeps it up.
	Container bool

	// A process that cannot be read may have the traces only if it started no
	// earlier than From and is in this control group or below. Without the
	// group most hosts could never tell: root always starts something.
	From   uint64
	Cgroup string // as Holder.Cgroup; "" is any
}

// Found is what a look for traces showed.
type Found struct {
	Lives bool
	PID   int // of one that has them; 0 is not known
	// Unread says why there may be one although none was found; "" is proof
	// that there is none.
	Unread string
}

// Containers is a store that runs containers as well, as a Docker daemon does.
type Containers interface {
	// Container tells whether the container of a full ID runs, and has since
	// it was started at that time; "" is any. Dead is the store's own answer
	// that there is none, that it has ended, or that it was started again.
	Container(ctx context.Context, id, started string) (Life, string)
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
// or about a container, which may be a VM with a boot id of its own. Where
// machine ids do not tell that it is the same, this boot has to be later than
// the entry: the engine of both is on their own machine, which has had one boot
// since.
func (m *Mutex) byReboot(_ context.Context, h Holder, _ bool) Verdict {
	self := m.Self.Place
	if self.Container || h.Place.Container || self.Boot == "" || h.Place.Boot == "" || self.Boot == h.Place.Boot ||
		!self.local() || !h.Place.local() || !self.sameMachine(h.Place) {
		return Verdict{}
	}
	booted := time.Now().Add(-m.Host.Uptime())
	if (self.Machine == "" || h.Place.Machine == "") && (self.Times != "" || !h.Created.Before(booted)) {
		return Verdict{}
	}
	return Verdict{Dead, "the host was rebooted since"}
}

// byContainer: a holder recorded its container only if the store that keeps its
// entry showed that it is this one, so the store's word on it counts.
func (m *Mutex) byContainer(ctx context.Context, h Holder, thorough bool) Verdict {
	if h.Container == "" {
		return Verdict{}
	}
	store, ok := m.Engine.(Containers)
	if !ok || !isHex(h.Container, 64) {
		return Verdict{Unknown, "its container is out of sight"}
	}
	life, evidence := store.Container(ctx, h.Container, h.Started)
	if life == Dead || h.ownContainer() {
		return Verdict{life, evidence}
	}
	// A container outlives a command, a shell, and the jobs of a runner in it.
	v := m.processes(h, thorough || m.Self.Place.same(h.Place))
	if v.Life == Unknown {
		v.Evidence = strings.TrimSuffix(evidence+", which says nothing of what was run in it; "+v.Evidence, "; ")
	}
	return v
}

// byProcesses judges a holder that ran on the host; those of a container have
// been looked at.
func (m *Mutex) byProcesses(_ context.Context, h Holder, thorough bool) Verdict {
	if h.Container != "" {
		return Verdict{}
	}
	return m.processes(h, thorough)
}

// processes judges a with-lock by its process and its command's, a job of
// act_runner by its private directory and whoever works in it, a job of GitHub's
// runner by its worker.
func (m *Mutex) processes(h Holder, thorough bool) Verdict {
	if !m.Self.Place.same(h.Place) {
		if h.Command && thorough { // its marks are proof wherever they are seen
			if found := m.Host.Find(Traces{Nonce: h.Nonce, Limit: h.Limit, Net: h.Net}); found.Lives {
				return Verdict{Alive, "its command runs" + found.as()}
			}
		}
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
			return m.byTracking(h)
		}
		return Verdict{Unknown, fmt.Sprintf("the worker of its job, process %d, could not be looked up", h.Runner.PID)}
	}
	return Verdict{Unknown, "it was taken outside any job: no process tells whether it is still wanted"}
}

// byCommand judges a holder that runs a command under with-lock. The command
// inherits its marks, for hostguard may have been killed while it runs on.
func (m *Mutex) byCommand(h Holder) Verdict {
	if !h.Process.known() || !isHex(h.Nonce, 32) {
		return Verdict{Unknown, "its labels do not tell its process"}
	}
	switch m.alive(h.Process) {
	case Alive:
		return Verdict{Alive, fmt.Sprintf("its hostguard process %d runs", h.Process.PID)}
	case Unknown:
		return Verdict{Unknown, fmt.Sprintf("its process %d could not be looked up", h.Process.PID)}
	}
	gone := fmt.Sprintf("its hostguard process %d is gone", h.Process.PID)
	if h.Alone { // no other can carry its mark, readable or not
		return Verdict{Dead, gone}
	}
	found := m.Host.Find(Traces{Nonce: h.Nonce, Limit: h.Limit, Net: h.Net, From: h.Process.Start, Cgroup: h.Cgroup})
	switch {
	case found.Lives:
		return Verdict{Alive, gone + " but its command runs on" + found.as()}
	case found.Unread != "":
		return Verdict{Unknown, gone + ", but " + found.Unread}
	}
	return Verdict{Dead, gone + " and no process of its command is left"}
}

// as names the process, if it is known.
func (f Found) as() string {
	if f.PID == 0 {
		return ": a process has its socket"
	}
	return fmt.Sprintf(" as process %d", f.PID)
}

// byJobDir judges a job of act_runner, which removes the job's private directory
// when the job has ended: all that it can, for some of it may belong to root or
// be written just then. A directory alone proves nothing: a killed runner leaves
// it, and between two steps no process works in it.
func (m *Mutex) byJobDir(h Holder, thorough bool) Verdict {
	ended := m.ends(h)
	if len(ended) == 0 && !thorough {
		return Verdict{Unknown, "its job directory and its runner are there as far as can be seen: the job may be between two steps"}
	}
	traces, _ := m.jobTraces(h)
	if len(ended) > 0 {
		return m.bySurvivors(strings.Join(ended, " and "), traces)
	}
	if found := m.Host.Find(traces); found.Lives {
		return Verdict{Alive, fmt.Sprintf("process %d works in its job directory", found.PID)}
	}
	return Verdict{Unknown, "its job directory and its runner are there as far as can be seen, but no process works there: the job may be between two steps"}
}

// actionsDir is in every private directory that a runner makes; a directory of that
// form which never had it is not being removed.
const actionsDir = "act"

// HasActions tells whether a job's private directory has its "act" in it.
func HasActions(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, actionsDir))
	return dir != "" && err == nil && info.IsDir()
}

func (m *Mutex) gone(path string) bool {
	gone, err := m.Host.Gone(path)
	return err == nil && gone
}

// ends are the signs that a holder's job or with-lock is over, as far as they can
// be seen. They prove nothing of what it has left behind.
func (m *Mutex) ends(h Holder) (signs []string) {
	if !m.Self.Place.same(h.Place) {
		return nil
	}
	if h.Command {
		if h.Process.known() && m.alive(h.Process) == Dead {
			signs = append(signs, fmt.Sprintf("its hostguard process %d is gone", h.Process.PID))
		}
		return signs
	}
	if actrunner.IsJobDir(h.JobDir) && h.Place.Mounts != "" && h.Place.Mounts == m.Self.Place.Mounts {
		if m.gone(h.JobDir) {
			signs = append(signs, "its job directory is gone")
		} else if h.Actions && m.gone(filepath.Join(h.JobDir, actionsDir)) {
			signs = append(signs, "its job directory is being removed")
		}
	}
	if h.Runner.known() && m.alive(h.Runner) == Dead {
		signs = append(signs, fmt.Sprintf("its runner, process %d, is gone", h.Runner.PID))
	}
	return signs
}

// byRun asks the server, whose word is never better than what the host shows: of
// a cancelled run it says "in progress" for more than a minute, and a holder that
// it counts as ended may still be seen to live.
func (m *Mutex) byRun(ctx context.Context, h Holder, _ bool) Verdict {
	switch {
	case m.Runs == nil:
		return Verdict{}
	case h.Job.Server == "" || h.Job.Server != m.Self.Job.Server:
		return Verdict{Unknown, "its run is on another server, which is not asked"}
	}
	life, evidence := m.Runs.Run(ctx, h.Job)
	if signs := m.ends(h); life == Alive && len(signs) > 0 {
		return Verdict{Unknown, evidence + ", but " + strings.Join(signs, " and ")}
	}
	if life == Dead {
		if v := m.processes(h, true); v.Life == Alive {
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
	here := m.Self.Place // and not Holder: a release asks this of every ticket
	if here.Boot != "" && e.label("boot") == here.Boot && e.label("time-namespace") == here.Times {
		if uptime, err := time.ParseDuration(e.label("uptime")); err == nil && uptime > 0 {
			if age := m.Host.Uptime() - uptime; age >= 0 {
				return age
			}
		}
	}
	return time.Since(e.Created)
}
