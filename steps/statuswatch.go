package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/internal/terminal"
	"hostguard/lock"
)

const (
	watchEvery = 2 * time.Second // between two looks of status -watch
	drawEvery  = time.Second     // between two pictures: times go on between the looks
	pastEvery  = 30 * time.Second
)

// looked is what one look of status -watch has found.
type looked struct {
	report   statusReport
	err      error
	panicked any
}

// follow looks again and again, until it is interrupted or nobody reads any more.
func (o *hostStatus) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	looks := make(chan looked)
	go o.lookOn(ctx, looks)
	style, ok := o.Terminal()
	switch {
	case o.json:
		return o.printLooks(ctx, looks)
	case ok && style.Redraws:
		return o.redraw(ctx, looks)
	}
	return o.printChanges(ctx, looks)
}

// lookOn looks until ctx ends. A panic is handed over, for the terminal must be given back first.
func (o *hostStatus) lookOn(ctx context.Context, looks chan<- looked) {
	send := func(l looked) {
		select {
		case looks <- l:
		case <-ctx.Done():
		}
	}
	defer func() {
		if p := recover(); p != nil {
			send(looked{panicked: p})
		}
	}()
	known, read := readPast(o.Session, o.history), time.Time{}
	for ctx.Err() == nil {
		if known.record != nil && time.Since(read) >= pastEvery {
			known, read = known.withHour(o.Session, o.history), time.Now()
		}
		report, err := o.look(ctx, known)
		send(looked{report: report, err: err})
		select {
		case <-ctx.Done():
		case <-time.After(watchEvery):
		}
	}
}

// next returns the next look, or false at the end: of ctx, or of the tick.
func next(ctx context.Context, looks <-chan looked, tick <-chan time.Time) (l looked, ok bool) {
	select {
	case <-ctx.Done():
		return l, false
	case <-tick:
		return l, false
	case l = <-looks:
		if l.panicked != nil {
			panic(l.panicked)
		}
		return l, true
	}
}

// ended returns how a watch ends that ctx has ended: Ctrl-C is how a person leaves it.
func ended(ctx context.Context) error {
	if i, ok := errors.AsType[*cli.Interrupted](context.Cause(ctx)); ok && i.Signal == syscall.SIGINT {
		return nil
	}
	return context.Cause(ctx)
}

// printLooks prints each look as JSON.
func (o *hostStatus) printLooks(ctx context.Context, looks <-chan looked) error {
	for {
		l, ok := next(ctx, looks, nil)
		if !ok {
			return ended(ctx)
		}
		if l.err != nil {
			return l.err
		}
		if err := o.print(l.report); err != nil {
			return err
		}
	}
}

// printChanges prints a line for each change.
func (o *hostStatus) printChanges(ctx context.Context, looks <-chan looked) error {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	log := changeLog{zone: time.Local}
	failing := false
	for {
		l, ok := next(ctx, looks, tick.C)
		switch {
		case ctx.Err() != nil:
			return ended(ctx)
		case terminal.ReaderGone(o.Stdout):
			return nil
		case !ok:
			continue
		case l.err != nil && log.before == nil:
			return l.err
		case l.err != nil:
			if !failing {
				o.Print("%s %s; looking again", time.Now().Format(time.TimeOnly), cli.OneLine(l.err))
			}
			failing = true
			continue
		}
		failing = false
		for _, line := range log.add(l.report) {
			if err := o.Line(line); err != nil {
				return err
			}
		}
	}
}

// redraw shows the looks in place, until q or Ctrl-C.
func (o *hostStatus) redraw(ctx context.Context, looks <-chan looked) error {
	l, ok := next(ctx, looks, nil) // before the screen is switched: an error stays readable
	if !ok {
		return ended(ctx)
	}
	if l.err != nil {
		return l.err
	}
	screen, err := terminal.OpenScreen(o.Stdin, o.Stdout)
	if err != nil {
		return err
	}
	defer screen.Close()
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	keys := screen.Keys()
	picture := watchPicture{host: hostName(), report: l.report}
	for {
		style, _ := o.Terminal() // its size may have changed
		picture.report.Time = time.Now()
		if err := screen.Draw(picture.lines(style, time.Local, screen.Height()), style.Width); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-tick.C:
		case l := <-looks:
			if l.panicked != nil {
				panic(l.panicked)
			}
			if picture.err = l.err; l.err == nil {
				picture.report = l.report
			}
		case key, open := <-keys:
			if !open {
				keys = nil // the terminal is gone, or never had any
			}
			const interrupt, endOfFile = 3, 4 // Ctrl-C and Ctrl-D
			if open && slices.Contains([]byte{'q', 'Q', interrupt, endOfFile}, key) {
				return nil
			}
		}
	}
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "this host"
	}
	return name
}

