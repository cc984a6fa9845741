// Package conformance attacks the lock with processes of the real binary, the
// same way on every store: two Docker Engines and the directory of files.
package conformance

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
)

// sections is how many critical sections one run of a store must see.
func sections() int {
	if os.Getenv("HOSTGUARD_SOAK") != "" {
		return 20000
	}
	return 2000
}

// kills is how many of the contenders a run of a store has to lose.
func kills() int {
	if os.Getenv("HOSTGUARD_SOAK") != "" {
		return 1000
	}
	return 200
}

const places = 16 // that contend, each by one process after another

// stores starts every store that the suite runs on; a missing one is a failure.
func stores(t *testing.T, run func(*testing.T, contend.Store)) {
	for _, version := range []string{engine.Old, engine.New} {
		t.Run("docker-"+version, func(t *testing.T) { run(t, start(t, version)) })
	}
	t.Run("file", func(t *testing.T) { run(t, contend.Store{Name: "file"}) })
}

func start(t *testing.T, version string) contend.Store {
	e := engine.ForTest(t, version)
	return contend.Store{Name: version, Engine: e}
}

// run is one store under attack.
type run struct {
	t        *testing.T
	store    contend.Store
	away     string       // in an error while the store is
	again    func() error // ends the store with SIGKILL and starts it again; nil is the engine's
	binary   string
	lock     string
	detector string
	want     int // sections
	kills    int // processes that have to be killed meanwhile

	done, overlaps, killed, refused, unreachable, restarts, prunes atomic.Int32

	mu      sync.Mutex
	running map[*exec.Cmd]bool // with-lock and acquire-lock processes that may be killed
}

func newRun(t *testing.T, s contend.Store, want int) *run {
	binary, err := contend.Hostguard()
	if err != nil {
		t.Fatal(err)
	}
	return &run{
		t: t, store: s, away: "Docker daemon", binary: binary, want: want, running: map[*exec.Cmd]bool{},
		lock:     fmt.Sprintf("conformance-%d-%d", os.Getpid(), rand.Uint32()),
		detector: filepath.Join(t.TempDir(), "detector"),
	}
}

func (r *run) over() bool {
	return int(r.done.Load()) >= r.want && int(r.killed.Load()) >= r.kills || r.t.Failed()
}

// TestNoTwoHold runs 16 contenders over each store while processes are killed,
// networks are pruned and the daemon restarts. It is alone: its waiters work all the time,
// and beside three other tests it had a quarter of the sections a second.
func TestNoTwoHold(t *testing.T) {
	stores(t, func(t *testing.T, s contend.Store) {
		r := newRun(t, s, sections())
		r.kills = kills()
		r.attack()
	})
}

// attack runs contenders until enough was done, and checks what came of it.
func (r *run) attack() {
	t, s := r.t, r.store
	start := time.Now()
	chaos, stop := context.WithTimeout(t.Context(), time.Hour)
	var attackers, contenders sync.WaitGroup
	attackers.Go(func() { r.kill(chaos) })
	if s.Engine != nil {
		attackers.Go(func() { r.prune(chaos) })
	}
	if s.Engine != nil || r.again != nil {
		attackers.Go(func() { r.restart(chaos) })
	}
	for i := range places {
		contenders.Go(func() {
			for !r.over() && chaos.Err() == nil {
				if i%4 == 3 {
					r.asJob()
				} else {
					r.underWithLock()
				}
			}
		})
	}
	contenders.Wait()
	stop()
	attackers.Wait()
	took := time.Since(start)
	t.Logf("%s: %d sections in %s (%.0f a second), %d overlaps; "+
		"%d processes killed, %d restarts of the daemon, %d prunes, %d times no daemon",
		s.Name, r.done.Load(), took.Round(time.Second), float64(r.done.Load())/took.Seconds(), r.overlaps.Load(),
		r.killed.Load(), r.restarts.Load(), r.prunes.Load(), r.unreachable.Load())
	if r.overlaps.Load() != 0 {
		t.Errorf("%d overlaps", r.overlaps.Load())
	}
	if int(r.done.Load()) < r.want {
		t.Errorf("%d sections, want %d", r.done.Load(), r.want)
	}
	if int(r.killed.Load()) < r.kills || s.Engine != nil && r.prunes.Load() == 0 ||
		(s.Engine != nil || r.again != nil) && r.restarts.Load() != 3 {
		t.Error("the attack did not take place")
	}
	r.recovered()
}

