package operate

import (
	"context"
	"errors"
	"testing"
	"time"

	"hostguard/lock"
)

// keeper is a store that counts the changes that reach it.
type keeper struct{ changes int }

func (k *keeper) Create(context.Context, string, map[string]string) (string, error) {
	k.changes++
	return "", nil
}

func (k *keeper) Remove(context.Context, string) error {
	k.changes++
	return nil
}

func (k *keeper) List(context.Context, ...string) ([]lock.Entry, error) { return nil, nil }

func (k *keeper) Watch(context.Context, string) (<-chan struct{}, error) { return nil, nil }

// An observer can neither take, break nor release.
func TestAnObserverCannotChangeTheStore(t *testing.T) {
	store := &keeper{}
	space := lock.Space{Engine: readOnly{store}}
	if _, err := space.Engine.Create(t.Context(), "deploy", nil); !errors.Is(err, lock.ErrRefused) {
		t.Errorf("Create: %v", err)
	}
	if err := space.Engine.Remove(t.Context(), "x"); !errors.Is(err, lock.ErrRefused) {
		t.Errorf("Remove: %v", err)
	}
	if err := space.Lock("deploy").Release(t.Context(), "x"); err == nil {
		t.Error("Release had no error")
	}
	if life, _ := space.Engine.(lock.Containers).Container(t.Context(), "x", ""); life != lock.Unknown {
		t.Errorf("a container of a store without any is %v", life)
	}
	if store.changes > 0 {
		t.Errorf("%d changes have reached the store", store.changes)
	}
}

// What takes long is done rarely.
func TestALookIsTakenAgainWhenItIsDue(t *testing.T) {
	var d due[int]
	n := 0
	look := func() int { n++; return n }
	for range 2 {
		if got := d.see(time.Hour, look); got != 1 {
			t.Errorf("saw look %d, want the first", got)
		}
	}
	d = due[int]{}
	d.see(0, func() int { time.Sleep(2 * time.Millisecond); return 7 })
	if left := time.Until(d.again); left < 200*time.Millisecond || d.see(0, look) != 7 {
		t.Errorf("after a look of 2 ms the next is in %s", left)
	}
}

func TestAnObserverLearnsFewNames(t *testing.T) {
	e := &eyes{names: []string{"deploy"}}
	for _, name := range []string{"deploy", "", "bridge", "a b", "build"} {
		e.learn(name)
	}
	if len(e.names) != 2 {
		t.Errorf("it knows %q", e.names)
	}
	for n := range 2 * maxNames {
		e.learn("lock" + string(rune('a'+n%26)) + time.Duration(n).String())
	}
	if len(e.names) != maxNames {
		t.Errorf("it knows %d names, want %d", len(e.names), maxNames)
	}
}
