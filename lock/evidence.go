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
	"hostguard/internal/hexid"
)

// Host is what a process can look up about the machine that it runs on.
type Host interface {
	// Start returns when the living process pid started, in clock ticks since
	// boot. fs.ErrNotExist proves that there is none; any other error, nothing.
	Start(pid int) (uint64, error)
	// Find looks for a process with those traces.
	Find(Traces) Found
	// Stopped reports whether a process is stopped by a signal or a debugger: it
	// lives, and does nothing.
	Stopped(pid int) bool
	// Gone reports whether a directory is not there although its parent is. After
	// an error it is not known.
	Gone(dir string) (bool, error)
	// Survivors returns all processes with those traces and what they have started,
	// but not this process and those above it. unread is as Found.Unread.
	Survivors(Traces) (found []Survivor, unread string)
	// Uptime is the boot-time clock, which no clock step moves.
	Uptime() time.Duration
}

// Traces are the marks by which a holder's processes can be recognized.
type Traces struct {
	Nonce string // in HOSTGUARD_HOLD, which with-lock's command inherits; and if recorded
	Limit bool   // in a resource limit, and
	Net   string // in a socket of that network namespace; or
	Dir   string // their working directory or a variable is inside; or
	// Variable is NAME=VALUE in their environment; or
	Variable string
	// Container: they run in the container of the looking process, beside the
	// program that keeps it up.
	Container bool

	// A process that cannot be read may have the traces only if it started no
	// earlier than From and is in this control group or below. Without the group
	// most hosts could prove nothing: root always starts something.
	From   uint64
	Cgroup string // as Claim.Cgroup; "" is any
}

// Found is the result of a look for traces.
type Found struct {
	Lives bool
	PID   int // of one that has them; 0 is unknown
	// Unread is why there may be one although none was found; "" is proof that
	// there is none.
	Unread string
}

// Containers is a store that runs containers as well, as a Docker daemon does.
type Containers interface {
	// Container reports whether the container of a full ID runs, and has since it
	// was started at that time; "" is any. Dead is the store's own answer that
	// there is none, that it has ended, or that it was started again.
	Container(ctx context.Context, id, started string) (Life, string)
}

// Runs is the server that the jobs come from.
type Runs interface {
	// Run reports whether a job is still running there. Dead is the answer that it
	// ended more than a minute ago: the server reports "cancelled" seconds before
	// the processes die.
	Run(ctx context.Context, job Job) (Life, string)
}

// Life is whether a holder lives. Unknown is never dead.
type Life int

const (
	Unknown Life = iota
	Alive
	Dead  // for ever
	Stale // unknown, and older than its stale-after
)

func (l Life) String() string { return [...]string{"unknown", "alive", "orphan", "stale"}[l] }

// Verdict is whether the holder of one entry lives, and the evidence.
type Verdict struct {
	Life     Life
	Evidence string // a clause that can follow "because"
}

