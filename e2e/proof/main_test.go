// Package proof holds what the lock has to stand beside the conformance suite:
// holders that die in every way, kills at every step, daemons that are killed,
// that lie, that lose replies, and clocks that step.
package proof

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
)

// soak tells that the long counts are wanted.
func soak() bool { return os.Getenv("HOSTGUARD_SOAK") != "" }

// shared are the engines of all tests that leave their engine as it was, each
// on a lock of its own.
var shared = map[string]func() (*engine.Engine, error){
	engine.Old: sync.OnceValues(func() (*engine.Engine, error) { return started(engine.Old) }),
	engine.New: sync.OnceValues(func() (*engine.Engine, error) { return started(engine.New) }),
}

var running struct {
	sync.Mutex
	engines []*engine.Engine
}

func started(version string) (*engine.Engine, error) {
	e, err := engine.Start(version)
	if err == nil {
		running.Lock()
		defer running.Unlock()
		running.engines = append(running.engines, e)
	}
	return e, err
}

func TestMain(m *testing.M) {
	if life := os.Getenv(mortalVariable); life != "" {
		if err := liveAndDie(life); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	// By default as many tests run at once as there are processors; these
	// mostly wait.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	status := m.Run()
	for _, e := range running.engines {
		if err := e.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = max(status, 1)
		}
	}
	os.Exit(status)
}

// onEngines runs a test over both engines at once.
func onEngines(t *testing.T, test func(*testing.T, contend.Store)) {
	for version, start := range shared {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e, err := start()
			if err != nil {
				t.Fatal(err)
			}
			test(t, contend.Store{Name: version, Engine: e})
		})
	}
}

// onStores runs a test over both engines and over files at once.
func onStores(t *testing.T, test func(*testing.T, contend.Store)) {
	onEngines(t, test)
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		test(t, contend.Store{Name: "file"})
	})
}

// newRig makes a rig that has to leave nothing in the store.
func newRig(t *testing.T, s contend.Store) *contend.Rig {
	t.Helper()
	r, err := contend.NewRig(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if held, tickets, err := s.Entries(r.Lock); err != nil || len(held)+len(tickets) > 0 {
			t.Errorf("left behind: %q, %q, %v", held, tickets, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}
