package lock

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A server's second acquire meets the lock of its first: from then on the parent
// alone does not prove whose it is, until it is released.
func TestAnAcquireThatMeetsItsOwnCallersLockLeavesANote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host, s := newMachine(), newStore(true, faults{}, 1)
		server, other := host.start(), host.start()
		called := func(by Process) *Mutex {
			m := host.contender(s)
			m.space.Self.Command, m.space.Self.Parent = false, by
			return m
		}
		first := called(server)
		held, err := first.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		contested := func() bool {
			entries, err := first.Entries(t.Context())
			if err != nil || len(entries) != 1 {
				t.Fatalf("%+v, %v", entries, err)
			}
			contested, err := called(server).Contested(t.Context(), entries[0])
			if err != nil {
				t.Fatal(err)
			}
			return contested
		}
		wait := func(m *Mutex) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := m.Acquire(ctx); err == nil {
				t.Fatal("two hold")
			}
			m.Finish()
		}
		wait(called(other))
		if contested() {
			t.Error("a note is there though only others have asked")
		}
		wait(called(server))
		wait(called(server))
		if !contested() {
			t.Error("no note is there")
		}
		if err := first.Release(t.Context(), held.ID); err != nil {
			t.Fatal(err)
		}
		left, err := s.List(t.Context(), "")
		for _, e := range left {
			if strings.Contains(e.Name, "-n-") {
				t.Errorf("left behind: %q", e.Name)
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
}