// judge decides whether the holder of an entry lives. The first evidence that
// answers decides: the end of a reservation, a reboot, its container, its processes, the server that its
// job came from. Age comes last, and never against a proof of life. What could
// not be inspected is part of an unknown or stale verdict.
//
// Looking through all processes costs milliseconds, so a waiter, which judges
// every second, does so only when the verdict depends on it; thorough always does.
func (s *Space) judge(ctx context.Context, e Entry, thorough bool) Verdict {
	c, ours := e.Claim()
	stale := min(cmp.Or(c.StaleAfter, MaxStaleAfter), MaxStaleAfter)
	if !ours {
		stale = cmp.Or(s.Self.StaleAfter, DefaultStaleAfter)
	}
	age := s.age(e)
	var unseen []string
	if ours && e.label("version") == labelVersion {
		if c.Reserved > 0 {
			return byReservation(c, age)
		}
		for _, evidence := range []func(context.Context, Claim, bool) Verdict{
			s.byReboot, s.byContainer, s.byProcesses, s.byRun,
		} {
			v := evidence(ctx, c, thorough || age > stale)
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
		otherwise = "it was made without hostguard: nothing shows whether its owner lives"
	case otherwise == "":
		otherwise = "nothing shows whether it lives: its labels are of another version of hostguard or cannot be read"
	}
	if age > stale {
		return Verdict{Stale, fmt.Sprintf("it is %s old and may be taken over after %s; %s",
			age.Round(time.Second), stale, otherwise)}
	}
	return Verdict{Unknown, otherwise}
}

// byReboot judges by boot ids, which are proof only about the same machine, and not
// from or about a container, which may be a VM with a boot id of its own. Where
// machine ids do not prove that it is the same, this boot has to be later than the
// entry: the engine of both is on their own machine, which has had one boot since. An
// engine that several machines share proves no such thing: those made from one image
// have one machine id and boots of their own.
func (s *Space) byReboot(_ context.Context, c Claim, _ bool) Verdict {
	self := s.Self.Place
	if self.Container || c.Place.Container || self.Boot == "" || c.Place.Boot == "" || self.Boot == c.Place.Boot ||
		s.Shared || !self.local() || !c.Place.local() || !self.sameMachine(c.Place) {
		return Verdict{}
	}
	booted := time.Now().Add(-s.Host.Uptime())
	if (self.Machine == "" || c.Place.Machine == "") && (self.Times != "" || !c.Created.Before(booted)) {
		return Verdict{}
	}
	return Verdict{Dead, "the host was rebooted since"}
}

// byContainer judges by the state that the store reports for the holder's container.
// A holder records its container only if the store that keeps its entry shows it.
func (s *Space) byContainer(ctx context.Context, c Claim, thorough bool) Verdict {
	if c.Container == "" {
		return Verdict{}
	}
	store, ok := s.Engine.(Containers)
	if !ok || !hexid.Is(c.Container, 64) {
		return Verdict{Unknown, "its container is out of sight"}
	}
	life, evidence := store.Container(ctx, c.Container, c.Started)
	if life == Dead || c.ownContainer() {
		return Verdict{life, evidence}
	}
	// A container outlives a command, a shell, and the jobs of a runner in it.
	v := s.processes(c, thorough || s.Self.Place.same(c.Place))
	if v.Life == Unknown {
		v.Evidence = strings.TrimSuffix(evidence+", which proves nothing about what was run in it; "+v.Evidence, "; ")
	}
	return v
}

// byProcesses judges a holder that ran on the host; byContainer has judged the
// others by theirs.
func (s *Space) byProcesses(_ context.Context, c Claim, thorough bool) Verdict {
	if c.Container != "" {
		return Verdict{}
	}
	return s.processes(c, thorough)
}

// processes judges a with-lock by its process and those of its command, a job of
// act_runner by its private directory and the processes that work in it, a job of
// GitHub's runner by its worker.
func (s *Space) processes(c Claim, thorough bool) Verdict {
	if !s.Self.Place.same(c.Place) {
		if c.Command && thorough { // its marks are proof wherever they are seen
			if found := s.Host.Find(Traces{Nonce: c.Nonce, Limit: c.Limit, Net: c.Net}); found.Lives {
				return Verdict{Alive, "its command runs" + found.as()}
			}
		}
		return Verdict{Unknown, "its processes are out of sight from here"}
	}
	switch {
	case c.Command:
		return s.byCommand(c)
	case actrunner.IsJobDir(c.JobDir):
		return s.byJobDir(c, thorough)
	case c.Runner.known():
		switch s.alive(c.Runner) {
		case Alive:
			return Verdict{Alive, fmt.Sprintf("the worker of its job, process %d, runs", c.Runner.PID)}
		case Dead:
			return s.byTracking(c)
		}
		return Verdict{Unknown, fmt.Sprintf("the worker of its job, process %d, could not be looked up", c.Runner.PID)}
	}
	return Verdict{Unknown, "taken from a shell, not by a job: no process shows whether it is still needed"}
}

// byCommand judges a holder that runs a command under with-lock. The command
// inherits its marks, for hostguard may have been killed while it runs on.
func (s *Space) byCommand(c Claim) Verdict {
	if !c.Process.known() {
		return Verdict{Unknown, "its labels do not name its process"}
	}
	switch s.alive(c.Process) {
	case Alive:
		return Verdict{Alive, fmt.Sprintf("its hostguard process %d runs", c.Process.PID)}
	case Unknown:
		return Verdict{Unknown, fmt.Sprintf("its process %d could not be looked up", c.Process.PID)}
	}
	if !hexid.Is(c.Nonce, 32) {
		return Verdict{Unknown, "its labels do not name a mark of its command"}
	}
	gone := fmt.Sprintf("its hostguard process %d is gone", c.Process.PID)
	if c.Alone { // no other can carry its mark, readable or not
		return Verdict{Dead, gone}
	}
	found := s.Host.Find(Traces{Nonce: c.Nonce, Limit: c.Limit, Net: c.Net, From: c.Process.Start, Cgroup: c.Cgroup})
	switch {
	case found.Lives:
		return Verdict{Alive, gone + " but its command runs on" + found.as()}
	case found.Unread != "":
		return Verdict{Unknown, gone + ", but " + found.Unread}
	}
	return Verdict{Dead, gone + " and no process of its command is left"}
}

// as returns a clause that names the process, if it is known.
func (f Found) as() string {
	if f.PID == 0 {
		return ": a process has its socket"
	}
	return fmt.Sprintf(" as process %d", f.PID)
}

// byJobDir judges a job of act_runner, which removes the job's private directory
// when the job has ended, or what of it does not belong to root or is being
// written. A directory alone proves nothing: a killed runner leaves it, and between
// two steps no process works in it.
func (s *Space) byJobDir(c Claim, thorough bool) Verdict {
	ended := s.ends(c)
	if len(ended) == 0 && !thorough {
		return Verdict{Unknown, "its job directory and its runner are there as far as can be seen: " +
			"the job may be between two steps"}
	}
	traces, _ := s.jobTraces(c)
	if len(ended) > 0 {
		return s.bySurvivors(strings.Join(ended, " and "), traces)
	}
	if found := s.Host.Find(traces); found.Lives {
		return Verdict{Alive, fmt.Sprintf("process %d works in its job directory", found.PID)}
	}
	return Verdict{Unknown, "its job directory and its runner are there as far as can be seen, " +
		"but no process works there: the job may be between two steps"}
}

// actionsDir is in every private directory that a runner makes; a directory of that
// form that never had it is not being removed.
const actionsDir = "act"

// HasActions reports whether a job's private directory has its "act" in it.
func HasActions(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, actionsDir))
	return dir != "" && err == nil && info.IsDir()
}

