package steps

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"hostguard/internal/actrunner"
	"hostguard/internal/cli"
	"hostguard/internal/filestore"
	"hostguard/internal/lockwire"
	"hostguard/internal/pressurewire"
	"hostguard/internal/proc"
	"hostguard/lock"
	"hostguard/pressure"
)

// Jobs that wait for the end of the same build must not all start at once, and two
// waiting jobs that already build must not wait for each other. So they take turns, by
// a lock in the store of the build lock: only the job that has the turn continues, the
// next one an interval later, when the build of the first can be seen; and builds of
// jobs that wait behind do not count.
//
// The turn only orders: without a store, each job continues after a random delay, and
// the last attempt does not need the turn.

// turnName is the lock's name. A waiting process holds it, never a job.
const turnName = "hostguard-wait-pressure"

// turnPatience is how long a look waits for the answer whether other jobs wait.
const turnPatience = time.Second

// turn is the place of this process among waiting jobs.
type turn struct {
	mutex    *lock.Mutex     // set before ready is closed
	store    *lockwire.Store // of mutex
	ready    chan struct{}   // closed when the turn is acquired, or cannot be
	err      error           // why it cannot be acquired
	acquired time.Time
	queued   atomic.Bool // another job has the turn

	begin    time.Time
	limit    time.Duration // of the whole wait
	interval time.Duration
	cancel   func()
	ended    chan struct{}
}

// takeTurn starts to acquire the turn in the background.
func takeTurn(ctx context.Context, s *cli.Session, limit, interval time.Duration) *turn {
	t := &turn{
		ready: make(chan struct{}), ended: make(chan struct{}), begin: time.Now(), limit: limit, interval: interval,
	}
	ctx, t.cancel = context.WithCancel(ctx)
	go func() {
		defer close(t.ended)
		held, err := t.acquire(ctx, s)
		t.err, t.acquired = err, time.Now()
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
	store.Self.Reason = "wait-pressure: next to continue once the pressure ends"
	store.Self.StaleAfter = t.limit + time.Minute
	ctx, cancel := context.WithTimeout(ctx, store.Self.StaleAfter) // by then the wait has ended
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

// end passes the turn to the next job.
func (t *turn) end() {
	t.cancel()
	<-t.ended
}

// mayProceed reports whether other waiters let this process continue. The first look
// waits a moment for the answer whether there are any.
func (t *turn) mayProceed() bool {
	if !t.queued.Load() {
		select {
		case <-t.ready:
		case <-time.After(turnPatience):
		}
	}
	if !t.decided() {
		return !t.queued.Load()
	}
	// A job that waited for the turn gives the one before it time to start its build.
	return t.err != nil || !t.queued.Load() || time.Since(t.acquired) >= t.interval
}

// decided reports whether the turn is acquired, or cannot be.
func (t *turn) decided() bool {
	select {
	case <-t.ready:
		return true
	default:
		return false
	}
}

// guard returns a look that is clear only when this process has the turn too.
func (t *turn) guard(
	look func(context.Context) (pressure.Verdict, error),
) func(context.Context) (pressure.Verdict, error) {
	return func(ctx context.Context) (pressure.Verdict, error) {
		v, err := look(ctx)
		last := time.Since(t.begin) >= t.limit-t.interval
		if err == nil && v.Clear() && !last && !t.mayProceed() {
			v.Over = append(v.Over, "another waiting job goes first")
		}
		return v, err
	}
}

// failure returns why waiting jobs cannot take turns, or "".
func (t *turn) failure() string {
	if t.decided() && t.err != nil {
		return cli.OneLine(t.err)
	}
	return ""
}

// waitersBehind returns the jobs that wait while this process has the turn.
func (t *turn) waitersBehind(ctx context.Context, home string) (owners []pressure.Owner) {
	if !t.decided() || t.err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pressurewire.DockerTime)
	defer cancel()
	surveys, err := t.store.Survey(ctx, turnName)
	if err != nil {
		return nil
	}
	self := t.store.Self.Place
	for _, e := range surveys[0].Waiters { // of turnName
		h, _ := e.Claim()
		// Pids and directories of another namespace mean nothing here.
		if self.PIDs == "" || h.Place.PIDs != self.PIDs || h.Place.Boot != self.Boot || h.Place.Mounts != self.Mounts {
			continue
		}
		// A ticket may be forged: it names a process, no more.
		if w, waits := proc.Local().Waiter(h.Process); waits {
			owners = append(owners, pressure.Owner{PID: h.Process.PID, Step: w.Step, OneUser: true,
				Dirs: pressure.OwnDirs(home, w.Workspace, actrunner.JobDir(w.Temp), nil)})
		}
	}
	return owners
}
