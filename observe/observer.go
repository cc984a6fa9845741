package observe

import (
	"context"
	"time"

	"hostguard/history"
)

// Eyes look at a host.
type Eyes interface {
	// Look returns what is there now. After an error nothing is known.
	Look(ctx context.Context) (Look, error)
	// Watch delivers a value when it is worth to look again, until the channel is closed: true
	// if what there is to see is gone in a moment.
	Watch(ctx context.Context) (<-chan bool, error)
}

// Recorder keeps the history.
type Recorder interface {
	// Look adds what one look has shown. A failure is reported by the recorder itself, which
	// goes on.
	Look(at time.Time, open, ended []history.Interval, stall *history.Stall) error
	// Bytes returns the size of the history.
	Bytes() int64
}

// Observer looks at a host, and hands on what it saw.
type Observer struct {
	Eyes     Eyes
	Recorder Recorder
	// Changed is called after each look with the look, and what is open and has ended.
	Changed func(l Look, open, ended []history.Interval)
	Metrics *Metrics
	// Report prints a line for the operator.
	Report func(format string, args ...any)

	tracker Tracker
	stalled time.Time // the stall that was recorded last

	recorded     time.Time // when a look was
	recordedOpen int       // how many intervals were open then
}

const (
	// busyPause is the pause between two looks while a lock is held: no event shows a release.
	busyPause = time.Second
	// quietPause is that while none is: the store reports a new holder by an event.
	quietPause = 4 * time.Second
	// eventDelay lets what belongs to one event happen, such as a ticket and its lock.
	eventDelay = 50 * time.Millisecond
	// eventPause is the least pause between two looks, whatever happens.
	eventPause = 250 * time.Millisecond
	// longestPause is that between two looks at a store that does not answer.
	longestPause = 30 * time.Second
	// recordPause is that between two records of looks that show nothing new.
	recordPause = 2500 * time.Millisecond
	// lookTime bounds one look.
	lookTime = 20 * time.Second
	// watchPause is that between two tries to watch the store.
	watchPause = 10 * time.Second
)

// Run looks until ctx ends. A store that does not answer is reported once: it may be
// restarting, and the looks go on with growing pauses.
func (o *Observer) Run(ctx context.Context) {
	var events <-chan bool
	var watched, failing time.Time // when the watch was tried, and since when looks fail
	pause := busyPause
	for ctx.Err() == nil {
		began := time.Now()
		if events == nil && began.Sub(watched) > watchPause {
			events, _ = o.Eyes.Watch(ctx) // without it, each second is looked at
			watched = began
		}
		busy, err := o.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && failing.IsZero():
			failing, pause = began, busyPause
			o.Report("look at the locks: %v; trying again, and until then nothing is recorded", err)
		case err != nil:
			pause = min(2*pause, longestPause)
		case !failing.IsZero():
			o.Report("the locks are seen again, after %s", began.Sub(failing).Round(time.Second))
			failing = time.Time{}
			fallthrough
		default:
			pause = busyPause
			if !busy && events != nil {
				pause = quietPause
			}
		}
		if !wait(ctx, began, pause, &events) {
			return
		}
	}
}

// wait returns when it is time for the next look, or false if ctx ended. A watch that has
// ended becomes nil.
func wait(ctx context.Context, began time.Time, pause time.Duration, events *<-chan bool) bool {
	timer := time.NewTimer(time.Until(began.Add(pause)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case urgent, open := <-*events:
			if !open {
				*events = nil
				continue
			}
			if urgent {
				return true
			}
			sooner := max(eventDelay, time.Until(began.Add(eventPause)))
			if sooner < time.Until(began.Add(pause)) {
				timer.Reset(sooner)
				pause = time.Since(began) + sooner // further events do not move it
			}
		}
	}
}

// look takes one look, and reports whether something may end that no event shows.
func (o *Observer) look(ctx context.Context) (busy bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	began := time.Now()
	l, err := o.Eyes.Look(ctx)
	o.Metrics.Looked(began, time.Since(began), err)
	if err != nil {
		return false, err
	}
	open, ended := o.tracker.Look(l)
	var stall *history.Stall
	if l.Stall.Time.After(o.stalled) {
		stall, o.stalled = &l.Stall, l.Stall.Time
	}
	// Only what is recorded survives a kill: each change, and else that it still was so.
	if len(ended) > 0 || len(open) != o.recordedOpen || stall != nil || began.Sub(o.recorded) >= recordPause {
		err = o.Recorder.Look(l.At, open, ended, stall)
		o.recorded, o.recordedOpen = began, len(open)
		o.Metrics.Recorded(o.Recorder.Bytes(), err)
	}
	o.Metrics.Saw(l, open, ended)
	o.Changed(l, open, ended)
	return len(l.Locks) > 0, nil
}
