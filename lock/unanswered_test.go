package lock

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// unanswered is a store whose first requests for one lock go wrong in a given
// way, as the model's traces describe.
type unanswered struct {
	*store
	create, remove func(string) error // instead of the first one, if any
}

func (u *unanswered) Create(ctx context.Context, name string, labels map[string]string) (string, error) {
	if instead := u.create; instead != nil && name == "build" {
		u.create = nil
		id := u.newID()
		time.AfterFunc(100*time.Millisecond, func() { u.insert(id, name, labels) })
		return "", instead(id)
	}
	return u.store.Create(ctx, name, labels)
}

func (u *unanswered) Remove(ctx context.Context, id string) error {
	if instead := u.remove; instead != nil {
		u.remove = nil
		return instead(id)
	}
	return u.store.Remove(ctx, id)
}

// A create fails and lands late; the process finds it and removes it, but that
// fails; its time is up. What it then knows of has to include that entry.
func TestALateEntryWhoseRemovalFailedIsTakenBackAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(false, faults{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		engine := &unanswered{
			store:  s,
			create: func(string) error { return errLost },
			remove: func(string) error { cancel(); return errLost },
		}
		_, err := newMachine().contender(engine).Acquire(ctx)
		if left := s.named("build"); len(left) != 0 {
			t.Errorf("left behind: %d entries; Acquire = %v does not mention them", len(left), err)
		}
	})
}

// A release's remove is done but its reply lost; the second one gets "not
// found". Nobody took the lock away.
func TestAReleaseWhoseReplyWasLostReportsNoLostLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(true, faults{}, 1)
		engine := &unanswered{store: s}
		m := newMachine().contender(engine)
		held, err := m.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		engine.remove = func(id string) error { _ = s.drop(id); return errLost }
		if err := m.Release(t.Context(), held.ID); err != nil {
			t.Errorf("Release = %v, want nil", err)
		}
	})
}
