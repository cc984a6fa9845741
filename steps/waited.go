package steps

import (
	"fmt"
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
	"hostguard/pressure"
)

// waited is what this process has seen while it waits: each holder or build, from when it was
// seen in the way until another was.
type waited struct {
	begin  time.Time
	causes []history.Interval
	place  int // in the queue when it came
}

func newWaited() *waited { return &waited{begin: time.Now()} }

func (w *waited) see(look lock.Wait) {
	now := time.Now()
	if w.place == 0 {
		w.place = look.Position
	}
	e := look.Holder.Entry
	if e.ID == "" { // free, and others are ahead
		return
	}
	c, ours := e.Claim()
	w.add(history.Interval{
		ID: e.ID, Kind: history.Hold, Who: lockwire.Who(e), What: c.Reason, Plain: !ours, From: e.Created, Until: now,
		Evidence: look.Holder.Verdict.Evidence,
	})
}

// seePressure records the first of the builds that a look at the gate has found, or the first
// limit that is exceeded.
func (w *waited) seePressure(look pressure.Attempt) {
	cause := history.Interval{Kind: history.Build, From: w.begin, Until: time.Now()}
	switch {
	case len(look.Blockers) > 0:
		b := look.Blockers[0]
		cause.ID, cause.Name, cause.From = fmt.Sprint(b.PID, b.Since.UnixMilli()), b.Tool, b.Since
		cause.Who = history.Who{Repository: b.Job.Repository, Workflow: b.Job.Workflow, Job: b.Job.Job,
			Run: b.Job.RunNumber}
	case len(look.Over) > 0:
		cause.Name = look.Over[0]
	default:
		return
	}
	w.add(cause)
}

// add records a cause that is seen now. Only the first can have begun before this process
// came; a later one was not there at the last look.
func (w *waited) add(cause history.Interval) {
	n := len(w.causes)
	if n > 0 {
		w.causes[n-1].Until = cause.Until
		if w.causes[n-1].ID == cause.ID {
			return
		}
		cause.From = cause.Until
	} else if cause.From.IsZero() {
		cause.From = w.begin
	}
	w.causes = append(w.causes, cause)
}

// takeOver records that the last holder was gone, and why.
func (w *waited) takeOver(j lock.Judged) {
	w.see(lock.Wait{Holder: j})
	last := &w.causes[len(w.causes)-1]
	last.End, last.Evidence = history.EndTakenOver, j.Verdict.Evidence
}

// answer returns why this job waited for a lock, or without a name for the end of pressure.
func (w *waited) answer(name string, who history.Who, got bool) history.Answer {
	now := time.Now()
	end := history.EndAcquired
	if !got {
		end = history.EndGaveUp
	}
	if n := len(w.causes); n > 0 {
		w.causes[n-1].Until = now
	}
	kind := history.Wait
	if name == "" {
		kind = history.Pressure
	}
	wait := history.Interval{Kind: kind, Name: name, From: w.begin, Until: now}
	return history.Answer{
		Who: who, Lock: name, From: w.begin, Until: now, Total: now.Sub(w.begin), End: end, Place: w.place,
		Parts: history.Parts(wait, w.causes, nil),
	}
}

// reportWait prints why the job waited, and adds it to the step's summary.
func reportWait(s *cli.Session, a history.Answer) {
	if text := a.Markdown(history.Stall{}); text != "" {
		s.Print("%s", a.Sentence())
		s.Summary(text + "\n")
	}
}