// underWithLock is a section of with-lock, which may be killed at any time. Its
// command lives on then, and still has the lock.
func (r *run) underWithLock() {
	seconds := fmt.Sprintf("0.%03d", rand.N(6))
	if rand.N(40) == 0 {
		seconds = "0.2" // long enough to outlive a killed hostguard for a while
	}
	take := []string{"with-lock", "-timeout", "5m", "-lock-name", r.lock, "-legacy-settle", "0s", "--"}
	cmd := r.command(take, contend.Inside(r.detector, seconds)...)
	var out bytes.Buffer
	cmd.Stderr = &out
	r.count(r.mortal(cmd), out.String())
}

// mortal runs a process that may be killed, and returns its status.
func (r *run) mortal(cmd *exec.Cmd) int {
	if err := cmd.Start(); err != nil {
		return contend.Status(err)
	}
	r.mu.Lock()
	r.running[cmd] = true
	r.mu.Unlock()
	err := cmd.Wait()
	r.mu.Lock()
	delete(r.running, cmd)
	r.mu.Unlock()
	return contend.Status(err)
}

// asJob is a section of acquire-lock and release-lock in a job of its own. Its
// acquire-lock may be killed at any time; the runner then removes its directory.
func (r *run) asJob() {
	dir := filepath.Join(r.t.TempDir(), fmt.Sprintf("%016x", rand.Uint64()))
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		r.t.Error(err)
		return
	}
	env := filepath.Join(dir, "env")
	if err := os.WriteFile(env, nil, 0o600); err != nil {
		r.t.Error(err)
		return
	}
	job := []string{"GITHUB_ACTIONS=true", "GITHUB_ENV=" + env, "RUNNER_TEMP=" + filepath.Join(dir, "tmp")}
	step := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := r.command(append(args, "-lock-name", r.lock))
		cmd.Env = append(cmd.Env, job...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		return cmd, &out
	}
	defer os.RemoveAll(dir)
	acquire, out := step("acquire-lock", "-timeout", "5m", "-legacy-settle", "0s")
	if st := r.mortal(acquire); st != 0 {
		r.count(st, out.String())
		return
	}
	section := contend.Inside(r.detector, fmt.Sprintf("0.%03d", rand.N(6)))
	held := contend.Status(exec.Command(section[0], section[1:]...).Run())
	release, out := step("release-lock", "-mode", "hard-fail")
	if st := contend.Status(release.Run()); st != 0 || strings.Contains(out.String(), "lost") {
		r.t.Errorf("release-lock: status %d: %s", st, out)
	}
	r.count(held, "")
}

func (r *run) command(args []string, more ...string) *exec.Cmd {
	cmd := exec.Command(r.binary, append(args, more...)...)
	cmd.Env = r.store.Environ()
	return cmd
}

func (r *run) count(status int, out string) {
	switch {
	case status == 0:
		r.done.Add(1)
	case status == contend.Overlap:
		r.overlaps.Add(1)
	case status == -1: // killed
	case (status == 125 || status == 3) && r.store.Name != "file" && strings.Contains(out, r.away):
		r.unreachable.Add(1)
		time.Sleep(50 * time.Millisecond) // it is being restarted
	default:
		r.t.Errorf("status %d: %s", status, out)
	}
}

