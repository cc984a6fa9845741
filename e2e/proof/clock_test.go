package proof

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/wire"
)

// clock is the daemon's, as its clients see it: all that hostguard reads of it
// is when a network was created. (A library in front of libc would not do:
// dockerd asks the kernel itself.)
type clock struct {
	mu      sync.Mutex
	offset  func() time.Duration     // from the true time, now
	created map[string]time.Duration // what it was when a network was made
}

// rewrite implements wire.Proxy.Rewrite.
func (c *clock) rewrite(r *http.Request, answer []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	off := func(id string) time.Duration {
		if _, seen := c.created[id]; !seen {
			c.created[id] = c.offset()
		}
		return c.created[id]
	}
	if strings.HasSuffix(r.URL.Path, "/networks/create") {
		var made struct{ ID string }
		if json.Unmarshal(answer, &made) == nil && made.ID != "" {
			off(made.ID)
		}
		return answer
	}
	var networks []map[string]json.RawMessage
	if !strings.HasSuffix(r.URL.Path, "/networks") || json.Unmarshal(answer, &networks) != nil {
		return answer
	}
	for _, n := range networks {
		var id string
		var at time.Time
		if json.Unmarshal(n["Id"], &id) == nil && json.Unmarshal(n["Created"], &at) == nil {
			n["Created"], _ = at.Add(off(id)).MarshalJSON()
		}
	}
	answer, _ = json.Marshal(networks)
	return answer
}

// onClocks runs a test with a daemon whose clock is wrong in each way.
func onClocks(t *testing.T, test func(*testing.T, contend.Store)) {
	constant := func(d time.Duration) func() time.Duration { return func() time.Duration { return d } }
	onEngines(t, func(t *testing.T, s contend.Store) {
		for name, offset := range map[string]func() time.Duration{
			"an hour ahead":  constant(time.Hour),
			"an hour behind": constant(-time.Hour),
			"stepping":       func() time.Duration { return time.Duration(rand.IntN(3)-1) * time.Hour },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := &clock{offset: offset, created: map[string]time.Duration{}}
				p, err := wire.Start(s.Engine.Host(), func(*http.Request) wire.Fate { return wire.Fate{} })
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := p.Close(); err != nil {
						t.Error(err)
					}
				})
				p.Rewrite = c.rewrite
				s := s
				s.Host = p.Host()
				test(t, s)
			})
		}
	})
}

// TestClockTakesNothingFromTheLiving: a job between two steps gives no sign of
// life, and its lock counts as stale after half an hour of the host's boot-time
// clock. A plain network has no other age than the daemon's; two hours are more
// than its clock is wrong.
func TestClockTakesNothingFromTheLiving(t *testing.T) {
	t.Parallel()
	onClocks(t, func(t *testing.T, s contend.Store) {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("plain %v", plain), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, s)
				var free func()
				if plain {
					if _, err := s.Engine.Docker("network", "create", "--config-only", r.Lock); err != nil {
						t.Fatal(err)
					}
					free = func() { run(t, s, "network", "rm", r.Lock) }
				} else {
					holder := wait(t, r, nil, "-stale-after", "30m")
					if _, err := holder.Holds(10 * time.Second); err != nil {
						t.Fatal(err)
					}
					free = func() {
						if err := holder.Leave(); err != nil {
							t.Error(err)
						}
					}
				}
				w := wait(t, r, nil)
				if w.EndsWithin(within) {
					t.Errorf("taken over by the clock; the waiter printed:\n%s", w.Log())
				}
				free()
				if _, err := w.Holds(within); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

func TestClockLeavesStaleStale(t *testing.T) {
	t.Parallel()
	onClocks(t, func(t *testing.T, s contend.Store) {
		r := newRig(t, s)
		j, err := r.Job(nil)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := j.Step("acquire-lock", "-legacy-settle", "0s", "-stale-after", "2s").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		start := time.Now()
		rec, err := wait(t, r, nil).Recovery(start)
		if err != nil {
			t.Fatal(err)
		}
		if least := 1900 * time.Millisecond; rec.Took < least || rec.Took > 2*time.Second+within {
			t.Errorf("taken over after %s, want 2s; the waiter printed:\n%s", rec.Took, rec.Log)
		}
		if !strings.Contains(rec.TookOverFrom, "(stale: it is 2s old") &&
			!strings.Contains(rec.TookOverFrom, "(stale: it is 3s old") {
			t.Errorf("took-over-from is %q", rec.TookOverFrom)
		}
	})
}

func TestClockLeavesTheQueueInOrder(t *testing.T) {
	t.Parallel()
	const members = 6
	onClocks(t, func(t *testing.T, s contend.Store) {
		r := newRig(t, s)
		holder := wait(t, r, nil)
		if _, err := holder.Holds(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		order := filepath.Join(t.TempDir(), "order")
		var group sync.WaitGroup
		var want strings.Builder
		for i := range members {
			group.Go(func() {
				cmd := exec.Command(r.Binary, "with-lock", "-lock-name", r.Lock, "-legacy-settle", "0s", "-timeout", "1m", "--",
					"sh", "-c", fmt.Sprintf("echo %d >>%s", i, order))
				cmd.Env = r.Environ()
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			})
			queued(t, s, r.Lock, i+1)
			want.WriteString(fmt.Sprintln(i))
		}
		if err := holder.Leave(); err != nil {
			t.Error(err)
		}
		group.Wait()
		if got, err := os.ReadFile(order); string(got) != want.String() {
			t.Errorf("they held in the order %q, want %q: %v", got, want.String(), err)
		}
	})
}

func run(t *testing.T, s contend.Store, args ...string) string {
	t.Helper()
	out, err := s.Engine.Docker(args...)
	if err != nil {
		t.Error(err)
	}
	return out
}
