package proof

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
)

// own starts an engine that no other test uses.
func own(t *testing.T, version string) contend.Store {
	t.Helper()
	e := engine.ForTest(t, version)
	return contend.Store{Name: version, Engine: e}
}

// crowd are with-locks whose commands notice when they are not alone.
type crowd struct {
	t        *testing.T
	rig      *contend.Rig
	detector string
	members  sync.WaitGroup

	mu       sync.Mutex
	statuses []int
	said     []string
}

func newCrowd(t *testing.T, r *contend.Rig) *crowd {
	return &crowd{t: t, rig: r, detector: filepath.Join(t.TempDir(), "detector")}
}

// join starts n of them.
func (c *crowd) join(n int, seconds string, args ...string) {
	args = append([]string{"with-lock", "-lock-name", c.rig.Lock, "-legacy-settle", "0s", "-timeout", "2m"}, args...)
	for range n {
		c.members.Go(func() {
			args := append(append(slices.Clone(args), "--"), contend.Inside(c.detector, seconds)...)
			cmd := exec.Command(c.rig.Binary, args...)
			cmd.Env = c.rig.Environ()
			var log contend.Log
			cmd.Stderr = &log
			status := contend.Status(cmd.Run())
			c.mu.Lock()
			defer c.mu.Unlock()
			c.statuses, c.said = append(c.statuses, status), append(c.said, log.String())
		})
	}
}

func (c *crowd) ended() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.statuses)
}

// allHeld waits for all, and expects that each held the lock, one at a time.
func (c *crowd) allHeld() (said string) {
	c.t.Helper()
	c.members.Wait()
	for i, status := range c.statuses {
		switch status {
		case 0:
		case contend.Overlap:
			c.t.Errorf("two held; one of them said:\n%s", c.said[i])
		default:
			c.t.Errorf("status %d; it said:\n%s", status, c.said[i])
		}
	}
	return strings.Join(c.said, "")
}

// queued waits until n wait in the queue.
func queued(t *testing.T, s contend.Store, lock string, n int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, tickets, err := s.Entries(lock)
		if err != nil {
			t.Fatal(err)
		}
		if len(tickets) == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d wait, want %d", len(tickets), n)
		}
	}
}

func TestDaemonKilledWhileOneHoldsAndOthersWait(t *testing.T) {
	t.Parallel()
	for _, version := range []string{engine.Old, engine.New} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := own(t, version)
			r := newRig(t, s)
			c := newCrowd(t, r)
			hold := exec.Command(r.Binary, append([]string{"with-lock", "-lock-name", r.Lock, "-legacy-settle", "0s", "--"},
				"flock", "--nonblock", c.detector, "sh", "-c", "echo held; read -r end; echo ends")...)
			hold.Env = r.Environ()
			var holder contend.Log
			hold.Stdout, hold.Stderr = &holder, &holder
			end, err := hold.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := hold.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = hold.Process.Kill() }()
			defer end.Close()
			limit := time.Now().Add(10 * time.Second)
			for ; !strings.Contains(holder.String(), "held\n"); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(limit) {
					t.Fatalf("nobody holds: %s", holder.String())
				}
			}
			c.join(16, "0.02")
			queued(t, s, r.Lock, 16)
			before, err := s.Engine.Docker("network", "ls", "--no-trunc", "--quiet", "--filter", "name="+r.Lock)
			if err != nil {
				t.Fatal(err)
			}

			if err := s.Engine.Kill(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second) // every waiter has looked, in vain
			if err := s.Engine.Restart(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(within) // every waiter has looked
			after, err := s.Engine.Docker("network", "ls", "--no-trunc", "--quiet", "--filter", "name="+r.Lock)
			if err != nil || after != before {
				t.Errorf("the lock was %q and is %q: %v", before, after, err)
			}
			if n := c.ended(); n != 0 {
				t.Errorf("%d of the waiters do not wait any more", n)
			}
			queued(t, s, r.Lock, 16)

			start := time.Now()
			if _, err := end.Write([]byte("\n")); err != nil {
				t.Fatal(err)
			}
			if err := hold.Wait(); err != nil || strings.Contains(holder.String(), "lost") ||
				!strings.Contains(holder.String(), "ends\n") {
				t.Errorf("the holder: %v: %s", err, holder.String())
			}
			c.allHeld()
			t.Logf("the queue was done %s after the holder", time.Since(start).Round(time.Millisecond))
		})
	}
}

// TestManyWaitForOneStaleLock: all see it go stale at the same time, all remove
// it, and one of them gets it.
func TestManyWaitForOneStaleLock(t *testing.T) {
	rounds := 5
	if soak() {
		rounds = 200
	}
	onEngines(t, func(t *testing.T, s contend.Store) {
		for round := range rounds {
			r := newRig(t, s)
			c := newCrowd(t, r)
			create := []string{"network", "create", "--config-only"}
			if round%2 == 0 { // else it is a plain one
				create = append(create, "--label", "hostguard.version=1", "--label", "hostguard.kind=lock",
					"--label", "hostguard.stale-after=2s")
			}
			if _, err := s.Engine.Docker(append(create, r.Lock)...); err != nil {
				t.Fatal(err)
			}
			c.join(64, "0.005", "-stale-after", "2s")
			said := c.allHeld()
			if n := strings.Count(said, " taken over: "); n != 1 || !strings.Contains(said, "; stale because it is ") {
				t.Errorf("taken over %d times:\n%s", n, said)
			}
			if t.Failed() {
				t.Fatalf("in round %d", round)
			}
		}
	})
}
