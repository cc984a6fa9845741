package steps

import (
	"fmt"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

// lockLog reports a wait: at every change, and every 30 seconds.
type lockLog struct {
	*cli.Session
	start    time.Time
	last     lock.Wait
	reported time.Time

	leaving bool

	store  string // of the first line; empty once it is printed
	settle time.Duration
}

const reportEvery = 30 * time.Second

func newLockLog(s *cli.Session, store *lockwire.Store, settle time.Duration) *lockLog {
	return &lockLog{Session: s, start: time.Now(), store: store.Where, settle: settle}
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
			l.Print("after %s: undoing the incomplete acquire takes longer", cli.Short(time.Since(l.start)))
		}
		l.leaving = true
		return
	}
	changed := l.reported.IsZero() || w.Holder.ID != l.last.Holder.ID || w.Holder.Verdict != l.last.Holder.Verdict ||
		w.Position != l.last.Position || (w.Err != nil) != (l.last.Err != nil)
	if w.Err != nil && l.last.Err == nil {
		w.Holder = l.last.Holder
	}
	l.last = w
	if !changed && time.Since(l.reported) < reportEvery {
		return
	}
	l.reported = time.Now()
	if w.Err != nil {
		l.Print("waiting %s: %s; trying again", cli.Short(time.Since(l.start)), w.Err)
		return
	}
	l.Print("waiting %s: %s; position %d of %d", cli.Short(time.Since(l.start)), l.waitedFor(), w.Position,
		max(w.Waiters, w.Position))
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
