package steps

import (
	"cmp"
	"fmt"
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

// lockLog reports a wait: on a terminal in one line that is rewritten, else at every change in
// full, and every 30 seconds in short.
type lockLog struct {
	*cli.Session
	name     string
	start    time.Time
	last     lock.Wait
	reported time.Time

	leaving, noticed bool

	line   *waitLine // nil in a log
	unfold func()    // ends the group of the log: a wait is shown outside it
	store  string    // of the first line; empty once it is printed
	settle time.Duration
}

const reportEvery = 30 * time.Second

func newLockLog(s *cli.Session, name string, store *lockwire.Store, settle time.Duration) *lockLog {
	return &lockLog{Session: s, name: name, start: time.Now(), store: store.Where, settle: settle,
		line: newWaitLine(s), unfold: func() {}}
}

// printStore prints once where the lock is.
func (l *lockLog) printStore() {
	if l.store == "" {
		return
	}
	l.Print("%s", l.store)
	l.store = ""
	if l.settle > 0 {
		l.Print("this engine can create two networks of one name; watching %s for a plain \"docker network "+
			"create\" of the same name, which goes unnoticed if it takes longer", l.settle)
	}
}

func (l *lockLog) wait(w lock.Wait) {
	if w.Leaving {
		if !l.leaving {
			l.line.end()
			l.Print("after %s: undoing the incomplete acquire takes longer", cli.Short(time.Since(l.start)))
		}
		l.leaving = true
		return
	}
	if w.Err != nil { // nothing new is known
		w.Holder, w.Position, w.Waiters = l.last.Holder, l.last.Position, l.last.Waiters
	}
	changed := l.reported.IsZero() || w.Holder.ID != l.last.Holder.ID || w.Holder.Verdict != l.last.Holder.Verdict ||
		w.Position != l.last.Position || (w.Err != nil) != (l.last.Err != nil)
	l.last = w
	l.notice(w)
	if !changed && time.Since(l.reported) < reportEvery {
		return
	}
	l.reported = time.Now()
	l.unfold()
	switch {
	case l.line != nil:
		l.line.show(func() string { return l.sentence(w) })
	case w.Err != nil:
		l.Print("waiting %s: %s; trying again", cli.Short(time.Since(l.start)), w.Err)
	case changed:
		l.Print("waiting %s: %s; %s", cli.Short(time.Since(l.start)), l.waitedFor(), place(w))
	default:
		l.Print("%s", l.sentence(w))
	}
}

// sentence says in short what the wait is for.
func (l *lockLog) sentence(w lock.Wait) string {
	waited := elapsed(time.Since(l.start))
	if w.Err != nil {
		return fmt.Sprintf("waiting %s: %s; trying again", waited, w.Err)
	}
	holder := "those ahead"
	if e := w.Holder.Entry; e.ID != "" {
		holder = describe(e) + ", who has held it for " + elapsed(time.Since(e.Created))
	}
	return fmt.Sprintf("waiting %s for %s; %s", waited, holder, place(w))
}

// notice adds a notice to the log of a job that has waited for a minute, once.
func (l *lockLog) notice(w lock.Wait) {
	if l.noticed || !l.InWorkflow() || w.Holder.ID == "" || time.Since(l.start) < noticeAfter {
		return
	}
	l.noticed = true
	l.Notice("this job has waited %s for lock %q, which %s has held for %s; %s", elapsed(time.Since(l.start)), l.name,
		describe(w.Holder.Entry), elapsed(time.Since(w.Holder.Created)), place(w))
}

// place says where in the queue a waiter is.
func place(w lock.Wait) string {
	return fmt.Sprintf("position %d of %d", w.Position, max(w.Waiters, w.Position))
}

// describe names who made an entry, and what for.
func describe(e lock.Entry) string {
	name := cmp.Or(history.Name(lockwire.Who(e)), "somebody unknown")
	if c, _ := e.Claim(); c.Reason != "" {
		name += " (" + history.Phrase(c.Reason) + ")"
	}
	return name
}

// waitedFor describes what the wait was for.
func (l *lockLog) waitedFor() string {
	switch {
	case l.reported.IsZero():
		return "the store did not answer in time"
	case l.last.Holder.ID == "":
		return "other jobs are ahead"
	}
	text := lockwire.DescribeHolder(l.last.Holder.Entry, time.Now())
	if v := l.last.Holder.Verdict; v.Evidence != "" {
		text += fmt.Sprintf(" (%s: %s)", v.Life, v.Evidence)
	}
	return text
}