// withHour returns what is known with the last hour as it is now.
func (p past) withHour(s *cli.Session, dir string) past {
	record, err := lockwire.ReadHistory(s, dir, time.Now().Add(-time.Hour))
	if err != nil {
		return p
	}
	p.hour, p.runs = record, newPast(record).runs
	return p
}

// changeLog turns reports into lines about what has changed.
type changeLog struct {
	zone   *time.Location
	before map[string]lockReport // by name; nil before the first
	last   time.Time
}

// add returns the lines for what differs from the last report. The first names all there is.
func (c *changeLog) add(r statusReport) (lines []string) {
	width := 0
	for _, l := range r.Locks {
		width = max(width, len(l.Name))
	}
	begin := c.before == nil
	type change struct {
		at                 time.Time
		lock, state, about string
	}
	var changes []change
	now := map[string]lockReport{}
	for _, l := range r.Locks {
		now[l.Name] = l
		before := c.before[l.Name]
		held, waited := byID(before.Holders), byNonce(before.Waiters)
		stays, holds := byID(l.Holders), byNonce(l.Holders)
		note := func(at time.Time, state, about string) {
			changes = append(changes, change{at, l.Name, state, about})
		}
		for _, e := range before.Holders {
			if _, still := stays[e.ID]; still {
				continue
			}
			who := nameOf(e)
			if gone := e.State == lock.StateOrphan || e.State == lock.StateStale; gone && len(l.Holders) > 0 {
				note(r.Time, "taken over", who+": "+e.Evidence)
			} else {
				note(r.Time, "released", who+r.after(e))
			}
		}
		for _, e := range l.Holders {
			was, known := held[e.ID]
			switch waitedBefore, queued := waited[nonceOf(e)]; {
			case known && was.State != e.State:
				note(r.Time, string(e.State), nameOf(e)+": "+e.Evidence)
			case known:
			case queued:
				note(e.Since, string(e.State), about(e)+", waited "+elapsed(e.Since.Sub(waitedBefore.Since)))
			default:
				note(e.Since, string(e.State), about(e))
			}
		}
		left := byNonce(l.Waiters)
		for _, e := range before.Waiters {
			if _, waits := left[nonceOf(e)]; waits {
				continue
			}
			if _, got := holds[nonceOf(e)]; !got {
				note(r.Time, "gave up", nameOf(e)+r.after(e))
			}
		}
		for _, e := range l.Waiters {
			if _, waits := waited[nonceOf(e)]; !waits {
				note(e.Since, fmt.Sprintf("waits %d", e.Position), about(e))
			}
		}
		if begin && len(l.Holders) == 0 && len(l.Waiters) == 0 {
			note(r.Time, "free", "")
		}
	}
	for name, before := range c.before { // a free lock leaves nothing in the store
		if _, there := now[name]; there {
			continue
		}
		for _, e := range before.Holders {
			changes = append(changes, change{r.Time, name, "released", nameOf(e) + r.after(e)})
		}
		for _, e := range before.Waiters {
			changes = append(changes, change{r.Time, name, "gave up", nameOf(e) + r.after(e)})
		}
	}
	c.before = now
	// What has changed did so since the last look, whatever the store's clock shows.
	for i := range changes {
		at := changes[i].at
		if at.After(r.Time) {
			at = r.Time
		}
		if at.Before(c.last) {
			at = c.last
		}
		changes[i].at = at
	}
	slices.SortStableFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	for _, n := range changes {
		lines = append(lines, fmt.Sprintf("%s %-*s  %-9s %s", n.at.In(c.zone).Format(time.TimeOnly), width, n.lock,
			n.state, n.about))
	}
	c.last = r.Time
	return lines
}

// after says how long an entry was there.
func (r statusReport) after(e entryReport) string { return " after " + elapsed(r.Time.Sub(e.Since)) }

func byID(all []entryReport) map[string]entryReport {
	m := map[string]entryReport{}
	for _, e := range all {
		m[e.ID] = e
	}
	return m
}

func byNonce(all []entryReport) map[string]entryReport {
	m := map[string]entryReport{}
	for _, e := range all {
		m[nonceOf(e)] = e
	}
	return m
}

// nonceOf returns what the ticket and the lock of one process have in common.
func nonceOf(e entryReport) string {
	claim, _ := e.entry.Claim()
	return cmp.Or(claim.Nonce, e.ID)
}

func nameOf(e entryReport) string { return cmp.Or(history.Name(e.who), "nobody knows who") }

// about returns who it is, and for what.
func about(e entryReport) string {
	if what := history.Phrase(e.Reason); what != "" {
		return nameOf(e) + " (" + what + ")"
	}
	return nameOf(e)
}
