package steps

import (
	"context"
	"fmt"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

// lockLog reports a wait: at every change, and every 30 seconds.
type lockLog struct {
	*cli.Session
	start time.Time
	last  lock.Wait
	told  time.Time

	leaving bool

	settle    time.Duration
	described chan string // which store this is; nil once that is printed
}

const tellEvery = 30 * time.Second

// describeTime is how long a line about a wait may be held back for the one about
// the store: asking an engine who it is takes it longer than the lock does.
const describeTime = 2500 * time.Millisecond

func newLockLog(ctx context.Context, s *cli.Session, store *lockwire.Store, settle time.Duration) *lockLog {
	l := &lockLog{Session: s, start: time.Now(), settle: settle, described: make(chan string, 1)}
	described := l.described
	go func() { described <- store.Describe(ctx) }()
	return l
}

// sayStore prints once which store this is. A daemon that hangs says nothing of
// itself.
func (l *lockLog) sayStore() {
	if l.described == nil {
		return
	}
	select {
	case line := <-l.described:
		l.described = nil
		l.Say("%s", line)
		if l.settle > 0 {
			l.Say("this engine takes a second network of the same name: looking out %s for a plain \"docker network "+
				"create\"; one that takes longer is not seen", l.settle)
		}
	case <-time.After(time.Until(l.start.Add(describeTime))):
	}
}

func (l *lockLog) wait(w lock.Wait) {
	if w.Leaving {
		if !l.leaving {
			l.Say("after %s: giving back what was half taken takes longer", cli.Short(time.Since(l.start)))
		}
		l.leaving = true
		return
	}
	changed := l.told.IsZero() || w.Holder.ID != l.last.Holder.ID || w.Holder.Verdict != l.last.Holder.Verdict ||
		w.Position != l.last.Position || (w.Err != nil) != (l.last.Err != nil)
	if w.Err != nil && l.last.Err == nil {
		w.Holder = l.last.Holder
	}
	l.last = w
	if !changed && time.Since(l.told) < tellEvery {
		return
	}
	l.told = time.Now()
	if w.Err != nil {
		l.Say("waiting %s: %s; trying again", cli.Short(time.Since(l.start)), w.Err)
		return
	}
	l.Say("waiting %s: %s; position %d of %d", cli.Short(time.Since(l.start)), l.inTheWay(), w.Position,
		max(w.Waiters, w.Position))
}

// inTheWay says what the wait was for.
func (l *lockLog) inTheWay() string {
	switch {
	case l.told.IsZero():
		return "the store took longer to answer"
	case l.last.Holder.ID == "":
		return "others were there before"
	}
	text := lockwire.DescribeHolder(l.last.Holder.Entry, time.Now())
	if v := l.last.Holder.Verdict; v.Evidence != "" {
		text += fmt.Sprintf(" (%s: %s)", v.Life, v.Evidence)
	}
	return text
}
