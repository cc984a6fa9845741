package lock

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"hostguard/internal/actrunner"
)

// What a job leaves behind is either work, such as a build that left the job's
// session, or a daemon, such as a compiler cache or an agent, which outlives jobs
// by design. Both carry the job's environment. The lock waits for work.

const (
	// endPatience is how long a release at the end of a job waits for what is left
	// of that job.
	endPatience = 15 * time.Second
	// restTime is after how much rest what is left is no proof of life. With a
	// release's patience and a poll that is less than a minute.
	restTime = 40 * time.Second
	// restEffort is what may be done in restTime and still be rest: 1.5 % of a
	// core. Measured on a loaded machine of two cores, in 40 s: idle JVMs 190 to
	// 350 ms, node, python, sccache and ssh-agent at most 60 ms; a loop of "sleep
	// 0.1; date" 5 s, tar 18 s.
	restEffort = restTime * 3 / 200
)

// Survivor is a process that is left of a job.
type Survivor struct {
	Process
	Name string // of its program
	// Effort is the CPU time that it and its ended children have used, and some
	// more for each process that they have started.
	Effort time.Duration
	// Busy: it works although it uses no CPU. An engine works for it, it waits for a
	// disk, or somebody has stopped it.
	Busy bool
}

func (s Survivor) String() string { return fmt.Sprintf("process %d (%.100q)", s.PID, s.Name) }

// rest is what a Space remembers about a job's survivors from one look to the next.
type rest struct {
	since time.Time // of next to no work
	spent time.Duration
	last  map[Process]time.Duration // the effort of each, at the last look
}

// after adds a look and returns how long the survivors have rested by now. One that
// was not there at the last look has done all its work since.
func (r *rest) after(found []Survivor) time.Duration {
	now, first, busy := time.Now(), r.last == nil, false
	last := make(map[Process]time.Duration, len(found))
	for _, s := range found {
		last[s.Process] = s.Effort
		r.spent += max(0, s.Effort-r.last[s.Process])
		busy = busy || s.Busy
	}
	r.last = last
	if first || busy || r.spent > restEffort {
		r.since, r.spent = now, 0
	}
	return now.Sub(r.since)
}

// bySurvivors judges a holder whose job has ended, with that evidence, by what is
// left of the job. It remembers its looks: a waiter sees for itself that nothing
// works any more, and a process that works again before that counts again.
func (s *Space) bySurvivors(ended string, traces Traces) Verdict {
	found, unread := s.Host.Survivors(traces)
	if len(found) > 0 {
		r := s.rests[traces]
		if r == nil {
			r = &rest{}
			if s.rests == nil {
				s.rests = map[Traces]*rest{}
			}
			s.rests[traces] = r
		}
		if left := r.after(found); left < restTime {
			survivor, verb := foremost(found)
			return Verdict{Alive, fmt.Sprintf("%s, but %s %s; "+
				"what is left of a job is no proof of life once it has rested for %s", ended, survivor, verb, restTime)}
		}
		ended += fmt.Sprintf(", and what is left of it has rested for %s", restTime)
	} else {
		delete(s.rests, traces)
		ended += ", and no process of it is left"
	}
	if unread != "" {
		return Verdict{Unknown, ended + " as far as can be seen: " + unread}
	}
	return Verdict{Dead, ended}
}

// byTracking judges a job of GitHub's runner whose worker is gone. At the end of
// a job that runner kills what has its mark, unless it was killed itself.
func (s *Space) byTracking(c Claim) Verdict {
	ended := fmt.Sprintf("the worker of its job, process %d, is gone", c.Runner.PID)
	if c.Tracking == "" {
		return Verdict{Dead, ended}
	}
	traces, _ := s.jobTraces(c)
	v := s.bySurvivors(ended, traces)
	if v.Life == Unknown { // what cannot be read is no more likely this job's than another's
		v.Life = Dead
	}
	return v
}

// foremost returns the survivor to name: one that is busy, else the oldest, which is
// the same at every look.
func foremost(found []Survivor) (s Survivor, verb string) {
	s = found[0]
	for _, other := range found[1:] {
		if other.Busy && !s.Busy || other.Busy == s.Busy && other.Start < s.Start {
			s = other
		}
	}
	if s.Busy {
		return s, "works on"
	}
	return s, "is left"
}

// AwaitEnd waits, at the end of the job that an entry is for, until nothing is
// left of that job but the caller and the processes above it. After 15 s it
// returns a process that is left: better leave the lock to the waiters, which take
// it over when the work is over. Where the job cannot be seen from here it returns
// at once.
func (s *Space) AwaitEnd(ctx context.Context, e Entry) (left Survivor, found bool) {
	c, ours := e.Claim()
	traces, seen := s.jobTraces(c)
	if !ours || !seen {
		return Survivor{}, false
	}
	for end := time.Now().Add(endPatience); ; pause(ctx, poll/4) {
		survivors, _ := s.Host.Survivors(traces)
		if len(survivors) == 0 {
			return Survivor{}, false
		}
		if ctx.Err() != nil || !time.Now().Before(end) {
			left, _ = foremost(survivors)
			return left, true
		}
	}
}

// jobTraces returns the traces of a job's processes, if they can be seen from here.
func (s *Space) jobTraces(c Claim) (t Traces, seen bool) {
	t = Traces{From: cmp.Or(c.Step.Start, c.Process.Start), Cgroup: c.Cgroup}
	here := s.Self
	switch {
	case c.Command:
		return Traces{}, false
	case c.JobDir == "" && c.Container != "" && c.Container == here.Container && c.Place.PIDs == here.Place.PIDs:
		t.Container = true
	case !here.Place.same(c.Place):
		return Traces{}, false
	case actrunner.IsJobDir(c.JobDir):
		t.Dir = c.JobDir
	case c.Tracking != "":
		t.Variable = TrackingVariable + "=" + c.Tracking
	default:
		return Traces{}, false
	}
	return t, true
}

// TrackingVariable is the variable by which GitHub's runner marks all processes of a job.
const TrackingVariable = "RUNNER_TRACKING_ID"
