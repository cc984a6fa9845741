package proof

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/wire"
)

// through starts a proxy in front of a store.
func through(t *testing.T, s contend.Store, decide func(*http.Request) wire.Fate) contend.Store {
	t.Helper()
	p, err := wire.Start(s.Engine.Host(), decide)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Host = p.Host()
	return s
}

var breaks = map[wire.Act]string{
	wire.DropRequest: "request dropped", wire.CutRequest: "request cut",
	wire.DropReply: "reply dropped", wire.CutReply: "reply cut",
}

// TestEachRequestBrokenOnce breaks the first request of a job that has to wait
// for the lock, then the second, until there are no more: whatever was lost, the
// job holds the lock and nothing is left of it in the end.
func TestEachRequestBrokenOnce(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, s contend.Store) {
		engine, err := open(s.Engine.Host())
		if err != nil {
			t.Fatal(err)
		}
		for act, name := range breaks {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for n := int64(1); ; n++ {
					var requests atomic.Int64
					var broken atomic.Value
					r := newRig(t, s)
					r.Store = through(t, s, func(req *http.Request) wire.Fate {
						if requests.Add(1) != n {
							return wire.Fate{}
						}
						broken.Store(req.Method + " " + req.URL.Path)
						return wire.Fate{Act: act}
					})
					holder := mutex(engine, r.Lock)
					held, err := holder.Acquire(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					w, err := r.Wait(nil)
					if err != nil {
						t.Fatal(err)
					}
					if err := w.Await("position", 10*time.Second); err == nil { // else it knows no daemon
						w.EndsWithin(100 * time.Millisecond)
					}
					if err := holder.Release(t.Context(), held.ID); err != nil {
						t.Fatal(err)
					}
					switch _, err := w.Holds(20 * time.Second); {
					case err != nil && !strings.Contains(fmt.Sprint(broken.Load()), "_ping"):
						t.Errorf("%s was broken: %v", broken.Load(), err)
					case err == nil:
						entries, err := engine.List(t.Context(), r.Lock)
						if id, _ := w.Output("lock-id"); err != nil || len(entries) != 1 || entries[0].ID != id {
							t.Errorf("%s was broken: it holds %s and these are there: %+v, %v", broken.Load(), id, entries, err)
						}
					}
					if err := w.Leave(); err != nil {
						t.Errorf("%s was broken: %v", broken.Load(), err)
					}
					if strings.Contains(w.Log(), "taken over") {
						t.Errorf("%s was broken: it took over its own:\n%s", broken.Load(), w.Log())
					}
					if t.Failed() || broken.Load() == nil || n > 100 {
						t.Logf("%d requests", n-1)
						return
					}
				}
			})
		}
	})
}

// TestCreateThatTakesEffectLate: the daemon is asked to create the lock's entry
// and does so when its client has given up. Of one who went on, nothing is left;
// of one who was ended there is an entry, until its job ends.
func TestCreateThatTakesEffectLate(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, s contend.Store) {
		late := func(t *testing.T) (r *contend.Rig, w *contend.Waiter, asked, landed chan struct{}) {
			t.Parallel()
			asked, landed = make(chan struct{}), make(chan struct{})
			var creates atomic.Int64
			r = newRig(t, s)
			r.Store = through(t, s, func(req *http.Request) wire.Fate {
				if strings.HasSuffix(req.URL.Path, "/networks/create") && creates.Add(1) == 1 {
					close(asked)
					return wire.Fate{Delay: 11 * time.Second, Then: func() { close(landed) }} // a request of ours waits for ten
				}
				return wire.Fate{}
			})
			return r, wait(t, r, nil), asked, landed
		}
		t.Run("it goes on", func(t *testing.T) {
			_, w, _, landed := late(t)
			if _, err := w.Holds(20 * time.Second); err != nil {
				t.Error(err)
			}
			<-landed
			if err := w.Leave(); err != nil {
				t.Error(err)
			}
		})
		t.Run("it is ended", func(t *testing.T) {
			r, w, asked, landed := late(t)
			<-asked
			if err := w.Leave(); err != nil {
				t.Error(err)
			}
			<-landed
			if err := os.RemoveAll(w.Dir); err != nil {
				t.Fatal(err)
			}
			next := wait(t, r, nil)
			if _, err := next.Holds(within); err != nil {
				t.Error(err)
			}
			if !strings.Contains(next.Log(), "orphan because its job directory is gone") {
				t.Errorf("the entry did not come late; the next one printed:\n%s", next.Log())
			}
		})
	})
}

// TestSixteenThroughABadWire lets 16 contend through a proxy that delays, drops
// and cuts at random.
func TestSixteenThroughABadWire(t *testing.T) {
	const places = 16
	sections := int32(60)
	if soak() {
		sections = 5000
	}
	onEngines(t, func(t *testing.T, s contend.Store) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(seed, 0))
		met := map[wire.Act]int{}
		r := newRig(t, s)
		bad := through(t, s, func(*http.Request) wire.Fate {
			mu.Lock()
			defer mu.Unlock()
			var fate wire.Fate
			if random.IntN(20) == 0 {
				fate.Act = wire.Act(1 + random.IntN(4))
			}
			if random.IntN(20) == 0 {
				fate.Delay = time.Duration(random.Int64N(int64(300 * time.Millisecond)))
			}
			if random.IntN(20) == 0 {
				fate.Hold = time.Duration(random.Int64N(int64(300 * time.Millisecond)))
			}
			met[fate.Act]++
			return fate
		})
		detector := filepath.Join(t.TempDir(), "detector")
		var done, unreachable atomic.Int32
		var group sync.WaitGroup
		end := time.Now().Add(time.Duration(sections) * time.Second)
		for range places {
			group.Go(func() {
				for done.Load() < sections && !t.Failed() && time.Now().Before(end) {
					args := []string{"with-lock", "-lock-name", r.Lock, "-legacy-settle", "0s", "-timeout", "2m", "--"}
					cmd := exec.Command(r.Binary, append(args, contend.Inside(detector, "0.005")...)...)
					cmd.Env = bad.Environ()
					var log contend.Log
					cmd.Stderr = &log
					switch status := contend.Status(cmd.Run()); {
					case status == 0 && !strings.Contains(log.String(), "lost"):
						done.Add(1)
					case status == 125 && strings.Contains(log.String(), "Docker daemon at"): // not even a ping
						unreachable.Add(1)
					default:
						t.Errorf("status %d: %s", status, log.String())
					}
				}
			})
		}
		group.Wait()
		t.Logf("%d sections; requests by fate: %v; %d times no daemon", done.Load(), met, unreachable.Load())
		if done.Load() < sections || len(met) != 5 {
			t.Errorf("%d sections, want %d; requests by fate: %v", done.Load(), sections, met)
		}
		// A ticket that came to be after its process gave up stays until the next release.
		next := exec.Command(r.Binary, "with-lock", "-lock-name", r.Lock, "-timeout", "1m", "--", "true")
		next.Env = s.Environ()
		if out, err := next.CombinedOutput(); err != nil {
			t.Errorf("the next: %v: %s", err, out)
		}
	})
}
