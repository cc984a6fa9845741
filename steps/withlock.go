package steps

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
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

Several locks are taken as acquire-lock takes them. "-backends docker,file -lock-name
build,deploy" takes "build" in Docker and "deploy" in the files, all or none; a single
name is the name in each of the backends.

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
}

// Inputs returns the table of inputs.
func (w *withLock) Inputs() []cli.Input {
	return append(w.acquireOptions.Inputs(), cli.Input{
		Name: "backends", Kind: cli.Distinct(&w.backends, len(lockwire.Backends), checkBackend), FlagOnly: true,
		Text: "take a lock in each of these lock-backends at once, with the names of lock-name in the same order, or " +
			"with its only one",
	}, cli.QuietInput())
}

func checkBackend(backend string) error {
	if !slices.Contains(lockwire.Backends, backend) {
		return fmt.Errorf("must be one of %s", strings.Join(lockwire.Backends, ", "))
	}
	return nil
}

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
	set, err := w.acquire(ctx)
	if err != nil {
		switch cli.StatusOf(err) {
		case cli.StatusRefused:
			return cli.WithStatus(cli.StatusLockTimeout, err)
		case cli.StatusFailed:
			return cli.WithStatus(cli.StatusCannotLock, err)
		}
		return err
	}
	taken := set.taken()
	for _, l := range set {
		switch {
		case l.above:
			s.Print("this job or a with-lock above already holds the lock %q (id %.12s), and keeps it when the "+
				"command ends", l.Lock, l.held.ID)
		case l == taken[len(taken)-1]:
			s.Print("acquired lock %q (id %.12s)%s, running %.200q", l.Lock, l.held.ID, w.placeOf(l.held), s.Wrapped[0])
		default:
			s.Print("acquired lock %q (id %.12s)%s", l.Lock, l.held.ID, w.placeOf(l.held))
		}
	}
	if len(taken) == 0 {
		return command.run(fenced(s.Environ, set.fence()))
	}
	err = w.runUnder(set, command)
	for _, l := range slices.Backward(taken) {
		switch released := l.m.Release(context.Background(), l.held.ID); {
		case errors.Is(released, lock.ErrNotFound):
			s.Warning("lock %q (id %.12s) was lost while the command ran: somebody took it away", l.Lock, l.held.ID)
		case released != nil:
			s.Warning("%s; others take it over once they see that this process is gone", released)
		default:
			s.Print("gave back lock %q", l.Lock)
		}
	}
	return err
}

// acquire acquires the locks, or finds them held above this process. A signal ends the wait; later
// ones go to the command.
func (w *withLock) acquire(ctx context.Context) (locks, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := w.CancelOnSignal(cancel)
	set, err := w.take(ctx, w.Session, markCommand)
	stop()
	if err == nil && ctx.Err() != nil { // interrupted at the last moment
		err = errors.Join(context.Cause(ctx), set.giveBack(ctx))
	}
	return set, cli.CheckInterrupted(ctx, err)
}

// markCommand marks this process, and so its command, before the first entry exists: then it may be
// killed at any moment, and leaves no command behind that cannot be recognized as running under the
// locks.
func markCommand(stores []*lockwire.Store) error {
	first := &stores[0].Self
	if err := proc.Local().Mark(first); err != nil {
		return err
	}
	for _, store := range stores {
		store.Self.Command, store.Self.Net, store.Self.Limit = true, first.Net, first.Limit
	}
	return nil
}

// runUnder runs the command, and reports at once if a lock is lost while it runs: nothing
// can be undone, but the log must show it.
func (w *withLock) runUnder(set locks, command wrapped) error {
	taken := set.taken()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Narrows the gap between acquiring the lock and starting the command, if this process
	// was stopped in it: else the list that showed the lock is as recent as another would be.
	if err := taken.checkLost(ctx); err != nil {
		return cli.WithStatus(cli.StatusCannotLock, fmt.Errorf("%w, and the command was not started", err))
	}
	// In the background, since a hung daemon must not keep signals from the command.
	var watch sync.WaitGroup
	for _, l := range taken {
		watch.Go(func() { w.watchLoss(ctx, l) })
	}
	err := command.run(fenced(command.underNonce(taken[0].store.Self.Nonce), set.fence()))
	cancel()
	watch.Wait() // before the lock is given back, which must not count as a loss
	return err
}

// watchLoss checks a lock until ctx ends, and reports its loss.
func (w *withLock) watchLoss(ctx context.Context, l *member) {
	select {
	case <-ctx.Done(): // a short command ends without a watch, whose end takes the kernel up to 25 ms (inotify)
		return
	case <-time.After(lossGap):
	}
	// A removal causes no event, but the next acquire of the lock does.
	taken, _ := l.store.Engine.Watch(ctx, l.held.Name)
	for interval := time.Duration(0); ctx.Err() == nil; interval = l.m.Scarce(lossCheck) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		case _, watching := <-taken:
			if !watching {
				taken = nil // the daemon is unreachable: check by time
			}
		}
		if l.m.Lost(ctx, l.held.ID) {
			w.Error("with-lock: lock %q (id %.12s) was lost while the command runs: somebody took it away, and may "+
				"build at the same time", l.Lock, l.held.ID)
			return
		}
	}
}
