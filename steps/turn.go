package steps

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/filestore"
	"hostguard/internal/lockwire"
	"hostguard/internal/pressurewire"
	"hostguard/internal/proc"
	"hostguard/lock"
	"hostguard/pressure"
)

// Those who wait for the end of the same build must not all start at once, and
// two whose jobs build already must not wait for each other. So they take turns,
// by a lock in the store that the build lock is kept in: only who has the turn
// goes on, the next one an interval later, when the build of the first can be
// seen; and builds of those who wait behind do not count.
//
// The turn only orders: where there is no store, each goes on after a pause of
// chance, and the last attempt does not ask for it.

// turnName is the lock's name. It is held by a waiting process, never by a job.
const turnName = "hostguard-wait-pressure"

// turnPatience is how long a look waits to hear whether anyone else waits.
const turnPatience = time.Second

type turn struct {
	mutex  *lock.Mutex     // set before ready is closed
	store  *lockwire.Store // of mutex
	ready  chan struct{}   // closed when the turn was got, or cannot be
	failed error           // why it cannot be
	got    time.Time
	queued atomic.Bool // somebody else has it

	begin    time.Time
	limit    time.Duration // of the whole wait
	interval time.Duration
	cancel   func()
	ended    chan struct{}
}

// takeTurn asks for the turn, beside whatever is looked at meanwhile.
func takeTurn(ctx context.Context, s *cli.Session, limit, interval time.Duration) *turn {
	t := &turn{
		ready: make(chan struct{}), ended: make(chan struct{}), begin: time.Now(), limit: limit, interval: interval,
	}
	ctx, t.cancel = context.WithCancel(ctx)
	go func() {
		defer close(t.ended)
		held, err := t.acquire(ctx, s)
		t.failed, t.got = err, time.Now()
		close(t.ready)
		if err != nil {
			return
		}
		<-ctx.Done()
		_ = t.mutex.Release(context.WithoutCancel(ctx), held.ID) // if that fails, others see that this process is gone
	}()
	return t
}

func (t *turn) acquire(ctx context.Context, s *cli.Session) (lock.Acquired, error) {
	store, err := lockwire.Open(ctx, s, lockwire.BackendDocker, 0)
	if err != nil {
		if _, statErr := os.Stat(filestore.DefaultDir); statErr != nil || proc.Local().InContainer() {
			return lock.Acquired{}, err
		}
		if store, err = lockwire.Open(ctx, s, lockwire.BackendFile, 0); err != nil {
			return lock.Acquired{}, err
		}
	}
	store.Self.Command, store.Self.Alone = true, true // it lives as long as this process
	store.Self.Reason = "wait-pressure: next to go on when nothing presses"
	store.Self.StaleAfter = t.limit + time.Minute
	ctx, cancel := context.WithTimeout(ctx, store.Self.StaleAfter) // after which nobody asks any more
	defer cancel()
	m := store.Lock(turnName)
	m.OnWait = func(w lock.Wait) {
		if w.Err == nil {
			t.queued.Store(true)
		}
	}
	t.mutex, t.store = m, store
	return m.Acquire(ctx)
}

// end gives the turn to the next one.
func (t *turn) end() {
	t.cancel()
	<-t.ended
}

// mine reports whether this process may go on as far as other waiters matter. The
// first look waits a moment to hear whether there are any.
func (t *turn) mine() bool {
	if !t.queued.Load() {
		select {
		case <-t.ready:
		case <-time.After(turnPatience):
		}
	}
	if !t.answered() {
		return !t.queued.Load()
	}
	// Who had to wait for the turn gives the one before him time to begin.
	return t.failed != nil || !t.queued.Load() || time.Since(t.got) >= t.interval
}

// answered reports that the turn was got, or cannot be.
func (t *turn) answered() bool {
	select {
	case <-t.ready:
		return true
	default:
		return false
	}
}

// guard makes a clear look wait for the turn.
func (t *turn) guard(
	look func(context.Context) (pressure.Verdict, error),
) func(context.Context) (pressure.Verdict, error) {
	return func(ctx context.Context) (pressure.Verdict, error) {
		v, err := look(ctx)
		last := time.Since(t.begin) >= t.limit-t.interval
		if err == nil && v.Clear() && !last && !t.mine() {
			v.Over = append(v.Over, "another job that waited is let through first")
		}
		return v, err
	}
}

// alone says why waiters cannot agree, or nothing.
func (t *turn) alone() string {
	if t.answered() && t.failed != nil {
		return cli.OneLine(t.failed)
	}
	return ""
}

// behind are those who wait while this process has the turn.
func (t *turn) behind(ctx context.Context, home string) (owners []pressure.Owner) {
	if !t.answered() || t.failed != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pressurewire.DockerTime)
	defer cancel()
	surveys, err := t.store.Survey(ctx, turnName)
	if err != nil {
		return nil
	}
	self := t.store.Self.Place
	for _, e := range surveys[0].Waiters { // of the lock that was asked for
		h, _ := e.Claim()
		// Pids and directories of another namespace say nothing here.
		if h.Process.PID > 0 && self.PIDs != "" && h.Place.PIDs == self.PIDs && h.Place.Boot == self.Boot &&
			h.Place.Mounts == self.Mounts {
			owners = append(owners, pressure.Owner{PID: h.Process.PID,
				Dirs: pressure.OwnDirs(home, h.Workspace, h.JobDir, nil)})
		}
	}
	return owners
}
