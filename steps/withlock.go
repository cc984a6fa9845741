package steps

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/internal/proc"
	"hostguard/lock"
)

const helpWithLock = `usage: hostguard with-lock [FLAG...] -- COMMAND [ARGUMENT ...]

Runs COMMAND while holding the lock, in a process group of its own, and gives the
lock back when COMMAND ends. Signals are forwarded; one a second later kills. If
hostguard itself is killed, the lock is free as soon as COMMAND is gone. COMMAND
inherits a socket (descriptor 56) and a limit without effect (RLIMIT_RTTIME), by
which others see whether it runs.

{inputs}

exit status: that of COMMAND (128 + signal if one ended it), 124 the lock was not
free in time, 125 hostguard could not do its work, 126 COMMAND cannot be run, 127
there is no such command, 2 wrong use, 130 or 143 interrupted while waiting.

example: hostguard with-lock -timeout 30m -- docker build -t app .
`

const (
	lossCheck = 5 * time.Second        // between two checks whether the lock is still held
	lossGap   = 100 * time.Millisecond // without a check, from acquiring it to the command and after its start
)

// withLock is one run of with-lock.
type withLock struct {
	acquireOptions
	*cli.Session
	m     *lock.Mutex
	store *lockwire.Store
	since time.Time // when it got the lock
}

// Inputs returns the table of inputs.
func (w *withLock) Inputs() []cli.Input { return append(w.acquireOptions.Inputs(), cli.QuietInput()) }

func (w *withLock) Run(ctx context.Context, s *cli.Session) error {
	w.Session = s
	if len(s.Wrapped) == 0 {
		return cli.Usagef("no command given; usage: hostguard with-lock [FLAG...] -- COMMAND [ARGUMENT ...]")
	}
	path, err := exec.LookPath(s.Wrapped[0])
	if err != nil {
		return cannotRun(s.Wrapped[0], err)
	}
	command := wrapped{s, path}
	go prepareStart()
	s.PrintInputs()
	noticeOtherLock(s)
	held, above, err := w.acquire(ctx)
	if err != nil {
		switch cli.StatusOf(err) {
		case cli.StatusRefused:
			return cli.WithStatus(cli.StatusLockTimeout, err)
		case cli.StatusFailed:
			return cli.WithStatus(cli.StatusCannotLock, err)
		}
		return err
	}
	if above.ID != "" {
		s.Print("this job or a with-lock above already holds the lock (id %.12s), and keeps it when the command ends",
			above.ID)
		return command.run(s.Environ)
	}
	s.Print("acquired lock %q (id %.12s)%s, running %.200q", w.Lock, held.ID, w.placeOf(held), s.Wrapped[0])
	err = w.runUnder(held, command)
	released := w.m.Release(context.Background(), held.ID)
	switch {
	case errors.Is(released, lock.ErrNotFound):
		s.Warning("lock %q (id %.12s) was lost while the command ran: somebody took it away", w.Lock, held.ID)
	case released != nil:
		s.Warning("%s; others take it over once they see that this process is gone", released)
	default:
		s.Print("gave back lock %q", w.Lock)
	}
	return err
}

// acquire acquires the lock, or finds it held above this process. A signal ends the
// wait; later ones go to the command.
func (w *withLock) acquire(ctx context.Context) (held lock.Acquired, above lock.Entry, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := w.CancelOnSignal(cancel)
	held, above, err = w.take(ctx)
	stop()
	if err == nil && ctx.Err() != nil { // interrupted after the lock was acquired
		err = context.Cause(ctx)
		if above.ID == "" {
			err = errors.Join(err, w.m.Release(ctx, held.ID))
		}
	}
	return held, above, cli.CheckInterrupted(ctx, err)
}

func (w *withLock) take(ctx context.Context) (held lock.Acquired, above lock.Entry, err error) {
	waiting, end := w.deadline(ctx)
	defer end()
	if w.store, err = w.open(waiting, w.Session); err != nil {
		return held, above, err
	}
	w.m = w.store.Lock(w.Lock)
	if above, ok, err := w.reentered(waiting, w.Session, w.m); ok || err != nil {
		return held, above, err
	}
	w.store.Self.Command = true
	// Before the entry exists: then this process, killed at any moment, leaves no
	// command behind that cannot be recognized as running under the lock.
	if err = proc.Local().Mark(&w.store.Self); err == nil {
		held, err = w.hold(waiting, w.Session, w.m, w.store)
		w.since = time.Now()
	}
	return held, above, err
}

// runUnder runs the command, and reports at once if the lock is lost while it runs:
// nothing can be undone, but the log must show it.
func (w *withLock) runUnder(held lock.Acquired, command wrapped) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Narrows the gap between acquiring the lock and starting the command, if this process
	// was stopped in it: else the list that showed the lock is as recent as another would be.
	if time.Since(w.since) > lossGap && w.m.Lost(ctx, held.ID) {
		return cli.WithStatus(cli.StatusCannotLock, fmt.Errorf("lock %q was lost before the command started: "+
			"somebody took it away", w.Lock))
	}
	// In the background, since a hung daemon must not keep signals from the command.
	var watch sync.WaitGroup
	watch.Go(func() { w.watchLoss(ctx, held) })
	err := command.run(command.underNonce(w.store.Self.Nonce))
	cancel()
	watch.Wait() // before the lock is given back, which must not count as a loss
	return err
}

// watchLoss checks the lock until ctx ends, and reports its loss.
func (w *withLock) watchLoss(ctx context.Context, held lock.Acquired) {
	select {
	case <-ctx.Done(): // a short command ends without a watch, whose end takes the kernel up to 25 ms (inotify)
		return
	case <-time.After(lossGap):
	}
	// A removal causes no event, but the next acquire of the lock does.
	taken, _ := w.store.Engine.Watch(ctx, held.Name)
	for interval := time.Duration(0); ctx.Err() == nil; interval = w.m.Scarce(lossCheck) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		case _, watching := <-taken:
			if !watching {
				taken = nil // the daemon is unreachable: check by time
			}
		}
		if w.m.Lost(ctx, held.ID) {
			w.Error("with-lock: lock %q (id %.12s) was lost while the command runs: somebody took it away, and may "+
				"build at the same time", w.Lock, held.ID)
			return
		}
	}
}
