package lock

import (
	"testing"
	"testing/synctest"
	"time"
)

// Only a machine itself sees that a holder of it is dead, and nobody of it may ask for that
// lock again.
func TestAMachineGivesBackWhatItsDeadHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newStore(false, faults{}, 1)
		one, other := newMachine(), newMachine()
		other.place.Machine, other.place.Boot = "other", "other's boot"
		hold := func(host *machine, name string) (*Mutex, string) {
			m := host.contender(shared)
			m.space.Shared = true
			m = m.space.Lock(name)
			held, err := m.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			m.Finish()
			return m, held.ID
		}
		dead, _ := hold(one, "dead")
		_, living := hold(one, "living")
		elsewhere, across := hold(other, "elsewhere")
		one.end(dead.space.Self.Process)
		other.end(elsewhere.space.Self.Process) // which the one cannot see

		reaper := one.contender(shared).space
		reaper.Shared = true
		reaped, err := reaper.Reap(t.Context())
		if err != nil || len(reaped) != 1 || reaped[0].Name != "dead" {
			t.Errorf("given back: %+v, %v", reaped, err)
		}
		left := map[string]bool{}
		entries, _ := shared.List(t.Context(), "")
		for _, e := range entries {
			left[e.ID] = true
		}
		if !left[living] || !left[across] || len(left) != 2 {
			t.Errorf("left: %+v", entries)
		}
	})
}

// Of 100 machines each has a waiter that sees nobody ahead of it. If all of them looked each
// second they would be half of a core of a Gitea.
func TestWaitersOfManyMachinesLookSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newStore(false, faults{}, 1)
		holder := newMachine().contender(shared)
		holder.space.Shared, holder.space.Unwatched = true, true
		held, err := holder.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		holder.Finish()
		done := make(chan error)
		const machines = 100
		for i := range machines {
			host := newMachine()
			host.place.Machine, host.place.Boot = string(rune('A'+i)), string(rune('A'+i))
			m := host.contender(shared)
			m.space.Shared, m.space.Unwatched = true, true
			go func() {
				_, err := m.Acquire(t.Context())
				if err == nil {
					m.Finish()
					err = m.Release(t.Context(), m.ownID(t))
				}
				done <- err
			}()
		}
		time.Sleep(2 * time.Minute)
		before := shared.requests()
		time.Sleep(5 * time.Minute)
		if rate := float64(shared.requests()-before) / 300; rate > 5 {
			t.Errorf("%.1f requests a second of %d waiting machines", rate, machines)
		} else {
			t.Logf("%.1f requests a second of %d waiting machines", rate, machines)
		}
		freed := time.Now()
		if err := holder.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		for i := range machines {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				t.Logf("the first had it after %s", time.Since(freed))
			}
		}
		t.Logf("%s for each hand-off", time.Since(freed)/machines)
		if each := time.Since(freed) / machines; each > 5*time.Second {
			t.Errorf("%s for each hand-off", each)
		}
	})
}

func (m *Mutex) ownID(t *testing.T) string {
	t.Helper()
	entries, err := m.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.madeBy(m.space.Self) {
			return e.ID
		}
	}
	t.Fatal("it holds nothing")
	return ""
}
