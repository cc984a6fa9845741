package steps

import (
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

// waited is what this process has seen while it waits for a lock: each holder, from when it
// was seen in the way until another was.
type waited struct {
	begin   time.Time
	holders []history.Interval
	place   int // in the queue when it came
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
	if n := len(w.holders); n > 0 {
		w.holders[n-1].Until = now
		if w.holders[n-1].ID == e.ID {
			return
		}
	}
	c, ours := e.Claim()
	from := now
	if len(w.holders) == 0 {
		from = w.begin
		if e.Created.Before(from) {
			from = e.Created
		}
	}
	w.holders = append(w.holders, history.Interval{
		ID: e.ID, Kind: history.Hold, Who: lockwire.Who(e), What: c.Reason, Plain: !ours, From: from, Until: now,
		Evidence: look.Holder.Verdict.Evidence,
	})
}

// takeOver records that the last holder was gone, and why.
func (w *waited) takeOver(j lock.Judged) {
	w.see(lock.Wait{Holder: j})
	last := &w.holders[len(w.holders)-1]
	last.End, last.Evidence = history.EndTakenOver, j.Verdict.Evidence
}

// answer returns why this job waited for a lock.
func (w *waited) answer(name string, who history.Who, err error) history.Answer {
	now := time.Now()
	end := history.EndAcquired
	if err != nil {
		end = history.EndGaveUp
	}
	if n := len(w.holders); n > 0 {
		w.holders[n-1].Until = now
	}
	wait := history.Interval{Kind: history.Wait, Name: name, From: w.begin, Until: now}
	return history.Answer{
		Who: who, Lock: name, From: w.begin, Until: now, Total: now.Sub(w.begin), End: end, Place: w.place,
		Parts: history.Parts(wait, w.holders, nil),
	}
}

// reportWait prints why the job waited, and adds it to the step's summary.
func reportWait(s *cli.Session, a history.Answer) {
	if text := a.Markdown(history.Stall{}); text != "" {
		s.Print("%s", a.Sentence())
		s.Summary(text + "\n")
	}
}
