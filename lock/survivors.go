package lock

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"hostguard/internal/actrunner"
)

// What a job leaves behind is either work, such as a build that left the job's
// session, or a daemon, such as a compiler cache's or an agent, which outlives
// jobs by design. Both carry the job's environment. The lock waits for work.

const (
	// endPatience is how long a release at the end of a job waits for what is left
	// of that job.
	endPatience = 15 * time.Second
	// restTime is how long what is left has to rest until it is no proof of life.
	// With a release's patience and a poll that is less than a minute.
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
	// Busy tells that it works although it uses no CPU: an engine works for it, it
	// waits for a disk, or somebody has stopped it.
	Busy bool
}

func (s Survivor) String() string { return fmt.Sprintf("process %d (%.100q)", s.PID, s.Name) }

// rest is what a Mutex remembers of a job's survivors from one look to the next.
type rest struct {
	since time.Time // there has been next to no work
	spent time.Duration
	last  map[Process]time.Duration // the effort of each, at the last look
}

// after tells for how long they have rested at a look that found them so. What
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

// bySurvivors judges a holder whose job is over, as ended tells, by what is left
// of it. It looks on while this Mutex lives: a waiter sees for itself that
// nothing works any more, and whoever works again before that counts again.
func (m *Mutex) bySurvivors(ended string, traces Traces) Verdict {
	found, unread := m.Host.Survivors(traces)
	if len(found) > 0 {
		r := m.rests[traces]
		if r == nil {
			r = &rest{}
			if m.rests == nil {
				m.rests = map[Traces]*rest{}
			}
			m.rests[traces] = r
		}
		if left := r.after(found); left < restTime {
			s, verb := telling(found)
			rule := fmt.Sprintf("what is left of a job is no proof of life once it has rested for %s", restTime)
			return Verdict{Alive, fmt.Sprintf("%s, but %s %s; %s", ended, s, verb, rule)}
		}
		ended += fmt.Sprintf(", and what is left of it has rested for %s", restTime)
	} else {
		delete(m.rests, traces)
		ended += ", and no process of it is left"
	}
	if unread != "" {
		return Verdict{Unknown, ended + " as far as can be seen: " + unread}
	}
	return Verdict{Dead, ended}
}

// byTracking judges a job of GitHub's runner whose worker is gone. At the end of
// a job that runner kills what has its mark, unless it was killed itself.
func (m *Mutex) byTracking(h Holder) Verdict {
	ended := fmt.Sprintf("the worker of its job, process %d, is gone", h.Runner.PID)
	if h.Tracking == "" {
		return Verdict{Dead, ended}
	}
	traces, _ := m.jobTraces(h)
	v := m.bySurvivors(ended, traces)
	if v.Life == Unknown { // what cannot be read is no more likely this job's than another's
		v.Life = Dead
	}
	return v
}

// telling is the process that tells most of what is left: one that is busy, else
// the oldest, which is the same at every look.
func telling(found []Survivor) (s Survivor, verb string) {
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
// returns a process that is: the lock is better left to those who wait, who take
// it over when the work is over. It returns at once what cannot be seen from
// here: a job's own word is then all there is.
func (m *Mutex) AwaitEnd(ctx context.Context, e Entry) (left Survivor, found bool) {
	h, ours := e.Holder()
	traces, seen := m.jobTraces(h)
	if !ours || !seen {
		return Survivor{}, false
	}
	for end := time.Now().Add(endPatience); ; pause(ctx, poll/4) {
		survivors, _ := m.Host.Survivors(traces)
		if len(survivors) == 0 {
			return Survivor{}, false
		}
		if ctx.Err() != nil || !time.Now().Before(end) {
			left, _ = telling(survivors)
			return left, true
		}
	}
}

// jobTraces are those of a job's processes, if they can be seen from here.
func (m *Mutex) jobTraces(h Holder) (t Traces, seen bool) {
	t = Traces{From: cmp.Or(h.Step.Start, h.Process.Start), Cgroup: h.Cgroup}
	here := m.Self
	switch {
	case h.Command:
		return Traces{}, false
	case h.JobDir == "" && h.Container != "" && h.Container == here.Container && h.Place.PIDs == here.Place.PIDs:
		t.Container = true
	case !here.Place.same(h.Place):
		return Traces{}, false
	case actrunner.IsJobDir(h.JobDir):
		t.Dir = h.JobDir
	case h.Tracking != "":
		t.Variable = TrackingVariable + "=" + h.Tracking
	default:
		return Traces{}, false
	}
	return t, true
}

// TrackingVariable is what GitHub's runner marks all processes of a job with.
const TrackingVariable = "RUNNER_TRACKING_ID"
