package lock

import (
	"testing"
	"testing/synctest"
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
