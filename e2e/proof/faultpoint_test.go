package proof

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/wire"
	"hostguard/internal/docker"
	"hostguard/internal/filestore"
	"hostguard/internal/proc"
	"hostguard/lock"
)

// mortal is a store that ends this process with SIGKILL at one of its requests,
// before it or when it is done. The program itself has no such points.
type mortal struct {
	lock.Engine
	at       int64
	after    bool
	requests *atomic.Int64
}

func (m mortal) point(request func()) {
	here := m.requests.Add(1) == m.at
	if here && !m.after {
		die()
	}
	request()
	if here {
		die()
	}
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func (m mortal) Create(ctx context.Context, name string, labels map[string]string) (id string, err error) {
	m.point(func() { id, err = m.Engine.Create(ctx, name, labels) })
	return id, err
}

func (m mortal) List(ctx context.Context, prefixes ...string) (entries []lock.Entry, err error) {
	m.point(func() { entries, err = m.Engine.List(ctx, prefixes...) })
	return entries, err
}

func (m mortal) Remove(ctx context.Context, id string) (err error) {
	m.point(func() { err = m.Engine.Remove(ctx, id) })
	return err
}

func (m mortal) Watch(ctx context.Context, prefix string) (wakes <-chan struct{}, err error) {
	m.point(func() { wakes, err = m.Engine.Watch(ctx, prefix) })
	return wakes, err
}

// open opens a store as the program does.
func open(host string) (lock.Engine, error) {
	if host == "" {
		return filestore.Open(filestore.DefaultDir)
	}
	getenv := func(name string) string { return map[string]string{"DOCKER_HOST": host}[name] }
	return docker.Connect(context.Background(), getenv)
}

// mutex is the lock as a process sees it that holds for as long as it lives.
func mutex(engine lock.Engine, name string) *lock.Mutex {
	host := proc.Host{Proc: "/proc"}
	return (&lock.Space{Engine: engine, Host: host, Self: lock.Claim{
		Nonce: lock.NewNonce(), Place: host.Place(), Process: host.Process(os.Getpid()), Cgroup: host.Cgroup(), Command: true,
	}}).Lock(name)
}

const mortalVariable = "PROOF_MORTAL" // n, "before" or "after", lock, scene

// The scenes in which a process dies.
const (
	alone     = "alone"
	waiting   = "waiting"    // for another to give the lock back
	waitedFor = "waited for" // by another, when it gives back
)

// liveAndDie is the process that acquires and releases, and dies at a request.
func liveAndDie(life string) error {
	fields := strings.Fields(life)
	at, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return err
	}
	engine, err := open(os.Getenv("DOCKER_HOST"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m := mutex(mortal{engine, at, fields[1] == "after", new(atomic.Int64)}, fields[2])
	m.Settle = 20 * time.Millisecond
	held, err := m.Acquire(ctx)
	if err != nil {
		return err
	}
	if scene := strings.Join(fields[3:], " "); scene == waitedFor {
		if err := awaitEntry(ctx, engine, contend.QueuePrefix(m.Name())+"t-"); err != nil {
			return err
		}
	}
	return m.Release(ctx, held.ID)
}

// awaitEntry waits until there is an entry whose name begins with prefix.
func awaitEntry(ctx context.Context, engine lock.Engine, prefix string) error {
	for ctx.Err() == nil {
		if entries, err := engine.List(ctx, prefix); err != nil || len(entries) > 0 {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return ctx.Err()
}

// TestKilledAtEveryRequest ends a process at its first request to the store,
// then at its second, until it comes through.
func TestKilledAtEveryRequest(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, s contend.Store) {
		host := ""
		if s.Engine != nil {
			host = s.Engine.Host()
		}
		engine, err := open(host)
		if err != nil {
			t.Fatal(err)
		}
		for _, scene := range []string{alone, waiting, waitedFor} {
			for _, when := range []string{"before", "after"} {
				t.Run(scene+", "+when+" the request", func(t *testing.T) {
					t.Parallel()
					r := newRig(t, s)
					for n := 1; ; n++ {
						if n > 100 {
							t.Fatal("it dies at every request")
						}
						cmd := exec.Command(os.Args[0])
						cmd.Env = s.Environ(fmt.Sprintf("%s=%d %s %s %s", mortalVariable, n, when, r.Lock, scene))
						died, err := runMortal(t.Context(), engine, r.Lock, cmd, scene)
						if err != nil {
							t.Fatalf("killed %s request %d: %v", when, n, err)
						}
						if !died {
							t.Logf("died at %d requests", n-1)
							return
						}
					}
				})
			}
		}
	})
}

// runMortal runs a process in a scene and tells whether it was killed. Then the
// next one has to get the lock.
func runMortal(
	ctx context.Context, engine lock.Engine, name string, cmd *exec.Cmd, scene string,
) (died bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	other := mutex(engine, name)
	var held lock.Acquired
	if scene == waiting {
		if held, err = other.Acquire(ctx); err != nil {
			return false, err
		}
	}
	var log contend.Log
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return false, err
	}
	alive, end := context.WithCancel(ctx)
	go func() { err = cmd.Wait(); end() }()
	next := make(chan error, 1)
	switch scene {
	case waiting:
		_ = awaitEntry(alive, engine, contend.QueuePrefix(name)+"t-")
		time.Sleep(20 * time.Millisecond) // and at some moment of its waiting
		if err := other.Release(ctx, held.ID); err != nil {
			return false, err
		}
	case waitedFor:
		_ = awaitEntry(alive, engine, name)
		go func() { next <- take(ctx, engine, name, alive) }()
	}
	<-alive.Done()
	exit, exited := errors.AsType[*exec.ExitError](err)
	died = exited && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if err != nil && !died {
		return false, fmt.Errorf("%w: %s", err, log.String())
	}
	if scene == waitedFor {
		return died, <-next
	}
	return died, take(ctx, engine, name, alive)
}

// take has a fresh contender get the lock and give it back. It has to hold soon
// after others are gone.
func take(ctx context.Context, engine lock.Engine, name string, others context.Context) error {
	m := mutex(engine, name)
	var last lock.Wait
	m.OnWait = func(w lock.Wait) { last = w }
	late, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(others, func() {
		time.AfterFunc(within, func() { cancel(fmt.Errorf("the next one does not hold after %s", within)) })
	})
	defer stop()
	held, err := m.Acquire(late)
	if err != nil {
		return fmt.Errorf("%w; it waits for %+v", err, last)
	}
	return m.Release(ctx, held.ID)
}

// TestCommandsKilledAtEveryRequest does the same to the steps of a job, whose
// process the socket ends; the runner removes the job's directory then.
func TestCommandsKilledAtEveryRequest(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, s contend.Store) {
		engine, err := open(s.Engine.Host())
		if err != nil {
			t.Fatal(err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel() // nobody has to die first
		for _, step := range []string{"acquire-lock", "release-lock"} {
			for _, when := range []string{"before", "after"} {
				t.Run(step+", "+when+" the request", func(t *testing.T) {
					t.Parallel()
					r := newRig(t, s)
					for n := int64(1); ; n++ {
						if n > 100 {
							t.Fatal("it dies at every request")
						}
						died := killedStep(t, r, step, when, n)
						if err := take(t.Context(), engine, r.Lock, gone); err != nil {
							t.Fatalf("killed %s request %d: %v", when, n, err)
						}
						if !died {
							t.Logf("died at %d requests", n-1)
							return
						}
					}
				})
			}
		}
	})
}

// killedStep runs a job that acquires and releases. One of these steps is
// killed when the daemon gets its n-th request, or has done it.
func killedStep(t *testing.T, r *contend.Rig, victim, when string, n int64) (died bool) {
	t.Helper()
	j, err := r.Job(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(j.Dir) // as the runner does
	for _, step := range []string{"acquire-lock", "release-lock"} {
		cmd := j.Step(step)
		if step == "acquire-lock" {
			cmd.Args = append(cmd.Args, "-legacy-settle", "20ms")
		}
		if step == victim {
			ready := make(chan struct{})
			kill := func() {
				<-ready
				_ = cmd.Process.Kill()
			}
			var requests atomic.Int64
			p, err := wire.Start(r.Engine.Host(), func(*http.Request) wire.Fate {
				switch here := requests.Add(1) == n; {
				case here && when == "before":
					kill()
					return wire.Fate{Act: wire.DropRequest}
				case here:
					return wire.Fate{Act: wire.DropReply, Then: kill}
				}
				return wire.Fate{}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			cmd.Env = append(cmd.Env, "DOCKER_HOST="+p.Host())
			var log contend.Log
			cmd.Stdout, cmd.Stderr = &log, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			close(ready)
			err = cmd.Wait()
			if contend.Status(err) == -1 {
				return true
			}
			if err != nil {
				t.Errorf("%s: %v: %s", step, err, log.String())
			}
			continue
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", step, err, out)
		}
	}
	return false
}