// kill ends a random process after every tenth section, some 200 ms later. By time
// alone a machine that is busy would do little but recover: 2,346 kills for 2,013
// sections were seen.
func (r *run) kill(ctx context.Context) {
	for ctx.Err() == nil {
		if r.done.Load() < 10*r.killed.Load() {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		time.Sleep(time.Duration(100+rand.N(200)) * time.Millisecond)
		r.mu.Lock()
		for cmd := range r.running { // in random order
			if cmd.Process.Kill() == nil {
				r.killed.Add(1)
			}
			break
		}
		r.mu.Unlock()
	}
}

func (r *run) prune(ctx context.Context) {
	for ctx.Err() == nil {
		for _, what := range []string{"network", "system"} {
			if _, err := r.store.Engine.Docker(what, "prune", "-f"); err == nil {
				r.prunes.Add(1)
			}
		}
		time.Sleep(2 * time.Second)
	}
}

// restart restarts the daemon at each quarter of the run; once after SIGKILL.
func (r *run) restart(ctx context.Context) {
	for quarter := 1; quarter <= 3; quarter++ {
		for int(r.done.Load()) < r.want*quarter/4 {
			if ctx.Err() != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		start := time.Now()
		if r.again != nil {
			if err := r.again(); err != nil {
				r.t.Error(err)
				return
			}
		} else if quarter == 2 {
			if err := r.store.Engine.Kill(); err != nil {
				r.t.Error(err)
			}
		}
		if r.again == nil {
			if err := r.store.Engine.Restart(); err != nil {
				r.t.Error(err)
				return
			}
		}
		r.restarts.Add(1)
		r.t.Logf("%s: restart %d took %s", r.store.Name, quarter, time.Since(start).Round(time.Millisecond))
	}
}

// recovered checks that whatever was left by the killed is taken over, and that
// nothing but a young wake marker is left then.
func (r *run) recovered() {
	start := time.Now()
	take := []string{"with-lock", "-timeout", "30s", "-lock-name", r.lock, "-legacy-settle", "0s", "--", "true"}
	out, err := r.command(take).CombinedOutput()
	if err != nil {
		r.t.Errorf("the lock is not free after all: %v: %s", err, out)
	}
	if held, tickets, err := r.store.Entries(r.lock); err != nil || len(held)+len(tickets) > 0 {
		r.t.Errorf("left behind: %q, %q, %v", held, tickets, err)
	}
	r.t.Logf("%s: all recovered after %s", r.store.Name, time.Since(start).Round(time.Millisecond))
}

// The same detector must find what plain "docker network create" lets through
// below Engine 25: a check that cannot fail is no check.
func TestTheDetectorFindsOverlapsOfPlainCreate(t *testing.T) {
	t.Parallel()
	s := start(t, engine.Old)
	r := newRun(t, s, 0)
	// All eight of a round get their networks, one after the other: a bridge takes the
	// daemon most of a second. Sections of 0.1 s then seldom meet.
	for end := time.Now().Add(time.Minute); r.overlaps.Load() == 0 && time.Now().Before(end); {
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				id, err := s.Engine.Docker("network", "create", r.lock)
				if err != nil {
					return
				}
				section := contend.Inside(r.detector, "2")
				r.count(contend.Status(exec.Command(section[0], section[1:]...).Run()), "")
				if _, err := s.Engine.Docker("network", "rm", id); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	t.Logf("%d overlaps beside %d sections", r.overlaps.Load(), r.done.Load())
	if r.overlaps.Load() == 0 {
		t.Error("no overlap found in a minute: the detector does not see")
	}
}

// TestPlainRivals lets workflows that know nothing of hostguard take the same
// lock, as their old scripts do, with the settle that is the default.
func TestPlainRivals(t *testing.T) {
	t.Parallel()
	for _, version := range []string{engine.Old, engine.New} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := start(t, version)
			start := time.Now()
			ambiguous := 0
			r := newRun(t, s, 0)
			const rounds = 40
			for range rounds {
				var group sync.WaitGroup
				for range 2 {
					group.Go(func() {
						take := []string{"with-lock", "-timeout", "1m", "-lock-name", r.lock, "--"}
						cmd := r.command(take, contend.Inside(r.detector, "0.02")...)
						out, err := cmd.CombinedOutput()
						r.count(contend.Status(err), string(out))
					})
				}
				group.Go(func() { ambiguous += r.plain() })
				group.Wait()
			}
			t.Logf("%s: %d rounds in %s, %d overlaps; rm NAME failed as ambiguous %d times", version, rounds,
				time.Since(start).Round(time.Second), r.overlaps.Load(), ambiguous)
			if r.overlaps.Load() != 0 || r.done.Load() != 3*rounds {
				t.Errorf("%d overlaps, %d of %d sections", r.overlaps.Load(), r.done.Load(), 3*rounds)
			}
		})
	}
}

// plain is a workflow with the old lock: create by name, rm by name. Below
// Engine 25 the rm fails while a candidate of ours is listed too; it tries again
// then, and the number of such failures is returned.
func (r *run) plain() (ambiguous int) {
	end := time.Now().Add(5 * time.Minute) // seconds suffice, but not where the daemon starves
	for time.Now().Before(end) {
		if _, err := r.store.Engine.Docker("network", "create", r.lock); err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		section := contend.Inside(r.detector, "2")
		r.count(contend.Status(exec.Command(section[0], section[1:]...).Run()), "")
		for time.Now().Before(end) {
			_, err := r.store.Engine.Docker("network", "rm", r.lock)
			if err == nil {
				return ambiguous
			}
			ambiguous++
		}
	}
	r.t.Error("the plain rival had no turn within a minute")
	return ambiguous
}