func (s *Space) gone(path string) bool {
	gone, err := s.Host.Gone(path)
	return err == nil && gone
}

// ends returns the signs that a holder's job or with-lock is over, as far as they can
// be seen. They prove nothing about the processes left behind.
func (s *Space) ends(c Claim) (signs []string) {
	if !s.Self.Place.same(c.Place) {
		return nil
	}
	if c.Command {
		if c.Process.known() && s.alive(c.Process) == Dead {
			signs = append(signs, fmt.Sprintf("its hostguard process %d is gone", c.Process.PID))
		}
		return signs
	}
	if actrunner.IsJobDir(c.JobDir) && c.Place.Mounts != "" && c.Place.Mounts == s.Self.Place.Mounts {
		if s.gone(c.JobDir) {
			signs = append(signs, "its job directory is gone")
		} else if c.Actions && s.gone(filepath.Join(c.JobDir, actionsDir)) {
			signs = append(signs, "its job directory is being removed")
		}
	}
	if c.Runner.known() && s.alive(c.Runner) == Dead {
		signs = append(signs, fmt.Sprintf("its runner, process %d, is gone", c.Runner.PID))
	}
	return signs
}

// byRun asks the server, whose word is never better than what the host shows: it
// reports a cancelled run as "in progress" for more than a minute, and a holder
// whose run has ended there may still be seen to live.
func (s *Space) byRun(ctx context.Context, c Claim, _ bool) Verdict {
	switch {
	case s.Runs == nil:
		return Verdict{}
	case c.Job.Server == "" || strings.TrimRight(c.Job.Server, "/") !=
		strings.TrimRight(cmp.Or(s.Server, s.Self.Job.Server), "/"):
		return Verdict{Unknown, "its run is on another server, which is not asked"}
	}
	life, evidence := s.Runs.Run(ctx, c.Job)
	if signs := s.ends(c); life == Alive && len(signs) > 0 {
		return Verdict{Unknown, evidence + ", but " + strings.Join(signs, " and ")}
	}
	if life == Dead {
		if v := s.processes(c, true); v.Life == Alive {
			return v
		}
	}
	return Verdict{life, evidence}
}

// alive looks a process up by pid and start time.
func (s *Space) alive(p Process) Life {
	start, err := s.Host.Start(p.PID)
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

// age returns the age of an entry, by the boot-time clock where both sides share it:
// a step of the other clock would make a living holder old at once. A future time on
// that clock is forged, and would keep the entry young for ever.
func (s *Space) age(e Entry) time.Duration {
	here := s.Self.Place // and not Claim: a release asks this of every ticket
	if here.Boot != "" && e.label("boot") == here.Boot && e.label("time-namespace") == here.Times {
		if uptime, err := time.ParseDuration(e.label("uptime")); err == nil && uptime > 0 {
			if age := s.Host.Uptime() - uptime; age >= 0 {
				return age
			}
		}
	}
	return time.Since(e.Created)
}
