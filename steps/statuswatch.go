package steps

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/internal/terminal"
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
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		l, ok := next(ctx, looks, tick.C)
		switch {
		case ctx.Err() != nil:
			return ended(ctx)
		case terminal.ReaderGone(o.Stdout):
			return nil
		case !ok:
			continue
		case l.err != nil:
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

// redraw shows the looks in place, until q or Ctrl-C, or enter: then the link of the chosen run
// is printed, whole, on the screen as it was before.
func (o *hostStatus) redraw(ctx context.Context, looks <-chan looked) error {
	l, ok := next(ctx, looks, nil) // before the screen is switched: an error stays readable
	if !ok {
		return ended(ctx)
	}
	if l.err != nil {
		return l.err
	}
	picture := watchPicture{host: hostName(), report: l.report}
	if err := o.draw(ctx, looks, &picture); err != nil || picture.link == "" {
		return err
	}
	return o.Line(picture.link)
}

// draw shows a picture, with each look, until the reader leaves it.
func (o *hostStatus) draw(ctx context.Context, looks <-chan looked, picture *watchPicture) error {
	screen, err := terminal.OpenScreen(o.Stdin, o.Stdout)
	if err != nil {
		return err
	}
	defer screen.Close()
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	keys := screen.Keys()
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
			if slices.Contains([]string{"q", terminal.Interrupt, terminal.EndOfFile}, key) {
				return nil
			}
			if picture.press(key); picture.link != "" {
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
